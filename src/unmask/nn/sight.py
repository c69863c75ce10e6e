"""Who sees whom, and from how far, where those that ask need not be those that are seen.

N sequences, Q tokens that ask, K keys that they see. In R rows a row has places for B that ask and L keys. XLNet's
query stream asks at some places of the content stream, and both look back on a memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from unmask.nn.batch import Sequences
from unmask.nn.even import missing
from unmask.nn.layout import Grid, rows_of
from unmask.text.example import Array


@dataclass
class Side:
    """The tokens on one side of attention, of all sequences."""

    sequence: Tensor  # [T] the number of each token's sequence
    position: Tensor  # [T] its place there; what stands before the first token is below 0
    order: Tensor  # [T] who asks sees keys with a number not above its own
    segment: Tensor | None  # [T]

    @classmethod
    def of(cls, sequences: Sequences, causal: bool = False) -> Side:
        """The tokens of a stream."""
        order = sequences.positions if causal else sequences.layout.order
        order = torch.zeros_like(sequences.positions) if order is None else order
        return cls(sequences.layout.sequence(), sequences.positions, order, sequences.segments)

    def behind(self, memory: Sequences | None) -> Side:
        """The same after those of a memory, which everybody sees and whose text is A."""
        if memory is None:
            return self
        place = memory.positions
        seen, text_a = torch.full_like(place, torch.iinfo(place.dtype).min), torch.zeros_like(place)
        return Side(
            torch.cat([memory.layout.sequence(), self.sequence]), torch.cat([place, self.position]),
            torch.cat([seen, self.order]), None if self.segment is None else torch.cat([text_a, self.segment]),
        )  # fmt: skip


@dataclass
class Sight:
    """Q tokens that ask, K keys, and how both are laid in rows: a sequence's keys side by side, by their places."""

    asking: Side
    keys: Side
    asking_rows: Grid
    key_rows: Grid
    columns: Tensor  # [R, B] where each that asks would stand among its row's keys: distances are differences of places
    straight: bool  # whether the b-th of each row stands at place b

    @classmethod
    def of(cls, asking: Sequences, content: Sequences, memory: Sequences | None = None, causal: bool = False) -> Sight:
        """What the tokens of one stream see of a content stream, whose rows decide all rows, and of its memory.

        Where this is ``causal``, none of what follows them; a memory is then what stands before.
        """
        who, keys = Side.of(asking, causal), Side.of(content, causal).behind(memory)
        device = content.tokens.device
        counts = np.array(content.layout.lengths)
        rows = rows_of([counts], [content.layout.row_length])
        count = int(rows[-1]) + 1
        remembered = 0 if memory is None else np.array(memory.layout.lengths)
        begin, length = _side_by_side(counts + remembered, rows)
        first = torch.zeros(len(counts), dtype=torch.int64, device=device)
        first.scatter_reduce_(0, keys.sequence, keys.position, "amin", include_self=False)
        zero = torch.from_numpy(begin).to(device) - first  # the place of position 0 in its row
        row = torch.from_numpy(rows).to(device)
        key_rows = Grid.at((row * length + zero)[keys.sequence] + keys.position, count, length)
        begin, length = _side_by_side(np.array(asking.layout.lengths), rows)
        length += 0 if asking is content else missing(length)
        slot = torch.arange(len(who.sequence), device=device) - asking.layout.cu_seqlens[:-1].long()[who.sequence]
        asking_rows = Grid.at((row * length + torch.from_numpy(begin).to(device))[who.sequence] + slot, count, length)
        columns = asking_rows.to_rows(zero[who.sequence] + who.position)
        return cls(who, keys, asking_rows, key_rows, columns, asking is content and memory is None)

    @property
    def count(self) -> int:
        """Q."""
        return len(self.asking.sequence)

    @cached_property
    def barrier(self) -> Tensor:
        """[R, B, L] float32: 0 where a key is seen, -inf elsewhere. An empty place sees all, lest its scores be NaN."""
        sides, grids = (self.asking, self.keys), (self.asking_rows, self.key_rows)
        owner, other = (grid.to_rows(side.sequence + 1) for grid, side in zip(grids, sides, strict=True))
        order, orders = (grid.to_rows(side.order) for grid, side in zip(grids, sides, strict=True))
        seen = (owner[:, :, None] == other[:, None]) & (order[:, :, None] >= orders[:, None])
        seen |= owner[:, :, None] == 0
        return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, -math.inf)

    @cached_property
    def parted(self) -> Tensor | None:
        """[R, B, L] float32: 1 where a key is of the other text than who asks; None without segments."""
        if self.asking.segment is None or self.keys.segment is None:
            return None
        mine, theirs = self.asking_rows.to_rows(self.asking.segment), self.key_rows.to_rows(self.keys.segment)
        return (mine[:, :, None] != theirs[:, None]).float()

    @cached_property
    def distances(self) -> Tensor:
        """[R, B, L] the row of each distance in a table of 2L: row d is that of distance L - d."""
        length = self.key_rows.row_length
        return length - self.columns[:, :, None] + torch.arange(length, device=self.columns.device)


def _side_by_side(lengths: Array, rows: Array) -> tuple[Array, int]:
    """[N] where each sequence begins in its row, and the length of a row that holds all of its own."""
    ends = np.cumsum(lengths)
    begin = (ends - lengths) - (ends - lengths)[np.searchsorted(rows, rows)]
    return begin, int((begin + lengths).max())
