"""A layer that works inside a bottleneck: states are wide between layers, narrow within (Sun 2020, 2004.02984, §3.1).

T tokens, D width, B width of the bottleneck, H heads, W width of a head.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from unmask.nn.asked import Asked, chosen
from unmask.nn.attention import attend
from unmask.nn.blocks import Attending, BlockShape, FeedForward
from unmask.nn.dropout import Dropout
from unmask.nn.layout import Layout
from unmask.nn.norm import norm_of
from unmask.nn.past import Past
from unmask.nn.positions import Angles, OfDistances


class BottleneckAttention(Attending):
    """Self-attention whose queries and keys come from one bottleneck, and whose values from the wide states."""

    def __init__(self, shape: BlockShape, narrow: int):
        super().__init__(shape, shape.window, shape.causal)
        self.query_key = nn.Linear(narrow, 2 * self.across, bias=shape.bias)
        self.value = nn.Linear(shape.width, self.across, bias=shape.bias)
        self.out = nn.Linear(self.across, narrow, bias=shape.bias)

    def forward(self, x_TD: Tensor, shared_TB: Tensor, layout: Layout, asked: Asked | None = None) -> Tensor:
        """[T, B], or [K, B] of those that are asked about."""
        q, k = self.query_key(shared_TB).view(len(x_TD), 2, self.heads, -1).unbind(1)
        v = self.value(x_TD).view(len(x_TD), self.heads, -1)
        mixed = chosen(attend(q, k, v, layout, self.now()), asked)
        out: Tensor = self.out(mixed.flatten(1))
        return out


class Narrow(nn.Module):
    """A matrix and a norm: from wide states to a bottleneck."""

    def __init__(self, shape: BlockShape, narrow: int):
        super().__init__()
        self.dense = nn.Linear(shape.width, narrow, bias=shape.bias)
        self.norm = norm_of(shape.norm_kind, narrow, shape.norm_eps, shape.bias)

    def forward(self, x_TD: Tensor) -> Tensor:
        """[T, D] to [T, B]."""
        out: Tensor = self.norm(self.dense(x_TD))
        return out


class Feeding(nn.Module):
    """A feed-forward, added to what came in, and a norm."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.feed_forward = FeedForward(shape)
        self.norm = norm_of(shape.norm_kind, shape.width, shape.norm_eps, shape.bias)

    def forward(self, x_TB: Tensor) -> Tensor:
        """[T, B] to [T, B]."""
        out: Tensor = self.norm(x_TB + self.feed_forward(x_TB))
        return out


class BottleneckBlock(nn.Module):
    """Into the bottleneck, attention, some feed-forwards, and out of it, added to what came in.

    Dropout stands at the way out alone, as in the release.
    """

    def __init__(self, shape: BlockShape, normed: bool = False):
        super().__init__()
        assert shape.bottleneck is not None and not normed
        narrow = shape.bottleneck
        inside = replace(shape, width=narrow)
        self.input, self.shared = Narrow(shape, narrow), Narrow(shape, narrow)
        self.attention = BottleneckAttention(shape, narrow)
        self.attention_norm = norm_of(shape.norm_kind, narrow, shape.norm_eps, shape.bias)
        self.first = nn.ModuleList(Feeding(inside) for _ in range(shape.feed_forwards - 1))
        self.last = Feeding(inside)
        self.output = nn.Linear(narrow, shape.width, bias=shape.bias)
        self.output_norm = norm_of(shape.norm_kind, shape.width, shape.norm_eps, shape.bias)
        self.dropout = Dropout(shape.dropout)

    def forward(
        self,
        x_TD: Tensor,
        layout: Layout,
        angles: Angles | None = None,
        distances: OfDistances | None = None,
        past: Past | None = None,
        asked: Asked | None = None,
    ) -> Tensor:
        """[T, D] to [T, D], or to [K, D] of those that are asked about."""
        attended = self.attention(x_TD, self.shared(x_TD), layout, asked)
        x_TD = chosen(x_TD, asked)
        x_TB = self.attention_norm(self.input(x_TD) + attended)
        for feeding in self.first:
            x_TB = feeding(x_TB)
        out: Tensor = self.output_norm(x_TD + self.dropout(self.output(self.last(x_TB))))
        return out
