"""What Transformer-XL (Dai 2019, 1901.02860) and XLNet have in common: positions are distances, and text beside a
sequence is a memory.

T tokens, Q that ask, K keys, P distances, N sequences, D width, H heads, W = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unmask.models.shape import Shape
from unmask.models.stack import block_shape
from unmask.nn.attention import Relative, attend_relative, remembered_relative
from unmask.nn.batch import Batch, Sequences
from unmask.nn.blocks import FeedForward
from unmask.nn.dropout import Dropout
from unmask.nn.even import evened
from unmask.nn.layout import Layout
from unmask.nn.network import Backbone
from unmask.nn.norm import LayerNorm
from unmask.nn.past import Past
from unmask.nn.positions import sinusoids
from unmask.nn.sight import Sight

MEMORY = "memory"
"""The stream of a batch that holds text beside its sequences; it may be missing."""


@dataclass
class Memory:
    """What is left of text beside the sequences: the states [K, D] that each layer read there, without gradient."""

    sequences: Sequences
    states: list[Tensor]


class RelativeAttention(nn.Module):
    """Multi-head attention with relative positions (Dai 2019, §3.3) and, where there are any, segments (Yang 2019)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.heads, self.dropout, width = shape.heads, shape.attention_dropout, shape.width
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.distance = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        across = (shape.heads, width // shape.heads)
        self.content_bias = nn.Parameter(torch.empty(across))
        self.position_bias = nn.Parameter(torch.empty(across))
        parted = shape.segments > 0
        self.segment_bias = nn.Parameter(torch.empty(across)) if parted else None
        self.segments = nn.Parameter(torch.empty(shape.segments, *across)) if parted else None

    def forward(self, x_QD: Tensor, keys_KD: Tensor, table_PD: Tensor, sights: Sequence[Sight]) -> Tensor:
        """[Q, D] to [Q, D]: of those that ask the first see what the first sight says, the next what the next says.

        Behind those that ask, and behind the keys, there may be rows that are nobody's.
        """
        counts, seen = [sight.count for sight in sights], len(sights[0].keys.sequence)
        q, k, v = self._headed(self.query(x_QD))[: sum(counts)], *(x[:seen] for x in self.keys_values(keys_KD))
        relative = self._relative(self._headed(self.distance(table_PD)))
        dropout = self.dropout if self.training else 0.0
        parts = zip(torch.split(q, counts), sights, strict=True)
        mixed = torch.cat([attend_relative(part, k, v, relative, sight, dropout) for part, sight in parts])
        out: Tensor = self.out(evened(mixed.flatten(1), len(x_QD)))
        return out

    def further(self, x_ND: Tensor, past: Past) -> Tensor:
        """[N, D] to [N, D]: one more token of each sequence, which sees all that is kept of it and is kept too."""
        q, (k, v) = self._headed(self.query(x_ND)), self.keys_values(x_ND)
        past.add(k, v)
        if past.distances is None or len(past.distances) != 2 * past.keys.shape[2]:
            table_PD = distance_table(past.keys.shape[2], self.query.weight)
            past.distances = self._headed(self.distance(table_PD))
        mixed = remembered_relative(q, past, self._relative(past.distances))
        out: Tensor = self.out(mixed.flatten(1))
        return out

    def keys_values(self, x_KD: Tensor) -> tuple[Tensor, Tensor]:
        """[K, H, W] each."""
        return self._headed(self.key(x_KD)), self._headed(self.value(x_KD))

    def _headed(self, x_TD: Tensor) -> Tensor:
        return x_TD.view(len(x_TD), self.heads, x_TD.shape[1] // self.heads)

    def _relative(self, distances: Tensor) -> Relative:
        return Relative(self.content_bias, self.position_bias, self.segment_bias, distances, self.segments)


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
        return self._added(x_QD, self.attention(x_QD, keys_KD, table_PD, sights))

    def further(self, x_ND: Tensor, past: Past) -> Tensor:
        """[N, D] to [N, D]: one more token of each sequence of which something is kept."""
        return self._added(x_ND, self.attention.further(x_ND, past))

    def _added(self, x_QD: Tensor, seen_QD: Tensor) -> Tensor:
        x_QD = self.attention_norm(x_QD + self.after_attention(self.dropout(seen_QD)))
        normed: Tensor = self.feed_forward_norm(x_QD + self.after_feed_forward(self.dropout(self.feed_forward(x_QD))))
        return normed


class RelativeStack(Backbone):
    """Embeddings and blocks, and what they read of text that stands beside a sequence, with fresh weights."""

    causal: ClassVar[bool] = False
    "Whether a token sees none behind itself."

    def __init__(self, shape: Shape, embeddings: nn.Module):
        super().__init__()
        self.shape = shape
        self.embeddings = embeddings
        self.blocks = nn.ModuleList(RelativeBlock(shape) for _ in range(shape.layers))
        self.dropout = Dropout(shape.dropout)
        self._share()
        for name, parameter in self.named_parameters():
            if "norm" not in name:
                nn.init.zeros_(parameter) if name.endswith(".bias") else nn.init.normal_(parameter, std=shape.init_std)

    def _share(self) -> None:
        """Let layers have weights in common: none, unless a subclass says so."""

    def read(self, batch: Batch, stream: str) -> Tensor:
        """The last states of a stream; a batch may bring text that stands beside its sequences, as a memory."""
        return self.layers(batch.streams[stream], self.beside(batch))[-1]

    def beside(self, batch: Batch) -> Memory | None:
        """The memory that a batch brings."""
        return self.remember(batch.streams[MEMORY]) if MEMORY in batch.streams else None

    def layers(self, sequences: Sequences, memory: Memory | None = None) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each."""
        states = self._read(sequences, memory, len(self.blocks))
        states[-1] = self.dropout(states[-1])
        return states

    @torch.no_grad()
    def remember(self, sequences: Sequences, memory: Memory | None = None) -> Memory:
        """Read text that others will look back on, or forward to: positions say where it stands."""
        # what comes out of the last layer no layer reads
        return Memory(sequences, self._read(sequences, memory, len(self.blocks) - 1))

    def sight(self, asking: Sequences, content: Sequences, memory: Memory | None) -> Sight:
        """Who sees whom."""
        return Sight.of(asking, content, memory.sequences if memory else None, self.causal)

    def table(self, sight: Sight) -> Tensor:
        """[P, D] of the distances that occur."""
        table: Tensor = self.dropout(distance_table(sight.key_rows.row_length, next(self.parameters())))
        return table

    def _read(self, sequences: Sequences, memory: Memory | None, layers: int) -> list[Tensor]:
        sights = [self.sight(sequences, sequences, memory)]
        table_PD = self.table(sights[0])
        states = [self.embeddings(sequences)]
        for layer, block in enumerate(self.blocks[:layers]):
            keys_KD = keys_of(states[-1], memory, layer)
            states.append(block(evened(states[-1]), keys_KD, table_PD, sights)[: len(sequences.tokens)])
        return states


def keys_of(states_TD: Tensor, memory: Memory | None, layer: int) -> Tensor:
    """[K, D] what a layer reads: the memory, then the content; and rows that make their number even."""
    return evened(torch.cat([memory.states[layer], states_TD]) if memory else states_TD)


def distance_table(length: int, like: Tensor) -> Tensor:
    """[2L, D] sinusoids of distances from L down; D is the width of the weight that they are ``like``."""
    distances = length - torch.arange(2 * length, device=like.device)
    return sinusoids(distances, like.shape[-1]).to(like.dtype)


def carried(memory: Memory | None, sequences: Sequences, states: list[Tensor], most: int) -> Memory:
    """What the next segments look back on: of each sequence the last tokens, ``most`` of them, that were read.

    Args:
        memory: what these sequences looked back on themselves.
        sequences: the segments that were read now, with positions that go on from the memory's.
        states: [T, D] that each layer read of them.
        most: tokens of a sequence.
    """
    parts = [sequences] if memory is None else [memory.sequences, sequences]
    owner, order = torch.cat([part.layout.sequence() for part in parts]).sort(stable=True)
    counts = torch.bincount(owner)
    kept = order[counts.cumsum(0)[owner] - torch.arange(len(owner), device=owner.device) <= most]
    layout = Layout.of(counts.clamp(max=most).cpu().numpy()).to(owner.device)
    tokens, positions = (
        torch.cat(each)[kept] for each in zip(*((part.tokens, part.positions) for part in parts), strict=True)
    )
    before: list[list[Tensor]] = [[] for _ in states] if memory is None else [[each] for each in memory.states]
    held = [torch.cat([*old, new.detach()])[kept] for old, new in zip(before, states, strict=True)]
    return Memory(Sequences(tokens, positions, None, layout), held)
