"""Rotary positions (Su 2021, RoFormer, 2104.09864), and a number for each distance (Raffel 2019, T5, 1910.10683, §2.1).

Q queries, K keys, H heads, B buckets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unmask.nn.embeddings import look_up

Angles = tuple[Tensor, Tensor]
FURTHEST = 128  # distances from here on share a bucket


class Distances:
    """What is added to scores by how far a key stands from its query: learned numbers [B, H], made once a pass."""

    def __init__(self, weight_BH: Tensor, both_sides: bool):
        self.weight_BH, self.both_sides = weight_BH, both_sides
        self._rows: dict[tuple[int, int], Tensor] = {}

    def rows(self, queries: int, keys: int) -> Tensor:
        """[H, Q, K] between all places of two rows of these lengths."""
        if (queries, keys) not in self._rows:
            places = torch.arange(max(queries, keys), device=self.weight_BH.device)
            self._rows[queries, keys] = self.between(places[:queries], places[:keys])
        return self._rows[queries, keys]

    def between(self, queries: Tensor, keys: Tensor) -> Tensor:
        """[H, Q, K] between tokens at these places."""
        number = bucket(keys[None, :] - queries[:, None], len(self.weight_BH), self.both_sides)
        values = look_up(self.weight_BH, number.flatten()).view(*number.shape, -1)
        return values.permute(2, 0, 1).contiguous()


def bucket(distance: Tensor, buckets: int, both_sides: bool) -> Tensor:
    """The bucket of each distance, key less query, as mesh-tensorflow's code has it.

    Half of the buckets are for the keys behind the query, if those are seen at all. Of each half, one half again has a
    bucket for each small distance, and the other's grow by the logarithm up to `FURTHEST`.
    """
    after = torch.zeros_like(distance)
    if both_sides:
        buckets //= 2
        after = (distance > 0) * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    growth = (distance.clamp(min=exact).float() / exact).log() / math.log(FURTHEST / exact)
    far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    return after + torch.where(distance < exact, distance, far)


def angles(positions: Tensor, width: int, base: float) -> Angles:
    """Cosines and sines [T, 1, width] for tokens at these positions [T], in float32."""
    angle = _turns(positions, width, base)
    angle = torch.cat([angle, angle], -1)[:, None]
    return angle.cos(), angle.sin()


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines [T, width] of positions or distances [T] (Vaswani 2017, 1706.03762, §3.5), in float32."""
    angle = _turns(positions, width, 10_000.0)
    return torch.cat([angle.sin(), angle.cos()], -1)


def _turns(positions: Tensor, width: int, base: float) -> Tensor:
    """[T, width / 2] angles."""
    # a power and then its inverse, as everybody does: another order differs by 2e-4 at position 8000
    frequencies = 1.0 / base ** (torch.arange(0, width, 2, device=positions.device, dtype=torch.int64).float() / width)
    return positions.float()[:, None] * frequencies


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn [T, H, W] by the angles of its tokens; halves of a head are the two coordinates."""
    left, right = x.float().chunk(2, -1)
    turned = torch.cat([-right, left], -1)
    return (x.float() * cos + turned * sin).to(x.dtype)
