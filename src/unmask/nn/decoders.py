"""Decoders that write a sentence of which they are told one vector.

T tokens, E width of words, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unmask.nn.batch import Sequences
from unmask.nn.blocks import Block, BlockShape
from unmask.nn.embeddings import look_up
from unmask.nn.heads import Sizes, VocabularyHead
from unmask.nn.norm import LayerNorm
from unmask.nn.positions import angles
from unmask.nn.recurrence import Recurrence

HEAD_WIDTH = 64


class SentenceDecoder(VocabularyHead):
    """Words in and out by one matrix; between them what a subclass has."""

    def __init__(self, sizes: Sizes):
        super().__init__(sizes)
        wider = sizes.token_width != sizes.width
        self.narrowed = nn.Linear(sizes.width, sizes.token_width, bias=False) if wider else nn.Identity()

    def said(self, sequences: Sequences, told_TD: Tensor) -> Tensor:
        """The tokens so far, and the vector that each is told, to what is said of the next [T, E]."""
        said: Tensor = self.narrowed(self.states(look_up(self.vocabulary, sequences.tokens), told_TD, sequences))
        return said

    def states(self, words_TE: Tensor, told_TD: Tensor, sequences: Sequences) -> Tensor:
        """[T, D] after each token."""
        raise NotImplementedError


class RecurrentDecoder(SentenceDecoder):
    """A GRU whose gates and state are told the vector at every step (Kiros 2015, §2.1: the matrices C are the half of
    the input's matrix that the vector meets)."""

    def __init__(self, sizes: Sizes):
        super().__init__(sizes)
        self.recurrence = Recurrence(sizes.token_width + sizes.width, sizes.width)

    def states(self, words_TE: Tensor, told_TD: Tensor, sequences: Sequences) -> Tensor:
        """The vector stands beside every word."""
        states: Tensor = self.recurrence(torch.cat([words_TE, told_TD], -1), sequences.layout.lengths)
        return states


class TransformerDecoder(SentenceDecoder):
    """One layer in the place of the GRU, with rotary positions; word and vector are added up, each after a matrix."""

    def __init__(self, sizes: Sizes):
        super().__init__(sizes)
        heads = max(1, sizes.width // HEAD_WIDTH)
        self.head_width = sizes.width // heads
        self.both = nn.Linear(sizes.token_width + sizes.width, sizes.width, bias=sizes.bias)
        self.block = Block(
            BlockShape(
                width=sizes.width, heads=heads, head_width=self.head_width, feed_forward=4 * sizes.width,
                dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, norm_before=True, norm_kind="layer",
                norm_eps=sizes.norm_eps, bias=sizes.bias, activation="gelu", gated=False, window=None, causal=True,
                scale=None,
            )
        )  # fmt: skip
        self.norm = LayerNorm(sizes.width, sizes.norm_eps, bias=sizes.bias)

    def states(self, words_TE: Tensor, told_TD: Tensor, sequences: Sequences) -> Tensor:
        """From the left."""
        turns = angles(sequences.positions, self.head_width, 10_000.0)
        states: Tensor = self.norm(self.block(self.both(torch.cat([words_TE, told_TD], -1)), sequences.layout, turns))
        return states


DECODERS: dict[str, type[RecurrentDecoder | TransformerDecoder]] = {
    "gru": RecurrentDecoder,
    "transformer": TransformerDecoder,
}
