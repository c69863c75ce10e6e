"""Our names of weights and Hugging Face's, by a table per family that reads in both directions: `Family.rules`.

``#`` stands for a layer's number. ``{query,key,value}``: what we hold as one matrix is stored as several, joined along
the first dimension. Every row names a module, whose ``weight`` and ``bias`` keep their names, or one weight whole.

At its end a mark may say in what form they hold it. ``^T``: turned over. ``^+2``: behind two rows that nothing reads.
``^1``: with one more dimension, of 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from unmask.hub.families import FAMILIES


def theirs(family: str, ours: str) -> tuple[str, ...]:
    """Their names of one of our weights, more than one where they store its parts; none if they have no such thing.

    >>> theirs("bert", "backbone.blocks.3.attention.out.bias")
    ('bert.encoder.layer.3.attention.output.dense.bias',)
    """
    pattern, leaf = _rule(family, ours)
    if pattern is None:
        return ()
    number = re.search(r"\.(\d+)\.", ours)
    pattern = pattern.split("^")[0].replace("#", number[1] if number else "")
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


def sent(family: str, ours: str, tensor: Tensor) -> Tensor:
    """A weight of ours in the form they hold it."""
    mark = (_rule(family, ours)[0] or "").partition("^")[2]
    if mark == "T" and tensor.dim() == 2:
        return tensor.t().contiguous()
    if mark.startswith("+"):
        return torch.cat([tensor.new_zeros(int(mark), tensor.shape[1]), tensor])
    return tensor[None] if mark == "1" else tensor


def taken(family: str, ours: str, tensor: Tensor) -> Tensor:
    """One of theirs in the form we hold it."""
    mark = (_rule(family, ours)[0] or "").partition("^")[2]
    if mark == "T" and tensor.dim() == 2:
        return tensor.t().contiguous()
    if mark.startswith("+"):
        return tensor[int(mark) :].clone()
    return tensor[0] if mark == "1" else tensor


def to_theirs(family: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under their names, joined ones taken apart. What they have no name for is left out."""
    found: dict[str, Tensor] = {}
    for ours, tensor in tensors.items():
        names = theirs(family, ours)
        found |= zip(names, sent(family, ours, tensor).chunk(len(names)), strict=True) if names else ()
    return found


def to_ours(family: str, tensors: Mapping[str, Tensor], wanted: list[str]) -> dict[str, Tensor]:
    """Those of our weights whose parts are all there, joined."""
    return {
        ours: taken(family, ours, _joined([tensors[name] for name in names]))
        for ours in wanted
        if (names := theirs(family, ours)) and all(name in tensors for name in names)
    }


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def modern(family: str, names: list[str]) -> dict[str, str]:
    """Today's form of their names by the form found: ``gamma``, ``beta``, and a backbone saved without its prefix."""
    prefix, patterns = FAMILIES[family].prefix, FAMILIES[family].rules.values()
    alone = not any(name.startswith(prefix) for name in names)
    starts = {pattern[len(prefix) :].split(".")[0] for pattern in patterns if pattern.startswith(prefix)}
    found = {}
    for name in names:
        whole = prefix + name if alone and name.split(".")[0] in starts else name
        found[name] = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", whole))
    return found
