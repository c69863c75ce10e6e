"""The one encoder that serves BERT, ModernBERT and everything that differs from them by numbers and parts."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from unmask.models.shape import Shape
from unmask.models.stack import Stack
from unmask.nn.asked import Asked
from unmask.nn.batch import Batch, Sequences
from unmask.nn.blocks import Block
from unmask.nn.bottleneck import BottleneckBlock
from unmask.nn.network import Backbone
from unmask.nn.past import Past


class Encoder(Stack, Backbone):
    """Sequences of T tokens to states [T, D]."""

    block: ClassVar[type[Block | BottleneckBlock]] = Block

    def __init__(self, shape: Shape):
        super().__init__(shape, shape.layers, self.block, shape.causal)

    def read_asked(self, batch: Batch, stream: str, asked: Asked) -> Tensor:
        """The last states of these tokens [K, D]; the last layer computes no others."""
        if not len(self.blocks):
            return super().read_asked(batch, stream, asked)
        return self.layers(batch.streams[stream], asked=asked)[-1]

    def layers(self, sequences: Sequences, pasts: list[Past] | None = None, asked: Asked | None = None) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each; the last one normed.

        Args:
            sequences: what is read; one more token of each where something was kept of them.
            pasts: keep what each layer has read, for a text that goes on.
            asked: those of whom alone there are last states, [K, D].
        """
        count = len(sequences.tokens)
        sequences = sequences.evened() if pasts is None else sequences
        longest = sequences.layout.max_length if pasts is None else self.shape.max_length
        states, distances = [self.projection(self.embeddings(sequences))], self.bias(longest)
        turns = self.angles(sequences.positions)
        for i, block in enumerate(self.blocks):
            kept = None if pasts is None else pasts[i]
            few = asked if i + 1 == len(self.blocks) else None
            states.append(block(states[-1], sequences.layout, turns[i], distances, kept, few))
        states[-1] = self.ended(states[-1])
        return [x[:count] for x in states]
