"""Masked language modelling (Devlin 2018, BERT, 1810.04805): what stood where tokens are hidden?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.corruption import masking
from unmask.text.example import Array, Example

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.tokens.tokenizer import Tokenizer


class MaskedLM(Objective):
    """Predict hidden tokens from both sides (BERT; words, phrases, entities, n-grams, spans; dynamic as in RoBERTa)."""

    rate: float = Field(0.15, gt=0, lt=1, description="Share of the tokens that are to be predicted")
    last_rate: float | None = Field(
        None, gt=0, lt=1, description="The rate at the end of the training, reached in a straight line; none: it stays"
    )
    mask: float = Field(0.8, ge=0, le=1, description="Share of these that become the mask token")
    random: float = Field(0.1, ge=0, le=1, description="Share of these that become a random token; the rest is kept")
    unit: Literal["token", "whole_word", "phrase", "entity", "ngram", "span"] = Field(
        "token",
        description="What is hidden as one piece: a token, a word's tokens, a phrase or an entity (ERNIE; see `unmask "
        "prepare`), one to three words (ALBERT), or a span of words (SpanBERT: 3.8 on average)",
    )
    masking: Literal["dynamic", "static"] = Field(
        "dynamic",
        description="dynamic: drawn anew in every epoch; static: as many fixed maskings as dupe_factor, in turn",
    )
    dupe_factor: int = Field(
        10, ge=1, le=10_000, description="With static masking: after so many epochs each masking comes again"
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        masking.refuse_shares(self.mask, self.random)
        if self.unit == "span" and (most := max(self.rate, self.last_rate or 0)) > 0.5:
            raise ValueError(f"rate {most:g} leaves no words between spans; with unit span at most 0.5 fits")
        if self.masking == "dynamic" and "dupe_factor" in self.model_fields_set and self.dupe_factor != 10:
            raise ValueError("dupe_factor belongs to masking static; with dynamic no masking comes again")
        if self.masking == "static" and self.last_rate is not None:
            raise ValueError("masking static comes again as it was, so its rate cannot change; leave last_rate out")
        return self

    def at(self, done: float) -> Self:
        """With the rate of that time."""
        return self.model_copy(update={"rate": masking.rate_at(self.rate, self.last_rate, done)})

    def epochs(self, epochs: Array) -> Array:
        """Static masking draws on the chance of the first ``dupe_factor`` epochs again and again."""
        return epochs % self.dupe_factor if self.masking == "static" else epochs

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Hide units, and ask for the tokens that were there."""
        stream, targets = masking.mask_tokens(
            example.streams["encoder"], tokenizer, chance, self.rate, self.mask, self.random, self.unit
        )
        return example.with_stream(stream).with_targets(masked_lm=targets)

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The vocabulary head."""
        from unmask.nn.heads import masked_lm_head

        return {"masked_lm": masked_lm_head(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("masked_lm",)
