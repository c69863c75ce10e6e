"""Our names of weights and Hugging Face's, by a table per family that reads in both directions: `Family.rules`.

``#`` stands for a layer's number. ``{query,key,value}``: what we hold as one matrix is stored as several, joined along
the first dimension. ``^T``: their matrix is ours turned over. Every row names a module; its ``weight`` and ``bias``
keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from unmask.hub.families import FAMILIES

TURNED = "^T"


def theirs(family: str, ours: str) -> tuple[str, ...]:
    """Their names of one of our weights, more than one where they store its parts; none if they have no such thing.

    >>> theirs("bert", "backbone.blocks.3.attention.out.bias")
    ('bert.encoder.layer.3.attention.output.dense.bias',)
    """
    module, _, leaf = ours.rpartition(".")
    number = re.search(r"\.(\d+)\.", module)
    pattern = _rule(family, module)
    if pattern is None:
        return ()
    pattern = pattern.removesuffix(TURNED).replace("#", number[1] if number else "")
    stem, _, parts = pattern.rstrip("}").partition("{")
    return tuple(f"{stem}{part}.{leaf}" for part in parts.split(","))


def _rule(family: str, module: str) -> str | None:
    return FAMILIES[family].rules.get(numberless(module))


def numberless(name: str) -> str:
    """A name of any layer: ``h.3.attn`` as ``h.#.attn``."""
    return re.sub(r"\.\d+\.", ".#.", name)


def turned(family: str, ours: str, tensor: Tensor) -> Tensor:
    """A weight of ours in the form they hold it, or one of theirs in ours: the way there is the way back."""
    rule = _rule(family, ours.rpartition(".")[0])
    return tensor.t().contiguous() if rule and rule.endswith(TURNED) and tensor.dim() == 2 else tensor


def to_theirs(family: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under their names, joined ones taken apart. What they have no name for is left out."""
    found: dict[str, Tensor] = {}
    for ours, tensor in tensors.items():
        names = theirs(family, ours)
        found |= zip(names, turned(family, ours, tensor).chunk(len(names)), strict=True) if names else ()
    return found


def to_ours(family: str, tensors: Mapping[str, Tensor], wanted: list[str]) -> dict[str, Tensor]:
    """Those of our weights whose parts are all there, joined."""
    return {
        ours: turned(family, ours, _joined([tensors[name] for name in names]))
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
