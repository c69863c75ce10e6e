"""The one encoder that serves BERT, ModernBERT and everything that differs from them by numbers and parts."""

from __future__ import annotations

from torch import Tensor

from unmask.models.shape import Shape
from unmask.models.stack import Stack
from unmask.nn.batch import Sequences
from unmask.nn.blocks import Block
from unmask.nn.network import Backbone


class Encoder(Stack, Backbone):
    """Sequences of T tokens to states [T, D]."""

    def __init__(self, shape: Shape):
        super().__init__(shape, shape.layers, Block, shape.causal)

    def layers(self, sequences: Sequences) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each; the last one normed."""
        states, distances = [self.projection(self.embeddings(sequences))], self.bias()
        for block, turns in zip(self.blocks, self.angles(sequences.positions), strict=True):
            states.append(block(states[-1], sequences.layout, turns, distances))
        states[-1] = self.ended(states[-1])
        return states
