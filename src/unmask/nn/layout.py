"""Who may see whom: N sequences end to end, each on its own.

T tokens, N sequences, R rows of length L. A processor has no kernel for sequences of different lengths, so there
attention works on rows: sequences side by side, none of them cut, a mask between them. Linear layers never see rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unmask.text.example import Array


@dataclass
class Layout:
    """Borders of the sequences in a packed batch, and where its tokens stand when laid in rows."""

    lengths: tuple[int, ...]
    cu_seqlens: Tensor  # [N+1] int32
    max_length: int
    places: Tensor  # [T] int64 place of each token in the R*L places of all rows
    rows: int
    row_length: int
    _masks: dict[int | None, Tensor | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, lengths: Array, row_length: int | None = None) -> Layout:
        """Lay sequences of these lengths side by side, in their order, as many to a row as fit."""
        row_length = max(row_length or 0, int(lengths.max()))
        starts, rows = _starts_in_rows(lengths, row_length)
        offsets = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(starts - offsets, lengths)
        cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return cls(
            tuple(lengths.tolist()), torch.from_numpy(cu_seqlens), int(lengths.max()),
            torch.from_numpy(places), rows, row_length,
        )  # fmt: skip

    @property
    def full(self) -> bool:
        """Whether rows hold no empty place, so that laying out is a change of view."""
        return len(self.places) == self.rows * self.row_length

    def to_rows(self, x_T: Tensor) -> Tensor:
        """[T, …] to [R, L, …]; empty places hold zeros."""
        if not self.full:
            x_T = x_T.new_zeros(self.rows * self.row_length, *x_T.shape[1:]).index_copy(0, self.places, x_T)
        return x_T.view(self.rows, self.row_length, *x_T.shape[1:])

    def from_rows(self, x_RL: Tensor) -> Tensor:
        """[R, L, …] to [T, …]."""
        x = x_RL.reshape(self.rows * self.row_length, *x_RL.shape[2:])
        return x if self.full else x.index_select(0, self.places)

    def sequence(self) -> Tensor:
        """[T] the number of each token's sequence."""
        lengths = (self.cu_seqlens[1:] - self.cu_seqlens[:-1]).long()
        return torch.repeat_interleave(
            torch.arange(len(lengths), device=lengths.device), lengths, output_size=len(self.places)
        )

    def mask(self, window: int | None = None) -> Tensor | None:
        """[R, L, L] True where the one may see the other; None where everyone may. Made once a batch.

        Empty places see each other, so that no row of scores is empty.
        """
        if window not in self._masks:
            self._masks[window] = self._make_mask(window)
        return self._masks[window]

    def _make_mask(self, window: int | None) -> Tensor | None:
        alone = self.full and len(self.lengths) == self.rows
        if alone and (window is None or self.row_length <= window // 2 + 1):
            return None
        owner = self.to_rows(self.sequence() + 1)
        mask = owner[:, :, None] == owner[:, None, :]
        if window is not None:
            place = torch.arange(self.row_length, device=mask.device)
            mask &= (place[:, None] - place[None, :]).abs() <= window // 2
        return mask

    def to(self, device: torch.device) -> Layout:
        """The same layout on a device."""
        return Layout(
            self.lengths, self.cu_seqlens.to(device, non_blocking=True), self.max_length,
            self.places.to(device, non_blocking=True), self.rows, self.row_length,
        )  # fmt: skip


def _starts_in_rows(lengths: Array, row_length: int) -> tuple[Array, int]:
    """[N] the place where each sequence starts, counted over all rows, and the number of rows."""
    starts = np.empty(len(lengths), np.int64)
    row, used = 0, 0
    for n, length in enumerate(lengths.tolist()):
        if used + length > row_length:
            row, used = row + 1, 0
        starts[n] = row * row_length + used
        used += length
    return starts, row + 1
