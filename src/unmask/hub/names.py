"""Our names of weights and Hugging Face's, by a table per family that reads in both directions: `Family.rules`.

``#`` stands for a layer's number, and a second one for that of a part of it. ``{query,key,value}``: what we hold as one
matrix is stored as several, joined along the first dimension. Every row names a module, whose ``weight`` and ``bias``
keep their names, or one weight whole.

At its end marks may say what to do for the form they hold it in, one after another. ``^T``: turn it over. ``^H``: part
its columns by heads, [D, H*W] as [D, H, W]. ``^1``: give it one more dimension, of 1. ``^+2``: put it behind two rows
that nothing reads; ``^+pad``: behind as many as lead up to the padding's id, and its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from unmask.hub.families import FAMILIES
from unmask.hub.family import AFTER_PADDING
from unmask.models.shape import Shape


def theirs(family: str, ours: str) -> tuple[str, ...]:
    """Their names of one of our weights, more than one where they store its parts; none if they have no such thing.

    >>> theirs("bert", "backbone.blocks.3.attention.out.bias")
    ('bert.encoder.layer.3.attention.output.dense.bias',)
    """
    pattern, leaf = _rule(family, ours)
    if pattern is None:
        return ()
    pattern = pattern.split("^")[0]
    for number in re.findall(r"\.(\d+)(?=\.)", ours):
        pattern = pattern.replace("#", number, 1)
    stem, _, parts = pattern.rstrip("}").partition("{")
    return tuple(f"{stem}{part}{leaf}" for part in parts.split(","))


def _rule(family: str, ours: str) -> tuple[str | None, str]:
    """The row for one of our weights, and what its names end with besides."""
    rules, (module, _, leaf) = FAMILIES[family].rules, numberless(ours).rpartition(".")
    whole = rules.get(numberless(ours))
    return (rules.get(module), f".{leaf}") if whole is None else (whole, "")


def numberless(name: str) -> str:
    """A name of any layer: ``h.3.attn`` as ``h.#.attn``."""
    return re.sub(r"\.\d+\.", ".#.", name)


def sent(shape: Shape, ours: str, tensor: Tensor, pad: int) -> Tensor:
    """A weight of ours in the form they hold it, where the padding has this id."""
    for mark in _marks(shape.family, ours):
        if mark.startswith("+"):
            tensor = torch.cat([tensor.new_zeros(_ahead(mark, pad), tensor.shape[1]), tensor])
        elif mark == "H":
            tensor = tensor.reshape(len(tensor), shape.heads, -1)
        else:
            tensor = tensor[None] if mark == "1" else _turned(tensor)
    return tensor


def taken(family: str, ours: str, tensor: Tensor, pad: int) -> Tensor:
    """One of theirs in the form we hold it."""
    for mark in reversed(_marks(family, ours)):
        if mark.startswith("+"):
            tensor = tensor[_ahead(mark, pad) :].clone()
        elif mark == "H":
            tensor = tensor.flatten(1)
        else:
            tensor = tensor[0] if mark == "1" else _turned(tensor)
    return tensor


def _marks(family: str, ours: str) -> list[str]:
    return re.findall(r"[TH1]|\+\d+|\+pad", (_rule(family, ours)[0] or "").partition("^")[2])


def _ahead(mark: str, pad: int) -> int:
    """How many rows nothing reads."""
    return pad + 1 if mark == AFTER_PADDING else int(mark)


def _turned(tensor: Tensor) -> Tensor:
    return tensor.t().contiguous() if tensor.dim() == 2 else tensor


def to_theirs(shape: Shape, tensors: Mapping[str, Tensor], pad: int = 0) -> dict[str, Tensor]:
    """Our weights under their names, joined ones taken apart. What they have no name for is left out.

    Args:
        shape: the model's.
        tensors: our weights by our names.
        pad: the padding's id, behind which some count positions.
    """
    found: dict[str, Tensor] = {}
    for ours, tensor in tensors.items():
        names = theirs(shape.family, ours)
        found |= zip(names, sent(shape, ours, tensor, pad).chunk(len(names)), strict=True) if names else ()
    return found


def to_ours(family: str, tensors: Mapping[str, Tensor], wanted: list[str], pad: int = 0) -> dict[str, Tensor]:
    """Those of our weights whose parts are all there, joined."""
    return {
        ours: taken(family, ours, _joined([tensors[name] for name in names]), pad)
        for ours in wanted
        if (names := theirs(family, ours)) and all(name in tensors for name in names)
    }


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def modern(family: str, names: list[str]) -> dict[str, str]:
    """Today's form of their names by the form found: ``gamma``, ``beta``, what is called otherwise since, and a
    backbone saved without its prefix."""
    prefix, patterns = FAMILIES[family].prefix, FAMILIES[family].rules.values()
    alone = not any(name.startswith(prefix) for name in names)
    starts = {re.split(r"[.^]", pattern[len(prefix) :])[0] for pattern in patterns if pattern.startswith(prefix)}
    found = {}
    for name in names:
        whole = prefix + name if alone and name.split(".")[0] in starts else name
        found[name] = _renamed(family, re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", whole)), names)
    return found


def _renamed(family: str, name: str, names: list[str]) -> str:
    """A name with today's beginning, unless something else has it."""
    for before, now in FAMILIES[family].older.items():
        if name.startswith(before):
            newer = now + name.removeprefix(before)
            return name if newer in names else newer
    return name
