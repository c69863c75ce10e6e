"""Scores by what tokens are and by how far they stand apart, asked of each other (He 2020, DeBERTa, 2006.03654, §3.1).

A query q has for a key k, which stands at distance d, the score (q·k + q·K[d] + Q[d]·k) / √(3W): content asks content,
content asks the distance, the distance asks content. Q and K are what a layer makes of the states of distances, by the
matrices that make queries and keys of tokens (He 2021, 2111.09543's code). In the paper the distance that asks is that
from the key to the query; in the code of all releases, and here, it is the other one's.

T tokens, R rows or N texts, H heads, W width of a head, D width, B = 2 * reach distances that occur.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unmask.nn.positions import Added, Project


def log_bucket(distance: Tensor, span: int, longest: int) -> Tensor:
    """The bucket of each distance, query less key: itself up to half the span, then as the logarithm grows.

    The distance ``longest - 1`` is in bucket ``span - 1`` if it is not in its own; one below 0 has the bucket of its
    like above 0, below 0.
    """
    middle = span // 2
    # the order of these operations decides, by rounding, where a bucket ends: it is that of the release
    growth = (distance.abs().clamp(min=middle) / middle).log() / torch.tensor((longest - 1) / middle).log()
    far = distance.sign() * (torch.ceil(growth * (middle - 1)) + middle)
    return torch.where(distance.abs() <= middle, distance, far).long()


def reach_of(length: int, span: int, longest: int) -> int:
    """How many buckets are needed to either side, of the ``span`` there are, between the tokens of such a text."""
    return int(log_bucket(torch.tensor(min(length, longest) - 1), span, longest)) + 1


class DistanceStates:
    """The states [B, D] of the distances that occur, from -reach to reach - 1 in buckets, for all layers to ask.

    Args:
        states_BD: the states.
        span: how many buckets there are to either side.
        longest: the longest text, whose distances they are made for.
        dropout: of the states, in each layer anew.
    """

    def __init__(self, states_BD: Tensor, span: int, longest: int, dropout: nn.Module):
        self.states_BD, self.span, self.longest, self.dropout = states_BD, span, longest, dropout
        self._of_rows: dict[int, Tensor] = {}

    def of(self, project: Project, scale: float) -> Added:
        """What they add in a layer."""
        q_BHW, k_BHW = project(self.dropout(self.states_BD))[:2]
        return Disentangled(self, q_BHW * scale, k_BHW)

    def number(self, distance: Tensor) -> Tensor:
        """The row [B] that each distance has. No text has those from ``longest`` on: what they get nobody sees."""
        reach = len(self.states_BD) // 2
        distance = distance.clamp(1 - self.longest, self.longest - 1)
        return (log_bucket(distance, self.span, self.longest) + reach).clamp(0, 2 * reach - 1)

    def of_rows(self, length: int) -> Tensor:
        """[Q, K] between all places of a row."""
        if length not in self._of_rows:
            place = torch.arange(length, device=self.states_BD.device)
            self._of_rows[length] = self.number(place[:, None] - place)
        return self._of_rows[length]


class Disentangled:
    """What distances add to a layer's scores: the queries, already multiplied as scores are, and the keys they have."""

    def __init__(self, states: DistanceStates, queries_BHW: Tensor, keys_BHW: Tensor):
        self.states, self.queries_BHW, self.keys_BHW = states, queries_BHW, keys_BHW

    def rows(self, q_RHQW: Tensor, k_RHKW: Tensor) -> Tensor:
        """[R, H, Q, K]. Products are with the distances that there are; each pair then takes what is its own."""
        number = self.states.of_rows(q_RHQW.shape[2])
        asked, asking = _products(q_RHQW, self.keys_BHW), _products(k_RHKW, self.queries_BHW)
        of_query = asked.gather(3, number.expand(*asked.shape[:3], -1))
        of_key = asking.gather(3, number.t().expand(*asking.shape[:3], -1))
        return (of_query + of_key.transpose(2, 3)).transpose(0, 1)

    def between(self, q_NHQW: Tensor, k_NHKW: Tensor, asking: Tensor, places: Tensor) -> Tensor:
        """[N, H, Q, K]."""
        number = self.states.number(asking[:, :, None] - places)  # [N, Q, K]
        of_query = torch.einsum("nhqw,nqkhw->nhqk", q_NHQW, self.keys_BHW[number])
        return of_query + torch.einsum("nhkw,nqkhw->nhqk", k_NHKW, self.queries_BHW[number])


def _products(x_RHLW: Tensor, distances_BHW: Tensor) -> Tensor:
    """[H, R, L, B]."""
    rows, heads, length, width = x_RHLW.shape
    by_head = x_RHLW.transpose(0, 1).reshape(heads, rows * length, width)
    return (by_head @ distances_BHW.permute(1, 2, 0)).view(heads, rows, length, -1)
