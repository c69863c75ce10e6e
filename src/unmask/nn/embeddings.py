"""Token, position and segment embeddings with their norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.batch import Sequences
from unmask.nn.dropout import Dropout
from unmask.nn.layout import Layout


class Embeddings(nn.Module):
    """Tokens [T] to states [T, D].

    Args:
        tokens: gives each token its vector; none where the vocabulary is another's and comes with each call.
        width: D.
        positions: places that have a vector, or what gives them one; 0 for none.
        segments: segments that have one; 0 for none.
        norm: of the sum.
        dropout: after it.
        scale: what a token's vector is multiplied by.
        trigrams: makes a state of each token's vector and its neighbours' on either side; none: the vector is one.
        projection: brings the sum to another width ahead of the norm; none: it has it.
    """

    def __init__(
        self,
        tokens: nn.Module | None,
        width: int,
        positions: int | nn.Module,
        segments: int,
        norm: nn.Module,
        dropout: float,
        scale: float = 1.0,
        trigrams: nn.Linear | None = None,
        projection: nn.Linear | None = None,
    ):
        super().__init__()
        self.tokens = tokens
        if isinstance(positions, int):
            self.positions: nn.Module | None = Positions(positions, width) if positions else None
        else:
            self.positions = positions
        self.segments = nn.Embedding(segments, width) if segments else None
        self.norm, self.dropout, self.scale = norm, Dropout(dropout), scale
        self.trigrams, self.projection = trigrams, projection

    def share(self, other: Embeddings) -> None:
        """Read with another's vectors, and with its norm where neither brings them to its own width before that."""
        self.tokens, self.positions, self.segments = other.tokens, other.positions, other.segments
        self.trigrams = other.trigrams
        if self.projection is None and other.projection is None:
            self.norm = other.norm

    def forward(self, sequences: Sequences, vocabulary_VD: Tensor | None = None) -> Tensor:
        """The sum of a token's embeddings, normed."""
        if vocabulary_VD is not None:
            x_TD = look_up(vocabulary_VD, sequences.tokens)
        else:
            assert self.tokens is not None
            x_TD = self.tokens(sequences.tokens)
        if self.scale != 1:
            x_TD = x_TD * self.scale
        if self.trigrams is not None:
            x_TD = self.trigrams(with_neighbours(x_TD, sequences.layout))
        if self.positions is not None:
            x_TD = x_TD + self.positions(sequences.positions)
        if self.segments is not None:
            # without segments, and where all have one vector, everything is text A
            told = sequences.segments if self.segments.num_embeddings > 1 else None
            segments = told if told is not None else torch.zeros_like(sequences.tokens)
            x_TD = x_TD + look_up(self.segments.weight, segments)
        if self.projection is not None:
            x_TD = self.projection(x_TD)
        dropped: Tensor = self.dropout(self.norm(x_TD))
        return dropped


def with_neighbours(x_TE: Tensor, layout: Layout) -> Tensor:
    """[T, 3 E] the next token's vector, its own and the last one's; zeros where a sequence ends (Sun 2020, §3.4)."""
    borders = layout.cu_seqlens.long()
    after = torch.cat([x_TE[1:], x_TE[:1]]).index_fill(0, borders[1:] - 1, 0)
    before = torch.cat([x_TE[-1:], x_TE[:-1]]).index_fill(0, borders[:-1], 0)
    return torch.cat([after, x_TE, before], -1)


class TokenEmbedding(nn.Embedding):
    """A vector for each token."""

    def forward(self, tokens_T: Tensor) -> Tensor:
        """[T, D]."""
        return look_up(self.weight, tokens_T)


class Positions(nn.Embedding):
    """A vector for each place."""

    def forward(self, places_T: Tensor) -> Tensor:
        """[T, D]."""
        return look_up(self.weight, places_T)


class AxialPositions(nn.Module):
    """Places in rows and columns: a part of a vector is its row's, the rest its column's (Kitaev 2020)."""

    def __init__(self, rows: int, columns: int, row_width: int, column_width: int):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(rows, 1, row_width))
        self.columns = nn.Parameter(torch.randn(1, columns, column_width))

    def forward(self, places_T: Tensor) -> Tensor:
        """[T, D]."""
        columns = self.columns.shape[1]
        parts = ((self.rows[:, 0], places_T // columns), (self.columns[0], places_T % columns))
        return torch.cat([look_up(weight, index) for weight, index in parts], -1)


class TokenDifference(TokenEmbedding):
    """A vector for each token: another model's, and by how much this one's differs, which begins at nothing.

    No gradient goes to the other's (He 2021, 2111.09543, §3.3).
    """

    def __init__(self, other: TokenEmbedding):
        super().__init__(other.num_embeddings, other.embedding_dim)
        nn.init.zeros_(self.weight)
        self._other = (other,)  # not as a part of this one, whose weights it would then hold

    def forward(self, tokens_T: Tensor) -> Tensor:
        """[T, D]."""
        return look_up(self._other[0].weight.detach(), tokens_T) + look_up(self.weight, tokens_T)

    @torch.no_grad()
    def whole(self) -> TokenEmbedding:
        """The vectors themselves."""
        found = self._other[0].weight + self.weight
        return TokenEmbedding(self.num_embeddings, self.embedding_dim, _weight=found)

    @torch.no_grad()
    def part(self, rows: int, known: bool) -> None:
        """Stand for the vectors in the first ``rows`` of its weights; the other, if not ``known``, gets them too."""
        here, there = self.weight[:rows], self._other[0].weight[:rows]
        if not known:
            there.copy_(here)
        here.sub_(there)


def look_up(weight_VD: Tensor, ids: Tensor) -> Tensor:
    """Rows [..., D] of an embedding matrix, of ids [...]."""
    if weight_VD.dtype == torch.bfloat16 and weight_VD.device.type == "cpu":
        rows: Tensor = _LookUp.apply(weight_VD, ids)  # type: ignore[no-untyped-call]
        return rows
    return F.embedding(ids, weight_VD)


class _LookUp(torch.autograd.Function):
    """Adds up gradients in float32. Torch's own adds bfloat16 to bfloat16 on processors: 4,096 ones come to 256."""

    @staticmethod
    def forward(ctx: Any, weight_VD: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape = weight_VD.shape
        return F.embedding(ids, weight_VD)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        used, which = ids.flatten().unique(return_inverse=True)
        sums = torch.zeros(len(used), ctx.shape[1]).index_add_(0, which, gradient.flatten(0, -2).float())
        return gradient.new_zeros(ctx.shape).index_copy_(0, used, sums.to(gradient.dtype)), None
