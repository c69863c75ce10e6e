"""XLNet (Yang 2019, 1906.08237): two streams of states, relative positions, a memory of what stood before.

The content stream reads tokens, as any encoder does. The query stream has a state only where one is asked for: it
begins with one learned vector, knows where it stands and sees the content of other places but never its own token. Both
go through the same layers side by side. T tokens, M queries, Q = T + M that ask, K keys, D width, H heads, W = D / H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unmask.models.relative import Memory, RelativeStack, keys_of
from unmask.models.shape import Shape
from unmask.nn.batch import Batch, Sequences
from unmask.nn.dropout import Dropout
from unmask.nn.embeddings import look_up
from unmask.nn.even import evened

CONTENT, QUERY = "encoder", "query"
"""The streams of a batch that it reads, beside its memory; the last may be missing."""


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


class XLNet(RelativeStack):
    """Sequences of T tokens to states [T, D] of their content, or to [M, D] of what is asked without being seen.

    Tasks read the content stream. Our sequences are ``[CLS] text [SEP]``, with [CLS] in segment A; Yang's end with
    ``<sep><cls>``, and <cls> is a segment of its own. Which end a token stands at is nothing that the model is built
    on: it learns what it is shown.
    """

    embeddings: Embeddings

    def __init__(self, shape: Shape):
        super().__init__(shape, Embeddings(shape))

    def read(self, batch: Batch, stream: str) -> Tensor:
        """The last states of a stream; a batch may bring text that stands beside its sequences, as a memory."""
        if stream == QUERY:
            return self.queried(batch.streams[CONTENT], batch.streams[QUERY], self.beside(batch))
        return super().read(batch, stream)

    def queried(self, content: Sequences, queries: Sequences, memory: Memory | None = None) -> Tensor:
        """States [M, D] at the queries' places. No layer needs the content after the last one, so that stays out."""
        sights = [self.sight(content, content, memory), self.sight(queries, content, memory)]
        table_PD, sizes = self.table(sights[0]), [sight.count for sight in sights]
        h_TD, g_MD = self.embeddings(content), self.embeddings.asked(queries)
        for layer, block in enumerate(self.blocks[:-1]):
            keys_KD = keys_of(h_TD, memory, layer)
            both = block(evened(torch.cat([h_TD, g_MD])), keys_KD, table_PD, sights)
            h_TD, g_MD = both[: sum(sizes)].split(sizes)
        g_MD = self.blocks[-1](evened(g_MD), keys_of(h_TD, memory, len(self.blocks) - 1), table_PD, sights[1:])
        dropped: Tensor = self.dropout(g_MD[: sizes[1]])
        return dropped
