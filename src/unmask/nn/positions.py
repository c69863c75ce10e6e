"""Rotary positions (Su 2021, RoFormer, 2104.09864), and a number for each distance (Raffel 2019, T5, 1910.10683, §2.1).

Q queries, K keys, H heads, W width of a head, B buckets. Scores are of N texts, or of R rows of texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from unmask.nn.embeddings import look_up

Angles = tuple[Tensor, Tensor]
Project = Callable[[Tensor], tuple[Tensor, ...]]
"What a layer makes of states [.., D]: queries, keys and values [.., H, W]."
FURTHEST = 128  # distances from here on share a bucket


class Added(Protocol):
    """What is added to the scores of queries, multiplied as scores are, and keys by how far they stand apart."""

    def rows(self, q_RHQW: Tensor, k_RHKW: Tensor) -> Tensor:
        """[R, H, Q, K], or [H, Q, K] for all rows alike; both stand at the places of their row."""
        ...

    def between(self, q_NHQW: Tensor, k_NHKW: Tensor, asking: Tensor, places: Tensor) -> Tensor:
        """[N, H, Q, K] of those that ask at places [N, Q], and of keys at places [K]; what the definition says."""
        ...


class OfDistances(Protocol):
    """What a model knows of distances; made once a pass."""

    def of(self, project: Project, scale: float) -> Added:
        """What they add in a layer that makes this of states, and multiplies its scores."""
        ...


class Distances:
    """Learned numbers [B, H] by how far a key stands from its query, which all layers add alike."""

    def __init__(self, weight_BH: Tensor, both_sides: bool):
        self.weight_BH, self.both_sides = weight_BH, both_sides
        self._rows: dict[tuple[int, int], Tensor] = {}

    def of(self, project: Project, scale: float) -> Added:
        """The same in every layer."""
        return self

    def rows(self, q_RHQW: Tensor, k_RHKW: Tensor) -> Tensor:
        """[H, Q, K]."""
        sizes = q_RHQW.shape[2], k_RHKW.shape[2]
        if sizes not in self._rows:
            asking, places = (torch.arange(size, device=self.weight_BH.device) for size in sizes)
            self._rows[sizes] = self._of_places(asking, places)
        return self._rows[sizes]

    def between(self, q_NHQW: Tensor, k_NHKW: Tensor, asking: Tensor, places: Tensor) -> Tensor:
        """[N, H, Q, K]."""
        found = self._of_places(asking.flatten(), places)
        return found.view(-1, *asking.shape, len(places)).transpose(0, 1)

    def _of_places(self, asking: Tensor, places: Tensor) -> Tensor:
        number = bucket(places[None, :] - asking[:, None], len(self.weight_BH), self.both_sides)
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
