"""One layer of an encoder: attention, then a feed-forward, each with its norm and a place for an adapter."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.attention import attend
from unmask.nn.dropout import Dropout
from unmask.nn.layout import Layout
from unmask.nn.norm import LayerNorm
from unmask.nn.positions import rotate

Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class BlockShape:
    """What one block needs to know."""

    width: int
    heads: int
    feed_forward: int
    dropout: float
    attention_dropout: float
    norm_before: bool
    norm_eps: float
    bias: bool
    gated: bool
    window: int | None
    causal: bool = False
    activation: str = "gelu"


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani 2017); queries, keys and values come from one matrix."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.heads, self.window, self.causal = shape.heads, shape.window, shape.causal
        self.attention_dropout = shape.attention_dropout
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=shape.bias)
        self.out = nn.Linear(shape.width, shape.width, bias=shape.bias)

    def forward(self, x_TD: Tensor, layout: Layout, angles: Angles | None) -> Tensor:
        """[T, D] to [T, D]."""
        q, k, v = self.qkv(x_TD).view(len(x_TD), 3, self.heads, -1).unbind(1)
        if angles is not None:
            q, k = rotate(q, *angles), rotate(k, *angles)
        mixed = attend(
            q, k, v, layout, self.window, self.attention_dropout if self.training else 0.0, causal=self.causal
        )
        out: Tensor = self.out(mixed.flatten(1))
        return out


class FeedForward(nn.Module):
    """Two matrices with GELU between them; gated, the second half of the first one's output scales the first."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.gated, self.approximate = shape.gated, "tanh" if shape.activation == "gelu_tanh" else "none"
        self.into = nn.Linear(shape.width, shape.feed_forward * (2 if shape.gated else 1), bias=shape.bias)
        self.out = nn.Linear(shape.feed_forward, shape.width, bias=shape.bias)

    def forward(self, x_TD: Tensor) -> Tensor:
        """[T, D] to [T, D]."""
        inner = self.into(x_TD)
        if self.gated:
            inner, gate = inner.chunk(2, -1)
            return self.out(F.gelu(inner, approximate=self.approximate) * gate)
        return self.out(F.gelu(inner, approximate=self.approximate))


def _norm(shape: BlockShape) -> LayerNorm:
    return LayerNorm(shape.width, shape.norm_eps, bias=shape.bias)


class Block(nn.Module):
    """Attention and feed-forward, each added to what came in; norms stand after the sums or before the sublayers."""

    def __init__(self, shape: BlockShape, normed: bool = False):
        super().__init__()
        self.norm_before = shape.norm_before
        self.attention = Attention(shape)
        self.feed_forward = FeedForward(shape)
        # ``normed``: the embeddings' norm stands before the first attention of a pre-norm encoder already
        self.attention_norm = nn.Identity() if normed and shape.norm_before else _norm(shape)
        self.feed_forward_norm = _norm(shape)
        self.dropout = Dropout(shape.dropout)
        # where an adapter may sit
        self.after_attention: nn.Module = nn.Identity()
        self.after_feed_forward: nn.Module = nn.Identity()

    def forward(self, x_TD: Tensor, layout: Layout, angles: Angles | None = None) -> Tensor:
        """[T, D] to [T, D]."""
        if self.norm_before:
            x_TD = x_TD + self._attend(self.attention_norm(x_TD), layout, angles)
            return x_TD + self._feed(self.feed_forward_norm(x_TD))
        x_TD = self.attention_norm(x_TD + self._attend(x_TD, layout, angles))
        return self.feed_forward_norm(x_TD + self._feed(x_TD))

    def _attend(self, x_TD: Tensor, layout: Layout, angles: Angles | None) -> Tensor:
        return self.after_attention(self.dropout(self.attention(x_TD, layout, angles)))

    def _feed(self, x_TD: Tensor) -> Tensor:
        return self.after_feed_forward(self.dropout(self.feed_forward(x_TD)))
