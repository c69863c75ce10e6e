"""One layer of a model: attention, then a feed-forward, each with its norm and a place for an adapter.

T tokens, S tokens of what a decoder reads, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from unmask.nn.activation import ACTIVATIONS, Activation
from unmask.nn.asked import Asked, chosen
from unmask.nn.attention import Manner, attend, remembered
from unmask.nn.dropout import Dropout
from unmask.nn.even import evened
from unmask.nn.layout import Layout
from unmask.nn.norm import Kind, norm_of
from unmask.nn.past import Past
from unmask.nn.positions import Angles, OfDistances, rotate


@dataclass(frozen=True)
class BlockShape:
    """What one block needs to know."""

    width: int
    heads: int
    head_width: int
    feed_forward: int
    dropout: float
    attention_dropout: float
    activation_dropout: float
    norm_before: bool
    norm_kind: Kind
    norm_eps: float
    bias: bool
    activation: Activation
    gated: bool
    window: int | None
    causal: bool
    scale: float | None  # of attention's scores; None: 1 / sqrt(head_width)
    bottleneck: int | None = None  # width inside the layer; None: the model's
    feed_forwards: int = 1


@dataclass(frozen=True)
class Memory:
    """What a decoder reads: states [S, D], sequence by sequence; behind them there may be some that are nobody's."""

    states: Tensor
    layout: Layout


class Attending(nn.Module):
    """What self-attention and attention to another text have in common."""

    def __init__(self, shape: BlockShape, window: int | None = None, causal: bool = False):
        super().__init__()
        self.heads, self.across = shape.heads, shape.heads * shape.head_width
        self.training_manner = Manner(window, causal, shape.scale, shape.attention_dropout)
        self.manner = Manner(window, causal, shape.scale)

    def now(self) -> Manner:
        """With dropout when training."""
        return self.training_manner if self.training else self.manner


class Attention(Attending):
    """Multi-head self-attention (Vaswani 2017); queries, keys and values come from one matrix."""

    def __init__(self, shape: BlockShape):
        super().__init__(shape, shape.window, shape.causal)
        self.qkv = nn.Linear(shape.width, 3 * self.across, bias=shape.bias)
        self.out = nn.Linear(self.across, shape.width, bias=shape.bias)

    def forward(
        self,
        x_TD: Tensor,
        layout: Layout,
        angles: Angles | None = None,
        distances: OfDistances | None = None,
        past: Past | None = None,
        asked: Asked | None = None,
    ) -> Tensor:
        """[T, D] to [T, D], or to [K, D] of those that are asked about.

        What is read is kept in ``past``; once it holds something, x is one more token of each.
        """
        if asked is not None and distances is None and self.manner.sees_all(layout):
            mixed = self._mix_asked(x_TD, layout.whole or layout, angles, asked)
        else:
            mixed = chosen(self.mix(x_TD, layout, angles, distances, past), asked)
        out: Tensor = self.out(mixed.flatten(1))
        return out

    def _mix_asked(self, x_TD: Tensor, layout: Layout, angles: Angles | None, asked: Asked) -> Tensor:
        """What each head says to those that are asked about [K, H, W], each of which sees all of its sequence."""
        q, k, v = self._turned(x_TD, angles)
        k, v = (x[: len(layout.places)] for x in (k, v))
        return attend(chosen(q, asked), k, v, asked.layout, self.now(), keys=layout)

    def mix(
        self, x_TD: Tensor, layout: Layout, angles: Angles | None, distances: OfDistances | None, past: Past | None
    ) -> Tensor:
        """What each head says [T, H, W]."""
        q, k, v = self._turned(x_TD, angles)
        added = None if distances is None else distances.of(self._project, self.manner.scaled(q.shape[-1]))
        if past is not None and past.begun:
            past.add(k, v)
            return remembered(q, past, self.now(), added)
        if past is not None:
            past.keep(k, v, layout)
        return attend(q, k, v, layout, self.now(), distances=added)

    def _turned(self, x_TD: Tensor, angles: Angles | None) -> tuple[Tensor, ...]:
        q, k, v = self._project(x_TD)
        return (q, k, v) if angles is None else (rotate(q, *angles), rotate(k, *angles), v)

    def _project(self, x_TD: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [T, H, W]."""
        return tuple(self.qkv(x_TD).view(len(x_TD), 3, self.heads, -1).unbind(1))


class CrossAttention(Attending):
    """Multi-head attention to the states of another text (Vaswani 2017, §3.2.3)."""

    def __init__(self, shape: BlockShape):
        super().__init__(shape)
        self.query = nn.Linear(shape.width, self.across, bias=shape.bias)
        self.key_value = nn.Linear(shape.width, 2 * self.across, bias=shape.bias)
        self.out = nn.Linear(self.across, shape.width, bias=shape.bias)

    def forward(self, x_TD: Tensor, layout: Layout, memory: Memory, past: Past | None = None) -> Tensor:
        """[T, D] to [T, D]. Keys and values are computed once if there is a ``past`` to keep them."""
        q = self.query(x_TD).view(len(x_TD), self.heads, -1)
        if past is not None and past.begun:
            mixed = remembered(q, past, self.now())
        else:
            k, v = self.key_value(memory.states).view(len(memory.states), 2, self.heads, -1).unbind(1)
            k, v = (x[: len(memory.layout.places)] for x in (k, v))
            if past is not None:
                past.keep(k, v, memory.layout)
            layout = layout.whole or layout
            mixed = attend(q[: len(layout.places)], k, v, layout, self.now(), keys=memory.layout)
        out: Tensor = self.out(evened(mixed.flatten(1), len(x_TD)))
        return out


class FeedForward(nn.Module):
    """Two matrices and an activation; gated, the second half of the first one's output scales the first."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.gated, self.activation = shape.gated, ACTIVATIONS[shape.activation]
        self.into = nn.Linear(shape.width, shape.feed_forward * (2 if shape.gated else 1), bias=shape.bias)
        self.out = nn.Linear(shape.feed_forward, shape.width, bias=shape.bias)
        self.dropout = Dropout(shape.activation_dropout)

    def forward(self, x_TD: Tensor) -> Tensor:
        """[T, D] to [T, D]."""
        inner = self.into(x_TD)
        if self.gated:
            inner, gate = inner.chunk(2, -1)
            return self.out(self.dropout(self.activation(inner) * gate))
        return self.out(self.dropout(self.activation(inner)))


def _norm(shape: BlockShape) -> nn.Module:
    return norm_of(shape.norm_kind, shape.width, shape.norm_eps, shape.bias)


class Sublayers(nn.Module):
    """Attention and feed-forward, each added to what came in; norms stand after the sums or before the sublayers.

    Args:
        shape: its numbers and parts.
        normed: whether what comes in was normed already, as by the embeddings' norm before a pre-norm model's first.
    """

    attends: ClassVar[type[Attention]] = Attention

    def __init__(self, shape: BlockShape, normed: bool = False):
        super().__init__()
        self.norm_before = shape.norm_before
        self.attention = self.attends(shape)
        self.feed_forward = FeedForward(shape)
        self.attention_norm = nn.Identity() if normed and shape.norm_before else _norm(shape)
        self.feed_forward_norm = _norm(shape)
        self.dropout = Dropout(shape.dropout)
        # where an adapter may sit
        self.after_attention: nn.Module = nn.Identity()
        self.after_feed_forward: nn.Module = nn.Identity()

    def _add(
        self, x_TD: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor], asked: Asked | None = None
    ) -> Tensor:
        """What a sublayer makes of x, added to x; or to what of it is asked about, if it makes no more."""
        kept = chosen(x_TD, asked)
        added: Tensor = kept + sublayer(norm(x_TD)) if self.norm_before else norm(kept + sublayer(x_TD))
        return added

    def _attend(
        self,
        x_TD: Tensor,
        layout: Layout,
        angles: Angles | None,
        distances: OfDistances | None,
        past: Past | None,
        asked: Asked | None = None,
    ) -> Tensor:
        return self.after_attention(self.dropout(self.attention(x_TD, layout, angles, distances, past, asked)))

    def _feed(self, x_TD: Tensor) -> Tensor:
        return self.after_feed_forward(self.dropout(self.feed_forward(x_TD)))


class Block(Sublayers):
    """One layer of an encoder, or of a decoder that reads nothing but its own text."""

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
        x_TD = self._add(
            x_TD, self.attention_norm, lambda x: self._attend(x, layout, angles, distances, past, asked), asked
        )
        return self._add(x_TD, self.feed_forward_norm, self._feed)


class DecoderBlock(Sublayers):
    """A block that looks at another text between its attention and its feed-forward."""

    def __init__(self, shape: BlockShape, normed: bool = False):
        super().__init__(shape, normed)
        self.cross_attention = CrossAttention(shape)
        self.cross_attention_norm = _norm(shape)
        self.after_cross_attention: nn.Module = nn.Identity()  # where an adapter may sit

    def forward(
        self,
        x_TD: Tensor,
        layout: Layout,
        memory: Memory,
        angles: Angles | None = None,
        distances: OfDistances | None = None,
        pasts: tuple[Past, Past] | None = None,
    ) -> Tensor:
        """[T, D] to [T, D]; ``pasts``: of its own text, and of the other."""
        own, other = pasts or (None, None)
        x_TD = self._add(x_TD, self.attention_norm, lambda x: self._attend(x, layout, angles, distances, own))
        x_TD = self._add(x_TD, self.cross_attention_norm, lambda x: self._look(x, layout, memory, other))
        return self._add(x_TD, self.feed_forward_norm, self._feed)

    def _look(self, x_TD: Tensor, layout: Layout, memory: Memory, past: Past | None) -> Tensor:
        return self.after_cross_attention(self.dropout(self.cross_attention(x_TD, layout, memory, past)))
