"""Our names of weights and Hugging Face's, by a table per family that reads in both directions: `Family.rules`.

``#`` stands for a layer's number. ``{query,key,value}``: what we hold as one matrix is stored as several, joined along
the first dimension. Every row names a module; its ``weight`` and ``bias`` keep their names.
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
    module, _, leaf = ours.rpartition(".")
    number = re.search(r"\.(\d+)\.", module)
    pattern = FAMILIES[family].rules.get(re.sub(r"\.\d+\.", ".#.", module))
    if pattern is None:
        return ()
    pattern = pattern.replace("#", number[1]) if number else pattern
    stem, _, parts = pattern.rstrip("}").partition("{")
    return tuple(f"{stem}{part}.{leaf}" for part in parts.split(","))


def to_theirs(family: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under their names, joined ones taken apart. What they have no name for is left out."""
    found: dict[str, Tensor] = {}
    for ours, tensor in tensors.items():
        names = theirs(family, ours)
        found |= zip(names, tensor.chunk(len(names)), strict=True) if names else ()
    return found


def to_ours(family: str, tensors: Mapping[str, Tensor], wanted: list[str]) -> dict[str, Tensor]:
    """Those of our weights whose parts are all there, joined."""
    return {
        ours: torch.cat([tensors[name] for name in names]) if len(names) > 1 else tensors[names[0]]
        for ours in wanted
        if (names := theirs(family, ours)) and all(name in tensors for name in names)
    }


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
