"""Token, position and segment embeddings with their norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.batch import Sequences
from unmask.nn.dropout import Dropout


class Embeddings(nn.Module):
    """Tokens [T] to states [T, D]."""

    def __init__(
        self,
        vocab_size: int,
        width: int,
        positions: int,
        segments: int,
        norm_eps: float,
        bias: bool,
        dropout: float,
    ):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(positions, width) if positions else None
        self.segments = nn.Embedding(segments, width) if segments else None
        self.norm = nn.LayerNorm(width, norm_eps, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, sequences: Sequences) -> Tensor:
        """The sum of a token's embeddings, normed."""
        x_TD = F.embedding(sequences.tokens, self.tokens.weight)
        if self.positions is not None:
            x_TD = x_TD + self.positions(sequences.positions)
        if self.segments is not None:
            # without segments everything is text A
            segments = sequences.segments if sequences.segments is not None else torch.zeros_like(sequences.tokens)
            x_TD = x_TD + self.segments(segments)
        dropped: Tensor = self.dropout(self.norm(x_TD))
        return dropped
