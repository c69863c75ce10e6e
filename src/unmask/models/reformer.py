"""A model for long texts (Kitaev 2020, Reformer, 2001.04451): attention in buckets, layers whose states are rebuilt.

T tokens, P = D / 2 width of one of two streams, H heads, W width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from unmask.models.shape import Shape
from unmask.models.stack import block_shape
from unmask.nn.batch import Sequences
from unmask.nn.blocks import FeedForward
from unmask.nn.chunked import Chunks, attend_chunks, filled
from unmask.nn.dropout import Dropout
from unmask.nn.embeddings import AxialPositions, Embeddings, TokenEmbedding
from unmask.nn.layout import Layout
from unmask.nn.lsh import Buckets, sorted_by_bucket, usual
from unmask.nn.network import Backbone
from unmask.nn.norm import LayerNorm
from unmask.nn.reversible import Step, kept, rebuilt


@dataclass
class Place:
    """Where a layer's tokens stand; their order is found once a pass, and is the same when states are rebuilt."""

    layout: Layout
    chunks: Chunks
    buckets: list[Buckets]  # of each sequence, in layers that sort
    order: Tensor | None = None  # [R, H, T]


class LocalAttention(nn.Module):
    """To the tokens of a chunk and of the one before, in the order of the text."""

    projected, shared = "qkv", False

    def __init__(self, shape: Shape, layer: int):
        super().__init__()
        assert shape.reformer is not None
        self.parts, self.layer, self.heads, self.causal = shape.reformer, layer, shape.heads, shape.causal
        across = shape.heads * shape.width_per_head
        self.add_module(self.projected, nn.Linear(shape.token_width, len(self.projected) * across, bias=False))
        self.out = nn.Linear(across, shape.token_width, bias=False)
        self.dropout = shape.reformer.lsh_dropout if self.shared else shape.attention_dropout

    def forward(self, x_TP: Tensor, place: Place) -> Tensor:
        """[T, P] to [T, P]."""
        projected = self.get_submodule(self.projected)(x_TP)
        q, k, v = self._parted(projected.view(len(x_TP), len(self.projected), self.heads, -1))
        if place.order is None:
            place.order = self._order(q, place)
        dropout = self.dropout if self.training else 0.0
        visible = place.layout.order
        mixed = attend_chunks(q, k, v, place.order, place.chunks, self.causal, self.shared, dropout, visible)
        out: Tensor = self.out(mixed.flatten(1))
        return out

    def _parted(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [T, H, W]."""
        return projected.unbind(1)

    def _order(self, q_THW: Tensor, place: Place) -> Tensor:
        return torch.arange(len(q_THW), device=q_THW.device).expand(1, self.heads, -1)


class LSHAttention(LocalAttention):
    """The same once tokens are sorted by their buckets; queries are keys, which have one length (§2)."""

    projected, shared = "qv", True

    def _parted(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [T, H, W]."""
        q, v = projected.unbind(1)
        return q, q * torch.rsqrt(q.square().mean(-1, keepdim=True) + 1e-6), v

    def _order(self, q_THW: Tensor, place: Place) -> Tensor:
        layer, parts = self.layer if self.training else None, self.parts
        return sorted_by_bucket(q_THW, place.layout, place.buckets, parts.hashes, layer, parts.hash_seed)


class ReversibleBlock(nn.Module):
    """One layer: what attention makes of the second stream is added to the first, and what the feed-forward makes of
    that to the second (§3). The streams are float32, whatever computes, for rounding would be rebuilt too."""

    def __init__(self, shape: Shape, layer: int):
        super().__init__()
        assert shape.reformer is not None
        self.kind, self.piece = shape.reformer.kind(layer), shape.reformer.feed_forward_chunk
        self.attention = {"local": LocalAttention, "lsh": LSHAttention}[self.kind](shape, layer)
        self.feed_forward = FeedForward(replace(block_shape(shape, layer, shape.causal), width=shape.token_width))
        self.attention_norm, self.feed_forward_norm = (LayerNorm(shape.token_width, shape.norm_eps) for _ in range(2))
        self.dropout = Dropout(shape.dropout)
        # where an adapter may sit
        self.after_attention: nn.Module = nn.Identity()
        self.after_feed_forward: nn.Module = nn.Identity()

    def steps(self, place: Place) -> list[Step]:
        """Both sublayers."""
        attends = [self.attention_norm, self.attention, self.after_attention]
        feeds = [self.feed_forward_norm, self.feed_forward, self.after_feed_forward]
        return [
            self._step(attends, lambda x_TP: self.after_attention(self.dropout(self.attention(x_TP, place)))),
            self._step(feeds, lambda x_TP: self.after_feed_forward(self.dropout(self.feed_forward(x_TP))), self.piece),
        ]

    def _step(self, parts: list[nn.Module], sublayer: Callable[[Tensor], Tensor], piece: int = 0) -> Step:
        norm, *_ = parts
        weights = [weight for part in parts for weight in part.parameters() if weight.requires_grad]
        dtype = next(norm.parameters()).dtype
        return Step(lambda x_TP: sublayer(norm(x_TP.to(dtype))).float(), weights, piece)


class Reformer(Backbone):
    """Sequences of T tokens to states [T, D], both streams side by side, with fresh weights."""

    def __init__(self, shape: Shape):
        super().__init__()
        assert shape.reformer is not None
        self.shape, self.parts = shape, shape.reformer
        tokens = TokenEmbedding(shape.vocab_size, shape.token_width)
        self.embeddings = Embeddings(tokens, shape.token_width, _positions(shape), 0, nn.Identity(), shape.dropout)
        self.blocks = nn.ModuleList(ReversibleBlock(shape, layer) for layer in range(shape.layers))
        self.norm, self.dropout = LayerNorm(shape.width, shape.norm_eps), Dropout(shape.dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=shape.init_std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, sequences: Sequences) -> Tensor:
        """States after the last layer [T, D]; of the layers before nothing is kept."""
        count, sequences = len(sequences.tokens), sequences.evened()
        x_TP = self.embeddings(sequences)
        return self._ended(rebuilt(self._steps(sequences.layout), x_TP.float(), x_TP.float()), x_TP)[:count]

    def layers(self, sequences: Sequences) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each, all of them kept."""
        count, sequences = len(sequences.tokens), sequences.evened()
        x_TP = self.embeddings(sequences)
        states = kept(self._steps(sequences.layout), x_TP.float(), x_TP.float())[::2]
        found = [*(torch.cat(both, -1).to(x_TP.dtype) for both in states[:-1]), self._ended(states[-1], x_TP)]
        return [x_TD[:count] for x_TD in found]

    def _ended(self, streams: tuple[Tensor, Tensor], like: Tensor) -> Tensor:
        ended: Tensor = self.dropout(self.norm(torch.cat(streams, -1).to(like.dtype)))
        return ended

    def _steps(self, layout: Layout) -> list[Step]:
        parts, device = self.parts, layout.places.device
        full = filled(layout.lengths, list(parts.chunks.values()))
        chunks = {kind: Chunks.of(layout.lengths, full, size, device) for kind, size in parts.chunks.items()}
        buckets = [self._buckets(count) for count in full.tolist()]
        blocks = [block for block in self.blocks if isinstance(block, ReversibleBlock)]
        return [step for block in blocks for step in block.steps(Place(layout, chunks[block.kind], buckets))]

    def _buckets(self, count: int) -> Buckets:
        """Of a sequence that fills so many places; none where that is one chunk."""
        given = self.parts.buckets
        if count <= self.parts.lsh_chunk:
            return ()
        if given is None:
            return usual(count, self.parts.lsh_chunk, self.shape.max_length)
        return given if isinstance(given, tuple) else (given,)


def _positions(shape: Shape) -> int | AxialPositions:
    if shape.positions != "axial":
        return shape.max_length
    assert shape.reformer is not None and shape.reformer.axial is not None
    return AxialPositions(*shape.reformer.axial, *shape.reformer.axial_widths(shape.token_width))
