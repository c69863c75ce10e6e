"""Local attention in blocks (Beltagy 2020, Longformer, 2004.05150, §3.1): its cost grows as the length, not its square.

T tokens, B blocks of C queries, K keys beside a block, G of them global tokens. The T tokens of a batch are cut into
blocks as they lie, end to end, whatever their sequences. Beside each block are laid the keys that it reaches to either
side, and before them the global tokens of its sequences:

    C = 4 queries     . . . . a a a b . . . .
    K = 2 + 4 + 2         a a a a a b b b         a sees its own sequence only, and at most 2 tokens away
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from unmask.nn.layout import Layout

SMALLEST = 64
"""Queries in a block at least, so that products are not of tiny matrices."""


@dataclass
class Band:
    """Queries in blocks, the keys beside each, and who sees whom."""

    queries: Tensor  # [B, C] which token stands there; behind the last one, that one again
    keys: Tensor  # [B, K] alike; where there is none, any
    barrier: Tensor  # [B, C, K] 0 where a key is seen, -inf elsewhere

    @classmethod
    def of(cls, layout: Layout, window: int, causal: bool, dtype: torch.dtype) -> Band:
        """Lay a batch in blocks."""
        reach, count, device = _reach(layout, window), len(layout.places), layout.places.device
        size = min(_size(reach), count)
        begin = torch.arange(0, count, size, device=device)[:, None]
        asks = (begin + torch.arange(size, device=device)).clamp(max=count - 1)
        near = begin + torch.arange(-reach, size + reach, device=device)
        there, near = (near >= 0) & (near < count), near.clamp(0, count - 1)
        owner, distance = layout.sequence(), asks[:, :, None] - near[:, None]
        seen = there[:, None] & (owner[asks][:, :, None] == owner[near][:, None]) & (distance.abs() <= reach)
        if causal:
            seen &= distance >= 0
        if layout.order is not None:
            seen &= layout.order[asks][:, :, None] >= layout.order[near][:, None]
        if layout.globals is None:
            return cls(asks, near, barrier(seen, dtype))
        far, seen_far = _far(layout, owner, asks)
        seen &= ~layout.globals.mask[near][:, None]  # they are seen once
        return cls(asks, torch.cat([far, near], 1), barrier(torch.cat([seen_far, seen], 2), dtype))


def _far(layout: Layout, owner: Tensor, asks: Tensor) -> tuple[Tensor, Tensor]:
    """[B, G] the global tokens of all sequences in a block, and [B, C, G] which are of a query's own."""
    assert layout.globals is not None
    ends = layout.globals.layout.cu_seqlens.long()
    first, last = ends[owner[asks[:, :1]]], ends[owner[asks[:, -1:]] + 1]  # [B, 1]
    number = first + torch.arange(int((last - first).max()), device=asks.device)
    there, number = number < last, number.clamp(max=len(layout.globals.index) - 1)
    far = layout.globals.index[number]
    return far, there[:, None] & (owner[asks][:, :, None] == owner[far][:, None])


def barrier(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where something is seen, -inf elsewhere: added to scores."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -math.inf)


def is_shorter(layout: Layout, window: int) -> bool:
    """Whether a block has fewer keys beside it than a row has."""
    reach = _reach(layout, window)
    return _size(reach) + 2 * reach < layout.row_length


def _reach(layout: Layout, window: int) -> int:
    """How far a token sees to either side; nothing of its sequence is further away than its length."""
    return min(window // 2, layout.max_length - 1)


def _size(reach: int) -> int:
    return max(reach, SMALLEST)
