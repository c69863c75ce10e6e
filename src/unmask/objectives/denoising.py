"""Denoising (Lewis 2019, BART, 1910.13461, §2.2): what was the text before it was spoilt?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from unmask.objectives._rewriting import Rewriting
from unmask.text.chance import Chance
from unmask.text.corruption import masking, noising, rewriting
from unmask.text.example import Example, Stream
from unmask.text.sampling import sequences

if TYPE_CHECKING:
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer

Noise = Literal["token_masking", "token_deletion", "text_infilling", "sentence_permutation", "document_rotation"]


class Denoising(Rewriting):
    """Rebuild a whole document that was spoilt in one way or several (BART).

    Several are applied in this order, as in the release: sentences change places; tokens are masked, deleted or
    infilled; the document is turned.
    """

    begins: ClassVar[Literal["pad", "sep", "mask"]] = "sep"

    noise: tuple[Noise, ...] = Field(
        ("text_infilling", "sentence_permutation"),
        min_length=1,
        description="What is done to a document: any of token_masking, token_deletion, text_infilling, "
        "sentence_permutation, document_rotation, joined by commas",
    )
    rate: float = Field(0.3, gt=0, lt=1, description="Share of the tokens that are masked, deleted or infilled")
    span: float = Field(3.0, gt=0, le=50, description="Words of an infilled span on average, drawn by Poisson")

    @field_validator("noise", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    @field_validator("noise")
    @classmethod
    def _once(cls, value: tuple[Noise, ...]) -> tuple[Noise, ...]:
        if twice := next((noise for noise in value if value.count(noise) > 1), None):
            raise ValueError(f"{twice} is named twice; name each noise once")
        return value

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """A document, or as much of it as fits, that knows where its sentences begin."""
        return sequences.with_sentences(sequences.single(slots, tokenizer, chance), slots, tokenizer)

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Spoil what the encoder reads, and ask the decoder for all that was there."""
        clean = example.streams["encoder"]
        spoilt = self._spoilt(clean, tokenizer, chance)
        asked = rewriting.ask(spoilt, clean.tokens, clean.lengths, tokenizer.sep, tokenizer)
        return replace(asked, documents=example.documents)

    def _spoilt(self, stream: Stream, tokenizer: Tokenizer, chance: Chance) -> Stream:
        if "sentence_permutation" in self.noise:
            stream = noising.permute_sentences(stream, chance, tokenizer.opens)
        if "token_masking" in self.noise:
            stream, hidden = masking.mask_tokens(stream, tokenizer, chance, self.rate, mask=1, random=0)
            assert stream.units is not None
            units = stream.units.copy()
            units[hidden.index] = -1  # no word any more, that could be infilled or deleted
            stream = replace(stream, units=units)
        if "text_infilling" in self.noise:
            stream = noising.infill(stream, tokenizer, chance, self.rate, self.span)
        if "token_deletion" in self.noise:
            stream = noising.delete_tokens(stream, chance, self.rate)
        if "document_rotation" in self.noise:
            stream = noising.rotate(stream, chance, tokenizer.opens)
        return stream
