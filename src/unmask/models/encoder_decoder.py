"""An encoder, and a decoder of the same blocks that reads it (Vaswani 2017): BART, T5, MASS.

T tokens of the decoder's text, S of the encoder's, N sequences, D width.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.models.stack import Stack
from unmask.nn.batch import Batch, Sequences
from unmask.nn.blocks import DecoderBlock, Memory
from unmask.nn.even import evened
from unmask.nn.past import Past


class Decoder(Stack):
    """Sequences of T tokens, each seen from the left, and the texts they are about, to states [T, D]."""

    def __init__(self, shape: Shape):
        super().__init__(shape, shape.decoder_layers, DecoderBlock, causal=True, owns_tokens=False)

    def layers(
        self,
        sequences: Sequences,
        vocabulary_VD: Tensor,
        memory: Memory,
        pasts: list[tuple[Past, Past]] | None = None,
    ) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each; the last one normed."""
        count = len(sequences.tokens)
        if pasts is None:
            sequences, memory = sequences.evened(), replace(memory, states=evened(memory.states))
        states, distances = [self.embeddings(sequences, vocabulary_VD)], self.bias(self.shape.max_length)
        turns = self.angles(sequences.positions)
        for i, block in enumerate(self.blocks):
            kept = None if pasts is None else pasts[i]
            states.append(block(states[-1], sequences.layout, memory, turns[i], distances, kept))
        states[-1] = self.ended(states[-1])
        return [x[:count] for x in states]


class EncoderDecoder(Encoder):
    """An encoder like any other, whose states a decoder can read. Both have one vocabulary."""

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.decoder = Decoder(shape)

    def read(self, batch: Batch, stream: str) -> Tensor:
        """States of the encoder's stream, or of the decoder's, which reads another one."""
        sequences = batch.streams[stream]
        if (source := sequences.reads) is None:
            return super().read(batch, stream)
        memory = Memory(self.states(batch, source), batch.streams[source].layout)
        return self.decoder_layers(sequences, memory)[-1]

    def decoder_layers(
        self, sequences: Sequences, memory: Memory, pasts: list[tuple[Past, Past]] | None = None
    ) -> list[Tensor]:
        """States of the decoder after its embeddings and after every layer."""
        return self.decoder.layers(sequences, self.get_parameter("embeddings.tokens.weight"), memory, pasts)
