"""Attention in chunks (Kitaev 2020, Reformer, 2001.04451, §2): a token sees its chunk and the one before.

T tokens in all sequences, N sequences, H heads, R rounds, K chunks of C places in all sequences together, W width of a
head. Tokens stand in the order that a round gives them, each sequence by itself: that of the text, for local attention,
or that of their buckets. The first chunk looks back on the last one of its sequence, of the round before, as in Trax.
A sequence of one chunk is seen whole, in one round.

    sequences aaaaaaa bb, C = 4     aaaa aaa. bb..
    the chunk looked back on        aaa. aaaa none
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmask.nn.dropout import drop
from unmask.nn.embeddings import look_up
from unmask.nn.even import missing
from unmask.text.example import Array

FAR, SELF = -1e9, -1e5
"""The scores of what is not seen, and of a token itself where it sees itself only for want of others. Weights of rounds
that hold nothing else hang on the second, as float32 rounds it: it is the reference's."""


def filled(lengths: Sequence[int], sizes: Sequence[int]) -> Array:
    """[N] places of sequences that fill chunks of all these sizes; what is no longer than the smallest is one chunk."""
    found, unit = np.array(lengths), math.lcm(*sizes)
    return np.where(found <= min(sizes), found, -(-found // unit) * unit)


@dataclass
class Chunks:
    """Sequences in chunks, whatever the order of their tokens."""

    sources: Tensor  # [K, C] which token of the order stands there; any where none does
    there: Tensor  # [K, C] whether one does
    before: Tensor  # [K] the chunk that is looked back on
    first: Tensor  # [K] whether that is one of the round before
    alone: Tensor  # [K] whether there is none, the chunk being all of its sequence
    places: Tensor  # [T] where each token of the order stands, of K*C
    whole: Tensor  # [T] whether it stands in a chunk that is all of its sequence

    @classmethod
    def of(cls, lengths: Sequence[int], filled: Array, size: int, device: torch.device) -> Chunks:
        """Lay sequences of these lengths in chunks of a size, as many as `filled` fills, and some to make them even."""
        length, counts = np.array(lengths), -(-filled // size)
        ends, last = np.cumsum(length), np.cumsum(counts) - 1
        owner, begin = np.repeat(np.arange(len(length)), counts), last - counts + 1
        number = np.arange(len(owner)) - begin[owner]
        sources = ((ends - length)[owner] + number * size)[:, None] + np.arange(size)
        there = sources < ends[owner][:, None]
        within = np.arange(ends[-1]) - np.repeat(ends - length, length)
        arrays = {
            "sources": np.where(there, sources, 0), "there": there, "first": number == 0,
            "before": np.where(number == 0, last[owner], np.arange(len(owner)) - 1), "alone": counts[owner] == 1,
            "places": np.repeat(begin, length) * size + within, "whole": np.repeat(counts == 1, length),
        }  # fmt: skip
        for name in ("sources", "there", "first", "before", "alone"):
            nobodys = [(0, missing(len(owner)))] + [(0, 0)] * (arrays[name].ndim - 1)
            arrays[name] = np.pad(arrays[name], nobodys, constant_values=name == "alone")
        return cls(**{name: torch.from_numpy(array).to(device) for name, array in arrays.items()})

    def laid(self, order_RHT: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens [R, H, K, C] of each chunk and those [R, H, K, S] that they can see; -1 for none."""
        asking = order_RHT[:, :, self.sources].masked_fill(~self.there, -1)
        if bool(self.alone.all()):
            return asking, asking
        before, of_round_before = (x[:, :, self.before] for x in (asking, asking.roll(1, 0)))
        back = torch.where(self.first[:, None], of_round_before, before).masked_fill(self.alone[:, None], -1)
        return asking, torch.cat([back, asking], -1)


def attend_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    order_RHT: Tensor,
    chunks: Chunks,
    causal: bool,
    shared: bool,
    dropout: float = 0.0,
    visible: Tensor | None = None,
) -> Tensor:
    """Attention to what stands in a token's chunk and in the one before; q, k, v and the result are [T, H, W].

    Args:
        q: of the tokens that look.
        k: of those they look at.
        v: alike.
        order_RHT: the tokens in the order of each round and head, each sequence where it is.
        chunks: that the order is cut into.
        causal: a token sees none behind itself.
        shared: queries are keys, so that a token sees itself only where it sees no other.
        dropout: of the probabilities.
        visible: [T] a token sees those with a number not above its own.
    """
    asking, seen = chunks.laid(order_RHT := order_RHT.long())
    q, k, v = _laid(q, asking), _laid(k, seen), _laid(v, seen)  # [R, H, K, C or S, W]
    hidden = _hidden(asking[..., None], seen[..., None, :], causal, visible)
    scores = (q @ k.transpose(3, 4) * q.shape[-1] ** -0.5).float().masked_fill(hidden, FAR)
    if shared:
        scores = scores.masked_fill(asking[..., None] == seen[..., None, :], SELF)
    sums = scores.logsumexp(-1, keepdim=True)
    mixed = drop((scores - sums).exp().to(v.dtype), dropout) @ v
    return _together(mixed, sums, order_RHT, chunks)


def _hidden(asking: Tensor, seen: Tensor, causal: bool, visible: Tensor | None) -> Tensor:
    """Whether there is nothing, or what the one may not see."""
    hidden = seen < 0
    if causal:
        hidden = hidden | (seen > asking)
    if visible is not None:
        hidden = hidden | (visible[seen.clamp(min=0)] > visible[asking.clamp(min=0)])
    return hidden


def _laid(x_THW: Tensor, index_RHKC: Tensor) -> Tensor:
    """[R, H, K, C, W]. A token lies in many places, whose gradients `look_up` adds in float32."""
    count, heads, width = x_THW.shape
    of_head = index_RHKC.clamp(min=0) + count * torch.arange(heads, device=x_THW.device)[:, None, None]
    return look_up(x_THW.transpose(0, 1).reshape(-1, width), of_head.flatten()).view(*index_RHKC.shape, width)


def _together(mixed: Tensor, sums: Tensor, order_RHT: Tensor, chunks: Chunks) -> Tensor:
    """[T, H, W] what all rounds say of each token: each round's share is what its scores come to (§2, eq. 4)."""
    rounds, heads, count = order_RHT.shape
    there = torch.empty_like(order_RHT).scatter_(2, order_RHT, chunks.places.expand_as(order_RHT))
    each = torch.arange(rounds * heads, device=there.device).view(rounds, heads, 1) * chunks.sources.numel()
    index = (there + each).flatten()
    mixed = look_up(mixed.flatten(0, 3), index).view(rounds, heads, count, -1)
    if rounds == 1:
        return mixed[0].transpose(0, 1)
    said = sums.flatten()[index].view(rounds, heads, count)
    again = torch.arange(rounds, device=said.device)[:, None, None] > 0
    said = said.masked_fill(again & chunks.whole, -math.inf)
    shares = (said - said.logsumexp(0)).exp()
    return (mixed * shares[..., None].to(mixed.dtype)).sum(0).transpose(0, 1)
