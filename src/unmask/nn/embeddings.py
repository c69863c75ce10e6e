"""Token, position and segment embeddings with their norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.batch import Sequences
from unmask.nn.dropout import Dropout
from unmask.nn.norm import LayerNorm


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
        norm: bool = True,
    ):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(positions, width) if positions else None
        self.segments = nn.Embedding(segments, width) if segments else None
        self.norm = LayerNorm(width, norm_eps, bias=bias) if norm else nn.Identity()
        self.dropout = Dropout(dropout)

    def forward(self, sequences: Sequences) -> Tensor:
        """The sum of a token's embeddings, normed."""
        x_TD = look_up(self.tokens.weight, sequences.tokens)
        if self.positions is not None:
            x_TD = x_TD + look_up(self.positions.weight, sequences.positions)
        if self.segments is not None:
            # without segments everything is text A
            segments = sequences.segments if sequences.segments is not None else torch.zeros_like(sequences.tokens)
            x_TD = x_TD + look_up(self.segments.weight, segments)
        dropped: Tensor = self.dropout(self.norm(x_TD))
        return dropped


def look_up(weight_VD: Tensor, ids: Tensor) -> Tensor:
    """Rows [T, D] of an embedding matrix."""
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
    def backward(ctx: Any, gradient_TD: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        used, which = ids.unique(return_inverse=True)
        sums = torch.zeros(len(used), ctx.shape[1]).index_add_(0, which, gradient_TD.float())
        return gradient_TD.new_zeros(ctx.shape).index_copy_(0, used, sums.to(gradient_TD.dtype)), None
