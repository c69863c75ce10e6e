"""Span corruption (Raffel 2019, T5, 1910.10683, §3.1.4, §3.3): what stood where spans are replaced by marks?

T tokens, N sequences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from unmask.objectives._rewriting import Marking
from unmask.text.chance import Chance, again, fraction
from unmask.text.corruption import masking, rewriting
from unmask.text.corruption import sentinels as marks
from unmask.text.example import Array, Example, Stream
from unmask.text.tokens.vocabularies import sentinel

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer

Style = Literal["random_spans", "replace_spans", "drop_tokens", "mass_style", "bert_style"]


class _Parts(NamedTuple):
    """What a style is made of."""

    spans: bool  # whether spans are drawn, or single tokens
    input: Literal["sentinels", "nothing", "masks"]  # what stands in the place of what is hidden
    random: float  # share of what is hidden that is a random token instead


STYLES: dict[Style, _Parts] = {
    "random_spans": _Parts(True, "sentinels", 0.0),
    "replace_spans": _Parts(False, "sentinels", 0.0),
    "drop_tokens": _Parts(False, "nothing", 0.0),
    "mass_style": _Parts(False, "masks", 0.0),
    "bert_style": _Parts(False, "masks", 0.1),
}


class SpanCorruption(Marking):
    """Write what is hidden of a text: each span behind the mark that stands in its place (T5).

    The other styles are those it was compared with. replace_spans hides single tokens, and what stands side by side is
    a span; drop_tokens leaves no mark in the text and asks for the tokens alone; mass_style and bert_style put the
    first mark in the place of each token, bert_style a random token one time in ten, and ask for the whole text.
    """

    style: Style = Field("random_spans", description="What is hidden, what stands in its place, and what is asked")
    rate: float = Field(0.15, gt=0, lt=1, description="Share of the tokens that are hidden")
    span: float = Field(3.0, ge=1, le=50, description="Tokens of a span on average, with random_spans")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.style != "random_spans" and "span" in self.model_fields_set and self.span != 3:
            raise ValueError(f"span belongs to style random_spans; with {self.style} each token is hidden by itself")
        return self

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Hide something of each text, and ask the decoder for it."""
        stream, parts = example.streams["encoder"], STYLES[self.style]
        source, (text, lengths) = {
            "sentinels": self._with_sentinels,
            "nothing": self._dropped,
            "masks": self._masked,
        }[parts.input](stream, tokenizer, chance)
        return replace(rewriting.ask(source, text, lengths, tokenizer.pad, tokenizer), documents=example.documents)

    def _hidden(self, stream: Stream, chance: Chance) -> Array:
        if STYLES[self.style].spans:
            return marks.random_spans(stream, chance, self.rate, self.span)
        return marks.random_tokens(stream, chance, self.rate)

    def _with_sentinels(
        self, stream: Stream, tokenizer: Tokenizer, chance: Chance
    ) -> tuple[Stream, tuple[Array, Array]]:
        """A unique mark for each span, in both texts."""
        spans = self.rate * (1 / self.span if STYLES[self.style].spans else 1 - self.rate)
        return self.marked(stream, self._hidden(stream, chance), int(stream.lengths.max()) * spans, tokenizer)

    def _dropped(self, stream: Stream, tokenizer: Tokenizer, chance: Chance) -> tuple[Stream, tuple[Array, Array]]:
        """No mark in either text."""
        mask = self._hidden(stream, chance)
        ends = np.full((len(stream.lengths), 1), tokenizer.sep)
        told = marks.with_ends(stream.tokens[mask], stream.sequence[mask], ends)
        return stream.pick(np.flatnonzero(~mask)), told

    def _masked(self, stream: Stream, tokenizer: Tokenizer, chance: Chance) -> tuple[Stream, tuple[Array, Array]]:
        """One and the same mark for each token, and the whole text is asked for."""
        index, random = np.flatnonzero(self._hidden(stream, chance)), STYLES[self.style].random
        bits, (first,) = chance.bits(stream.lengths, "span_corruption")[index], tokenizer.ids([sentinel(0)])
        fate = fraction(bits)
        source = masking.hide(stream, index, fate, again(bits), tokenizer, int(first), 1 - random, random)
        return source, rewriting.whole(stream, tokenizer)
