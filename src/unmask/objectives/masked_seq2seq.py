"""Masked sequence to sequence (Song 2019, MASS, 1905.02450): which tokens stood in the fragment that is hidden?

T tokens of all fragments, N sequences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from unmask.objectives._rewriting import Rewriting
from unmask.text.chance import Chance, again, fraction
from unmask.text.corruption import masking, rewriting
from unmask.text.example import Array, Example, Stream
from unmask.text.ranges import stretches

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer


class MaskedSeq2seq(Rewriting):
    """Write the one fragment of a text that is hidden, from the text around it (MASS).

    The decoder is told where the fragment stands, and of it no more than what it has written. So a fragment of one
    token is masked LM, and one of the whole text is causal LM.
    """

    begins: ClassVar[Literal["pad", "sep", "mask"]] = "mask"

    share: float = Field(0.5, gt=0, le=1, description="Share of a text's tokens that the fragment takes; one at least")
    mask: float = Field(0.8, ge=0, le=1, description="Share of the fragment's tokens that become the mask token")
    random: float = Field(0.1, ge=0, le=1, description="Share of these that become a random token; the rest is kept")

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        masking.refuse_shares(self.mask, self.random)
        return self

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Hide a fragment of each text, and ask the decoder for it."""
        stream = example.streams["encoder"]
        first, lengths = self._fragments(stream, chance)
        places = stretches(first, lengths)  # [T]
        assert stream.units is not None
        bits, known = chance.bits(stream.lengths, "masked_seq2seq"), places[stream.units[places] >= 0]
        fate = fraction(bits[known])
        drawn = again(bits[known])
        hidden = masking.hide(stream, known, fate, drawn, tokenizer, tokenizer.mask, self.mask, self.random)
        # what is given for a token is the one before it, where that stands
        stand = stream.position[places] - 1
        asked = rewriting.ask(hidden, stream.tokens[places], lengths, tokenizer.mask, tokenizer, stand)
        return replace(asked, documents=example.documents)

    def _fragments(self, stream: Stream, chance: Chance) -> tuple[Array, Array]:
        """[N] where the fragments begin, and how long they are."""
        text = stream.lengths - 2  # without [CLS] and [SEP]
        lengths = np.maximum(np.round(text * self.share), 1).astype(np.int64)
        before = (chance.sequences("masked_seq2seq") * (text - lengths + 1)).astype(np.int64)
        return stream.starts + 1 + before, lengths
