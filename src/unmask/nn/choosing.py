"""Heads that choose one vector among others. M answers, C candidates, S of them offered to an answer, D width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.heads import Sizes


def among(scores_MC: Tensor, offered_MS: Tensor) -> Tensor:
    """The scores [M, S] of the candidates that each answer is offered; -inf where fewer are (their number is -1)."""
    return scores_MC.gather(1, offered_MS.clamp(min=0)).masked_fill(offered_MS < 0, -math.inf)


def cosines(a_MD: Tensor, b_CD: Tensor) -> Tensor:
    """Cosines [M, C] of the angles between vectors, in float32: divided by a small temperature they want its digits."""
    return F.normalize(a_MD.float(), dim=-1) @ F.normalize(b_CD.float(), dim=-1).T


class CopyHead(nn.Module):
    """Which one is the other copy of a sentence? By cosine, after dense and tanh (Gao 2021, SimCSE's code)."""

    def __init__(self, sizes: Sizes, temperature: float):
        super().__init__()
        self.dense = nn.Linear(sizes.width, sizes.width)
        self.temperature = temperature

    def forward(self, copies_M2D: Tensor, offered_MS: Tensor) -> Tensor:
        """States of both copies [M, 2, D] to logits [M, S] of the second ones that are offered."""
        first, second = torch.tanh(self.dense(copies_M2D)).unbind(1)
        return among(cosines(first, second) / self.temperature, offered_MS)


class NeighbourHead(nn.Module):
    """Which one stands beside it? By inner product; all that is learned is in the encoders (Logeswaran 2018)."""

    def forward(self, asked_MD: Tensor, candidates_CD: Tensor, offered_MS: Tensor) -> Tensor:
        """Vectors [M, D] by the one encoder, candidates [C, D] by the other, to logits [M, S]."""
        return among(asked_MD.float() @ candidates_CD.float().T, offered_MS)


def alignment(copies_M2D: Tensor) -> Tensor:
    """The sum over M of the squared distance of a vector to its other copy, on the unit sphere (Wang 2020)."""
    first, second = F.normalize(copies_M2D.float(), dim=-1).unbind(1)
    return (first - second).square().sum()


def closeness(x_MD: Tensor, offered_MS: Tensor) -> tuple[Tensor, int]:
    """The sum of exp(-2 d^2) over all pairs of different vectors among those offered, d their distance on the unit
    sphere, and the number of pairs. The logarithm of the mean is called uniformity (Wang 2020, 2005.10242)."""
    own = torch.arange(len(x_MD), device=x_MD.device)[:, None]
    others = torch.where(offered_MS == own, -1, offered_MS)
    squares = 2 - 2 * among(cosines(x_MD, x_MD), others)  # inf where there is no other
    return torch.exp(-2 * squares).sum(), int((others >= 0).sum())
