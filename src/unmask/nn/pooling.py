"""From the states of a sequence's tokens to one vector. T tokens, N sequences, D width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unmask.nn.layout import Layout


def lengths(layout: Layout) -> Tensor:
    """[N, 1] tokens of each sequence, as float32."""
    return (layout.cu_seqlens[1:] - layout.cu_seqlens[:-1]).float()[:, None]


def total(x_TD: Tensor, layout: Layout) -> Tensor:
    """The sum over each sequence [N, D], added up in float32."""
    sums = x_TD.new_zeros(len(layout.lengths), x_TD.shape[1], dtype=torch.float32)
    return sums.index_add(0, layout.sequence(), x_TD.float())


def mean(x_TD: Tensor, layout: Layout) -> Tensor:
    """The mean over each sequence [N, D]."""
    return (total(x_TD, layout) / lengths(layout)).to(x_TD.dtype)


def largest(x_TD: Tensor, layout: Layout) -> Tensor:
    """The largest value over each sequence, by feature [N, D]."""
    least = x_TD.new_full((len(layout.lengths), x_TD.shape[1]), -math.inf)
    return least.scatter_reduce(0, layout.sequence()[:, None].expand_as(x_TD), x_TD, "amax")


class AttentionPooling(nn.Module):
    """A mean whose weights are learned: a score for each token, and their softmax over the sequence (Lin 2017)."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, x_TD: Tensor, layout: Layout) -> Tensor:
        """[T, D] to [N, D]."""
        scores_T1 = self.score(x_TD).float()
        highest_T1 = largest(scores_T1.detach(), layout).index_select(0, layout.sequence())
        weights_T1 = (scores_T1 - highest_T1).exp()
        return (total(weights_T1 * x_TD.float(), layout) / total(weights_T1, layout)).to(x_TD.dtype)


def pooling(name: str, width: int) -> nn.Module:
    """A module from states [T, D] and a layout to [N, D]: ``mean``, ``max`` or ``attention``."""
    return AttentionPooling(width) if name == "attention" else Fixed(name)


class Fixed(nn.Module):
    """Pooling without parameters."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def forward(self, x_TD: Tensor, layout: Layout) -> Tensor:
        """[T, D] to [N, D]."""
        return {"mean": mean, "max": largest}[self.name](x_TD, layout)
