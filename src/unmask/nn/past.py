"""What was read before, kept while a text is written one token at a time.

N sequences, T tokens, H heads, L places, W width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unmask.nn.layout import Layout

ROOM = 64  # places that are added at once


class Past:
    """One layer's keys and values: of N sequences, and of as many places as the longest of them needs."""

    keys: Tensor  # [N, H, L, W]
    values: Tensor
    lengths: Tensor  # [N] how much of each is filled
    distances: Tensor | None  # [2L, H, W] what its layer makes of distances, where it looks at them so

    def __init__(self) -> None:
        self.begun, self.longest, self.distances = False, 0, None

    def keep(self, k: Tensor, v: Tensor, layout: Layout) -> None:
        """Keep whole sequences, laid end to end: [T, H, W]."""
        self.begun, self.longest = True, layout.max_length
        starts = layout.cu_seqlens[:-1].long()
        self.lengths = layout.cu_seqlens[1:].long() - starts
        owner = layout.sequence()
        place = torch.arange(len(k), device=k.device) - starts[owner]
        self.keys, self.values = (_laid(x, owner, place, len(starts), layout.max_length) for x in (k, v))

    def add(self, k: Tensor, v: Tensor) -> None:
        """Keep one more token of each sequence: [N, H, W]."""
        if self.longest == self.keys.shape[2]:
            self.keys, self.values = (torch.cat([x, _room(x)], 2) for x in (self.keys, self.values))
        which = torch.arange(len(self.lengths), device=k.device)
        self.keys[which, :, self.lengths], self.values[which, :, self.lengths] = k, v
        self.lengths, self.longest = self.lengths + 1, self.longest + 1

    def pick(self, which: Tensor) -> None:
        """Go on with these sequences, each as often as it is named."""
        self.keys, self.values, self.lengths = (
            x.index_select(0, which) for x in (self.keys, self.values, self.lengths)
        )


def _laid(x: Tensor, owner: Tensor, place: Tensor, sequences: int, longest: int) -> Tensor:
    """[T, H, W] to [N, H, L, W]."""
    laid = x.new_zeros(sequences, longest, *x.shape[1:])
    laid[owner, place] = x
    return laid.transpose(1, 2).contiguous()


def _room(x: Tensor) -> Tensor:
    return x.new_zeros(*x.shape[:2], ROOM, x.shape[3])
