"""Transformer-XL (Dai 2019, 1901.02860): a decoder that looks back on the states of the segment before.

Each layer reads, beside the segment's own states, those that it read of the text before, without gradient (§3.2);
positions are distances, so that a state can be looked at from any segment (§3.3). T tokens, N sequences, D width.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from unmask.models.relative import Memory, RelativeBlock, RelativeStack
from unmask.models.shape import Shape
from unmask.nn.batch import Sequences
from unmask.nn.embeddings import Embeddings, TokenEmbedding
from unmask.nn.past import Past


class TransformerXL(RelativeStack):
    """Sequences of T tokens to states [T, D], from the left.

    u and v (``content_bias``, ``position_bias``) are the same in all layers, as the paper writes them. Embeddings are
    multiplied by the square root of the width, as in its release; its adaptive softmax and embeddings, which are for
    vocabularies of hundreds of thousands of words, are left out.
    """

    causal: ClassVar[bool] = True

    def __init__(self, shape: Shape):
        tokens, scale = TokenEmbedding(shape.vocab_size, shape.width), math.sqrt(shape.width)
        super().__init__(shape, Embeddings(tokens, shape.width, 0, 0, nn.Identity(), shape.dropout, scale))

    def _share(self) -> None:
        first, *others = (block.attention for block in self._blocks)
        for attention in others:
            attention.content_bias, attention.position_bias = first.content_bias, first.position_bias

    def layers(
        self, sequences: Sequences, memory: Memory | None = None, pasts: list[Past] | None = None
    ) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each.

        Args:
            sequences: what is read; one more token of each where something was kept of them.
            memory: what was read before it.
            pasts: keep what each layer has read, for a text that goes on.
        """
        if pasts is not None and pasts[0].begun:
            return self._further(sequences, pasts)
        states = super().layers(sequences, memory)
        for block, past, x_TD in zip(self._blocks, pasts or (), states, strict=False):
            past.keep(*block.attention.keys_values(x_TD), sequences.layout)
        return states

    def _further(self, sequences: Sequences, pasts: list[Past]) -> list[Tensor]:
        states: list[Tensor] = [self.embeddings(sequences)]
        for block, past in zip(self._blocks, pasts, strict=True):
            states.append(block.further(states[-1], past))
        return states

    @property
    def _blocks(self) -> list[RelativeBlock]:
        return [block for block in self.blocks if isinstance(block, RelativeBlock)]
