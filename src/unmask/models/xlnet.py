"""XLNet (Yang 2019, 1906.08237): two streams of states, relative positions, a memory of what stood before.

The content stream reads tokens, as any encoder does. The query stream has a state only where one is asked for: it
begins with one learned vector, knows where it stands and sees the content of other places but never its own token. Both
go through the same layers side by side. T tokens, M queries, Q = T + M that ask, K keys, D width, H heads, W = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unmask.models.shape import Shape
from unmask.models.stack import block_shape
from unmask.nn.attention import Relative, attend_relative
from unmask.nn.batch import Batch, Sequences
from unmask.nn.blocks import FeedForward
from unmask.nn.dropout import Dropout
from unmask.nn.embeddings import look_up
from unmask.nn.network import Backbone
from unmask.nn.norm import LayerNorm
from unmask.nn.positions import sinusoids
from unmask.nn.sight import Sight

CONTENT, QUERY, MEMORY = "encoder", "query", "memory"
"""The streams of a batch that it reads; the last two may be missing."""


@dataclass
class Memory:
    """What is left of text beside the sequences: the states [K, D] that each layer read there, without gradient."""

    sequences: Sequences
    states: list[Tensor]


class RelativeAttention(nn.Module):
    """Multi-head attention with relative positions (Dai 2019, 1901.02860, §3.3) and relative segments (Yang 2019)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.heads, self.dropout, width = shape.heads, shape.attention_dropout, shape.width
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.distance = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.empty(shape.heads, width // shape.heads))
        self.position_bias = nn.Parameter(torch.empty(shape.heads, width // shape.heads))
        self.segment_bias = nn.Parameter(torch.empty(shape.heads, width // shape.heads))
        self.segments = nn.Parameter(torch.empty(shape.segments, shape.heads, width // shape.heads))

    def forward(self, x_QD: Tensor, keys_KD: Tensor, table_PD: Tensor, sights: Sequence[Sight]) -> Tensor:
        """[Q, D] to [Q, D]: of those that ask the first see what the first sight says, the next what the next says."""
        q, k, v, distances = (
            y.unflatten(-1, (self.heads, -1))
            for y in (self.query(x_QD), self.key(keys_KD), self.value(keys_KD), self.distance(table_PD))
        )
        relative = Relative(self.content_bias, self.position_bias, self.segment_bias, distances, self.segments)
        dropout = self.dropout if self.training else 0.0
        parts = zip(q.split([sight.count for sight in sights]), sights, strict=True)
        mixed = torch.cat([attend_relative(part, k, v, relative, sight, dropout) for part, sight in parts])
        out: Tensor = self.out(mixed.flatten(1))
        return out


class RelativeBlock(nn.Module):
    """Attention and feed-forward, each added to what came in, norms after the sums; of keys only attention knows."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.attention = RelativeAttention(shape)
        self.feed_forward = FeedForward(block_shape(shape, 0, causal=False))
        self.attention_norm = LayerNorm(shape.width, shape.norm_eps)
        self.feed_forward_norm = LayerNorm(shape.width, shape.norm_eps)
        self.dropout = Dropout(shape.dropout)
        # where an adapter may sit
        self.after_attention: nn.Module = nn.Identity()
        self.after_feed_forward: nn.Module = nn.Identity()

    def forward(self, x_QD: Tensor, keys_KD: Tensor, table_PD: Tensor, sights: Sequence[Sight]) -> Tensor:
        """[Q, D] to [Q, D]."""
        seen = self.after_attention(self.dropout(self.attention(x_QD, keys_KD, table_PD, sights)))
        x_QD = self.attention_norm(x_QD + seen)
        normed: Tensor = self.feed_forward_norm(x_QD + self.after_feed_forward(self.dropout(self.feed_forward(x_QD))))
        return normed


class Embeddings(nn.Module):
    """Tokens as they are, and the one vector that every query begins with. Where they stand attention knows."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab_size, shape.width)
        self.query = nn.Parameter(torch.empty(shape.width))
        self.dropout = Dropout(shape.dropout)

    def forward(self, sequences: Sequences) -> Tensor:
        """The content's first states [T, D]."""
        dropped: Tensor = self.dropout(look_up(self.tokens.weight, sequences.tokens))
        return dropped

    def asked(self, queries: Sequences) -> Tensor:
        """The queries' first states [M, D]."""
        dropped: Tensor = self.dropout(self.query.expand(len(queries.tokens), -1))
        return dropped


class XLNet(Backbone):
    """Sequences of T tokens to states [T, D] of their content, or to [M, D] of what is asked without being seen.

    Tasks read the content stream. Our sequences are ``[CLS] text [SEP]``, with [CLS] in segment A; Yang's end with
    ``<sep><cls>``, and <cls> is a segment of its own. Which end a token stands at is nothing that the model is built
    on: it learns what it is shown.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embeddings = Embeddings(shape)
        self.blocks = nn.ModuleList(RelativeBlock(shape) for _ in range(shape.layers))
        self.dropout = Dropout(shape.dropout)
        self._init_weights()

    def read(self, batch: Batch, stream: str) -> Tensor:
        """The last states of a stream; a batch may bring text that stands beside its sequences, as a memory."""
        content = batch.streams[CONTENT]
        memory = self.remember(batch.streams[MEMORY]) if MEMORY in batch.streams else None
        if stream == QUERY:
            return self.queried(content, batch.streams[QUERY], memory)
        return self.layers(content, memory)[-1]

    def layers(self, sequences: Sequences, memory: Memory | None = None) -> list[Tensor]:
        """States of the content after the embeddings and after every layer, [T, D] each."""
        states = self._read(sequences, memory, len(self.blocks))
        states[-1] = self.dropout(states[-1])
        return states

    def _read(self, sequences: Sequences, memory: Memory | None, layers: int) -> list[Tensor]:
        sights = [_sight(sequences, sequences, memory)]
        table_PD = self._table(sights[0])
        states = [self.embeddings(sequences)]
        for layer, block in enumerate(self.blocks[:layers]):
            states.append(block(states[-1], _keys(states[-1], memory, layer), table_PD, sights))
        return states

    def queried(self, content: Sequences, queries: Sequences, memory: Memory | None = None) -> Tensor:
        """States [M, D] at the queries' places. No layer needs the content after the last one, so that stays out."""
        sights = [_sight(content, content, memory), _sight(queries, content, memory)]
        table_PD, sizes = self._table(sights[0]), [sight.count for sight in sights]
        h_TD, g_MD = self.embeddings(content), self.embeddings.asked(queries)
        for layer, block in enumerate(self.blocks[:-1]):
            keys_KD = _keys(h_TD, memory, layer)
            h_TD, g_MD = block(torch.cat([h_TD, g_MD]), keys_KD, table_PD, sights).split(sizes)
        g_MD = self.blocks[-1](g_MD, _keys(h_TD, memory, len(self.blocks) - 1), table_PD, sights[1:])
        dropped: Tensor = self.dropout(g_MD)
        return dropped

    @torch.no_grad()
    def remember(self, sequences: Sequences, memory: Memory | None = None) -> Memory:
        """Read text that others will look back on, or forward to: positions say where it stands."""
        # what comes out of the last layer no layer reads
        return Memory(sequences, self._read(sequences, memory, len(self.blocks) - 1))

    def _table(self, sight: Sight) -> Tensor:
        """[2L, D] of the distances that occur, from L down."""
        length, weight = sight.key_rows.row_length, self.embeddings.query
        distances = length - torch.arange(2 * length, device=weight.device)
        table: Tensor = self.dropout(sinusoids(distances, self.shape.width).to(weight.dtype))
        return table

    def _init_weights(self) -> None:
        for name, parameter in self.named_parameters():
            if "norm" not in name:
                nn.init.zeros_(parameter) if name.endswith(".bias") else nn.init.normal_(
                    parameter, std=self.shape.init_std
                )


def _sight(asking: Sequences, content: Sequences, memory: Memory | None) -> Sight:
    return Sight.of(asking, content, memory.sequences if memory else None)


def _keys(states_TD: Tensor, memory: Memory | None, layer: int) -> Tensor:
    """[K, D] what a layer reads: the memory, then the content."""
    return torch.cat([memory.states[layer], states_TD]) if memory else states_TD
