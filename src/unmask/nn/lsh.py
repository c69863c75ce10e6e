"""Locality-sensitive hashing by random rotations (Andoni 2015, 1509.02897; Kitaev 2020, Reformer, 2001.04451, §2).

What points the same way comes into one bucket: of B buckets the one whose axis, of B/2 random ones and their opposites,
a vector is nearest to. Each of R rounds has axes of its own. T tokens, H heads, W width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unmask.nn import dropout
from unmask.nn.layout import Layout
from unmask.text.chance import generator

Buckets = tuple[int, ...]
"How many there are; a product, where there are so many that two hashes find them together."


def usual(filled: int, size: int, longest: int) -> Buckets:
    """About two for each chunk of a size in a sequence that fills so many places, a power of 2."""
    power = (2 * (filled // size)).bit_length() - 1
    if 2**power > 2 * max(int((longest // size) ** 0.5), size):
        return 2 ** (power // 2), 2 ** (power - power // 2)
    return (2**power,)


def rotations(heads: int, width: int, rounds: int, axes: int, layer: int | None, seed: int) -> Tensor:
    """[H, W, R, axes]: in training other ones for each step and layer, in use the same for all.

    Args:
        heads: H.
        width: W.
        rounds: R.
        axes: of all hashes of a round together.
        layer: whose they are; none: the model is used.
        seed: of those that are used, which are the ones that transformers draws by it.
    """
    sizes = (heads, width, rounds, axes)
    if layer is None:
        return torch.randn(sizes, generator=torch.Generator().manual_seed(seed))
    drawn = generator("rotations", *dropout.when(), layer).standard_normal(sizes, np.float32)
    return torch.from_numpy(drawn)


def hashed(x_THW: Tensor, axes_HWRA: Tensor, buckets: Buckets) -> Tensor:
    """[R, H, T] the number of each token's bucket."""
    turned = torch.einsum("thw,hwra->rhta", x_THW.float(), axes_HWRA.to(x_THW.device))
    number, below = torch.zeros(turned.shape[:3], dtype=torch.long, device=x_THW.device), 1
    for part, count in zip(torch.split(turned, [count // 2 for count in buckets], -1), buckets, strict=True):
        number += below * torch.cat([part, -part], -1).argmax(-1)
        below *= count
    return number


@torch.no_grad()
def sorted_by_bucket(
    x_THW: Tensor, layout: Layout, buckets: Sequence[Buckets], rounds: int, layer: int | None, seed: int
) -> Tensor:
    """[R, H, T] int32 the tokens in the order of their buckets, each sequence where it is.

    Args:
        x_THW: what is hashed.
        layout: of the sequences.
        buckets: of each sequence; none, and it stays as it is.
        rounds: R.
        layer: see `rotations`.
        seed: alike.
    """
    heads, width = x_THW.shape[1:]
    number = torch.zeros(rounds, heads, len(x_THW), dtype=torch.long, device=x_THW.device)
    owner = layout.sequence()
    for kind in sorted(set(buckets) - {()}):
        index = torch.tensor([each == kind for each in buckets], device=owner.device)[owner].nonzero()[:, 0]
        axes = rotations(heads, width, rounds, sum(kind) // 2, layer, seed)
        number[:, :, index] = hashed(x_THW[index], axes, kind)
    return (owner * (int(number.max()) + 1) + number).argsort(dim=-1, stable=True).int()
