"""Two models that read towards each other (Peters 2018, ELMo, 1802.05365): LSTMs, or transformers (1808.08949).

T tokens, D width, P = D / 2 width of one direction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unmask.models.shape import Shape
from unmask.models.stack import Stack
from unmask.nn.batch import Sequences
from unmask.nn.blocks import Block, BlockShape
from unmask.nn.dropout import Dropout
from unmask.nn.layout import Layout
from unmask.nn.network import Backbone
from unmask.nn.positions import Angles, OfDistances
from unmask.nn.recurrence import Projected


class Elmo(Stack, Backbone):
    """Sequences of T tokens to states [T, D]: what was read from the left up to a token, beside what was read from the
    right down to it. Both begin with the same embeddings, and neither ever sees the other."""

    def __init__(self, shape: Shape):
        recurrent = shape.family == "elmo"
        super().__init__(shape.one_way, shape.layers, RecurrentPair if recurrent else Pair, causal=True)
        self.shape, self.recurrent = shape, recurrent
        if recurrent:
            self.last_dropout = Dropout(shape.dropout)  # before the softmax, as in bilm-tf

    def layers(self, sequences: Sequences) -> list[Tensor]:
        """The embeddings, twice, and the states of every layer, [T, D] each."""
        x_TP = self.projection(self.embeddings(sequences))
        turned_T = mirror(sequences.layout)
        ahead, back = x_TP, x_TP.index_select(0, turned_T)
        pairs, distances = [(ahead, back)], self.bias(sequences.layout.max_length)
        for block, turns in zip(self.blocks, self.angles(sequences.positions), strict=True):
            said = block(ahead, back, sequences.layout, turns, distances)
            # from the second layer on, what came in is added to what a recurrence says of it (§3.4)
            added = self.recurrent and len(pairs) > 1
            ahead, back = (said[0] + ahead, said[1] + back) if added else said
            pairs.append((ahead, back))
        pairs[-1] = (self.ended(ahead), self.ended(back))
        return [torch.cat([ahead, back.index_select(0, turned_T)], -1) for ahead, back in pairs]


class Pair(nn.Module):
    """A layer of each direction. What is read from the right comes with every sequence turned round."""

    def __init__(self, shape: BlockShape, normed: bool = False):
        super().__init__()
        self.ahead, self.back = Block(shape, normed), Block(shape, normed)

    def forward(
        self, ahead: Tensor, back: Tensor, layout: Layout, turns: Angles | None, distances: OfDistances | None
    ) -> tuple[Tensor, Tensor]:
        """[T, P] of both to [T, P] of both."""
        return self.ahead(ahead, layout, turns, distances), self.back(back, layout, turns, distances)


class RecurrentPair(nn.Module):
    """The same of LSTMs, which need not be told where a token stands."""

    def __init__(self, shape: BlockShape, normed: bool = False):
        super().__init__()
        self.dropout = Dropout(shape.dropout)
        self.ahead, self.back = (Projected(shape.width, shape.feed_forward) for _ in range(2))

    def forward(
        self, ahead: Tensor, back: Tensor, layout: Layout, turns: Angles | None, distances: OfDistances | None
    ) -> tuple[Tensor, Tensor]:
        """[T, P] of both to [T, P] of both."""
        return self.ahead(self.dropout(ahead), layout.lengths), self.back(self.dropout(back), layout.lengths)


def mirror(layout: Layout) -> Tensor:
    """[T] every sequence turned round: the place at which each place's token stands then, and the other way about."""
    ends = (layout.cu_seqlens[1:] + layout.cu_seqlens[:-1] - 1).long()
    place = torch.arange(len(layout.places), device=ends.device)
    return ends.index_select(0, layout.sequence()) - place
