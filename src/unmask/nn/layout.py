"""Who may see whom: N sequences end to end, each on its own.

T tokens, N sequences, R rows of length L (of K where keys are another batch's). A processor has no kernel for sequences
of different lengths, so there attention works on rows: sequences side by side, none of them cut, a mask between them.
Linear layers never see rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.nn.even import missing
from unmask.nn.local import Band, barrier
from unmask.text.example import Array


@dataclass
class Grid:
    """Where T tokens stand when they are laid in R rows of length L."""

    places: Tensor  # [T] int64 place of each token in the R*L places of all rows
    sources: Tensor  # [R*L] int64 token at each place; any token where the place is empty
    empty: Tensor  # [E] int64 places without a token
    rows: int
    row_length: int
    full: bool  # whether no place is empty and tokens stand in their order, so that laying out is a change of view

    @classmethod
    def at(cls, places: Tensor, rows: int, row_length: int) -> Grid:
        """Lay tokens at these places [T], each of which is another."""
        tokens = torch.arange(len(places), device=places.device)
        sources = places.new_full((rows * row_length,), -1)
        sources[places] = tokens
        empty = torch.nonzero(sources < 0).flatten()
        full = not len(empty) and torch.equal(places, tokens)
        return cls(places, sources.clamp(min=0), empty, rows, row_length, full)

    def to_rows(self, x_T: Tensor) -> Tensor:
        """[T, …] to [R, L, …]; empty places hold zeros."""
        laid: Tensor = x_T if self.full else _ToRows.apply(x_T, self)  # type: ignore[no-untyped-call]
        return laid.view(self.rows, self.row_length, *x_T.shape[1:])

    def from_rows(self, x_RL: Tensor) -> Tensor:
        """[R, L, …] to [T, …]."""
        x = x_RL.reshape(self.rows * self.row_length, *x_RL.shape[2:])
        taken: Tensor = x if self.full else _FromRows.apply(x, self)  # type: ignore[no-untyped-call]
        return taken

    def laid(self, x_T: Tensor) -> Tensor:
        """[T, …] to [R*L, …]."""
        return x_T.index_select(0, self.sources).index_fill_(0, self.empty, 0)


class _ToRows(torch.autograd.Function):
    """Gathered on the way back as on the way there: several times as fast as the scattering that torch would do."""

    @staticmethod
    def forward(ctx: Any, x_T: Tensor, grid: Grid) -> Tensor:
        ctx.grid = grid
        return grid.laid(x_T)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.grid.places), None


class _FromRows(torch.autograd.Function):
    """The other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid) -> Tensor:
        ctx.grid = grid
        return x.index_select(0, grid.places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.grid.laid(gradient), None


@dataclass
class Layout(Grid):
    """Borders of the sequences in a packed batch, and where its tokens stand when laid in rows."""

    lengths: tuple[int, ...]
    cu_seqlens: Tensor  # [N+1] int32
    max_length: int
    order: Tensor | None = None  # [T] int64: a token sees those of its sequence with a number not above its own
    globals: Globals | None = None  # what is seen past every window
    whole: Layout | None = None  # without the tokens that make their number even, if there are some
    _barriers: dict[tuple[int | None, bool, torch.dtype], Tensor | None] = field(default_factory=dict, repr=False)
    _bands: dict[tuple[int, bool, torch.dtype], Band] = field(default_factory=dict, repr=False)
    _pairs: dict[tuple[int, ...], Pair] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, lengths: Array, row_length: int | None = None, order: Array | None = None) -> Layout:
        """Lay sequences of these lengths side by side, in their order, as many to a row as fit.

        Rows are at least as long as the longest; unless a length is given, so long that it comes again (see `nn.even`).
        """
        longest = int(lengths.max())
        row_length = longest + missing(longest) if row_length is None else max(row_length, longest)
        return cls._in_rows(lengths, rows_of([lengths], [row_length]), row_length, order)

    @classmethod
    def _in_rows(cls, lengths: Array, row_of: Array, row_length: int, order: Array | None = None) -> Layout:
        """Lay each sequence in the row [N] it is given, behind those before it."""
        starts, rows = _starts_in_rows(lengths, row_of, row_length), int(row_of[-1]) + 1
        offsets = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(starts - offsets, lengths)
        cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return cls(
            **vars(Grid.at(torch.from_numpy(places), rows, row_length)),
            lengths=tuple(lengths.tolist()), cu_seqlens=torch.from_numpy(cu_seqlens), max_length=int(lengths.max()),
            order=None if order is None else torch.from_numpy(order).long(),
        )  # fmt: skip

    def sequence(self) -> Tensor:
        """[T] the number of each token's sequence."""
        lengths = (self.cu_seqlens[1:] - self.cu_seqlens[:-1]).long()
        return torch.repeat_interleave(
            torch.arange(len(lengths), device=lengths.device), lengths, output_size=len(self.places)
        )

    def evened(self) -> Layout | None:
        """The same sequences, and as many tokens more as make an even number; None where there is no room for them.

        They are a last sequence, in places that were empty, and see each other at most.
        """
        more = missing(len(self.places))
        if not 0 < more <= len(self.empty) or self.globals is not None:
            return None
        places = torch.cat([self.places, self.empty[:more]])
        order = None if self.order is None else torch.cat([self.order, self.order.new_zeros(more)])
        return Layout(
            **vars(Grid.at(places, self.rows, self.row_length)),
            lengths=(*self.lengths, more), max_length=max(self.max_length, more), order=order,
            cu_seqlens=torch.cat([self.cu_seqlens, self.cu_seqlens[-1:] + more]), whole=self,
        )  # fmt: skip

    def marked(self, mask: Tensor) -> Layout:
        """The same sequences, in which these tokens [T] are global."""
        counts = np.bincount(self.sequence()[mask].numpy(force=True), minlength=len(self.lengths))
        alone = Layout.of(counts, int(counts.sum())).to(mask.device)
        found = Globals(mask, torch.nonzero(mask).flatten(), alone)
        return replace(self, globals=found, _barriers={}, _bands={}, _pairs={})

    def band(self, window: int, dtype: torch.dtype, causal: bool = False) -> Band:
        """For local attention in blocks instead of rows. Made once a batch."""
        if (window, causal, dtype) not in self._bands:
            self._bands[window, causal, dtype] = Band.of(self, window, causal, dtype)
        return self._bands[window, causal, dtype]

    def beside(self, keys: Layout) -> Pair:
        """These sequences and those of another batch, sequence n of both in the same row. Made once a batch."""
        if keys.lengths not in self._pairs:
            self._pairs[keys.lengths] = Pair.of(self, keys)
        return self._pairs[keys.lengths]

    def barrier(self, window: int | None, dtype: torch.dtype, causal: bool = False) -> Tensor | None:
        """[R, L, L] 0 where the one may see the other, -inf elsewhere; None where everyone may. Made once a batch.

        Empty places see each other, so that no row of scores is all -inf. Where rows are alike, R is 1.
        """
        if (window, causal, dtype) not in self._barriers:
            self._barriers[window, causal, dtype] = self._make_barrier(window, dtype, causal)
        return self._barriers[window, causal, dtype]

    def _make_barrier(self, window: int | None, dtype: torch.dtype, causal: bool) -> Tensor | None:
        alone = self.full and len(self.lengths) == self.rows
        if alone and self.order is None and not causal and (window is None or self.row_length <= window // 2 + 1):
            return None
        alike = alone and self.order is None and self.globals is None
        owner = self.to_rows(self.sequence() + 1)[: 1 if alike else None]
        mask = owner[:, :, None] == owner[:, None, :]
        place = torch.arange(self.row_length, device=mask.device)
        if window is not None:
            near = (place[:, None] - place[None, :]).abs() <= window // 2
            mask &= near if self.globals is None else near | self.to_rows(self.globals.mask)[:, None, :]
        if causal:
            mask &= place[:, None] >= place[None, :]
        if self.order is not None:
            order = self.to_rows(self.order)
            mask &= order[:, :, None] >= order[:, None, :]
        return barrier(mask, dtype)

    def to(self, device: torch.device) -> Layout:
        """The same layout on a device."""
        names = ("cu_seqlens", "places", "sources", "empty")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
        order = None if self.order is None else self.order.to(device, non_blocking=True)
        return replace(self, **moved, order=order, globals=None, _barriers={}, _bands={}, _pairs={})


@dataclass
class Globals:
    """Tokens that are seen by all of their sequence: each sequence has one at least."""

    mask: Tensor  # [T] bool
    index: Tensor  # [G] their places
    layout: Layout  # of them alone


@dataclass
class Pair:
    """Two batches of N sequences in rows side by side, so that sequence n of the one can look at n of the other."""

    queries: Layout
    keys: Layout
    _barriers: dict[torch.dtype, Tensor | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, queries: Layout, keys: Layout) -> Pair:
        """Lay both anew, in rows no longer than they have now."""
        lengths, row_lengths = [np.array(x.lengths) for x in (queries, keys)], (queries.row_length, keys.row_length)
        row_of = rows_of(lengths, row_lengths)
        most = zip(lengths, row_lengths, strict=True)
        longest = [_longest(np.bincount(row_of, each), row_length) for each, row_length in most]
        one, other = (Layout._in_rows(each, row_of, most) for each, most in zip(lengths, longest, strict=True))
        return cls(one.to(queries.places.device), other.to(keys.places.device))

    def barrier(self, dtype: torch.dtype) -> Tensor | None:
        """[R, L, K] as `Layout.barrier` has it. Empty places see all."""
        if dtype not in self._barriers:
            alone = self.keys.full and len(self.keys.lengths) == self.keys.rows
            self._barriers[dtype] = None if alone else self._make_barrier(dtype)
        return self._barriers[dtype]

    def _make_barrier(self, dtype: torch.dtype) -> Tensor:
        asks, owner = (x.to_rows(x.sequence() + 1) for x in (self.queries, self.keys))
        return barrier((asks[:, :, None] == owner[:, None, :]) | (asks == 0)[:, :, None], dtype)


def rows_of(lengths: Sequence[Array], row_lengths: Sequence[int]) -> Array:
    """[N] the row of each sequence: as many to a row, in their order, as fit it in every one of these batches."""
    found = np.empty(len(lengths[0]), np.int64)
    row, used = 0, [0] * len(lengths)
    for n, each in enumerate(zip(*(x.tolist() for x in lengths), strict=True)):
        if any(u + length > most for u, length, most in zip(used, each, row_lengths, strict=True)):
            row, used = row + 1, [0] * len(lengths)
        found[n] = row
        used = [u + length for u, length in zip(used, each, strict=True)]
    return found


def _longest(tokens: Array, most: int) -> int:
    """How long rows of so many tokens [R] are: if not all are full, a length that comes again, see `nn.even`."""
    longest = int(tokens.max())
    return longest if (tokens == longest).all() else min(longest + -longest % 8, most)


def _starts_in_rows(lengths: Array, row_of: Array, row_length: int) -> Array:
    """[N] the place where each sequence starts, counted over all rows."""
    before = np.cumsum(lengths) - lengths
    first = before[np.searchsorted(row_of, np.arange(row_of[-1] + 1))]  # [R] tokens before each row
    return before - first[row_of] + row_of * row_length
