"""Unified language modelling (Dong 2019, UniLM, 1905.03197, §2.3): one encoder, and four ways of seeing.

T tokens, N sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.corruption import masking
from unmask.text.example import Array, Example, Stream

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.tokens.tokenizer import Tokenizer

BOTH, TO_B, RIGHTWARD, LEFTWARD = range(4)
SEGMENTS = 6
"""0 and 1 for A and B that are seen from both sides, 2 from the left, 3 from the right, 4 and 5 where B follows A."""


class UnifiedLM(Objective):
    """Masked LM under four patterns of attention, so that one model reads and writes (UniLM).

    A sequence is seen from both sides; or A from both sides and B, which A never sees, from the left; or all of it from
    the left, or from the right. A slot of one sentence has no B and is then seen from both sides.
    """

    input_formats: ClassVar[tuple[str, ...]] = ("segment_pair", "sentence_pair")
    one_sided: ClassVar[bool] = True

    rate: float = Field(0.15, gt=0, lt=1, description="Share of the tokens that are to be predicted")
    mask: float = Field(0.8, ge=0, le=1, description="Share of these that become the mask token")
    random: float = Field(0.1, ge=0, le=1, description="Share of these that become a random token; the rest is kept")
    bidirectional: float = Field(1 / 3, ge=0, description="Share of sequences that are seen from both sides")
    sequence_to_sequence: float = Field(1 / 3, ge=0, description="Share whose B is seen from the left, after all of A")
    left_to_right: float = Field(1 / 6, ge=0, description="Share that is seen from the left")
    right_to_left: float = Field(1 / 6, ge=0, description="Share that is seen from the right")

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        masking.refuse_shares(self.mask, self.random)
        if abs(self._shares.sum() - 1) > 1e-6:
            raise ValueError(
                "bidirectional, sequence_to_sequence, left_to_right and right_to_left are shares of the sequences; "
                f"they must add up to 1, not {self._shares.sum():g}"
            )
        return self

    @property
    def _shares(self) -> Array:
        return np.array([self.bidirectional, self.sequence_to_sequence, self.left_to_right, self.right_to_left])

    def beside(self, others: Mapping[str, Objective]) -> None:
        """It has masked_lm's head; of pairs that are not in order B is not learned from A."""
        if "masked_lm" in others:
            raise ValueError("unified_lm is masked_lm under other patterns of attention; give one of the two")
        if len(others) > 1 and self.bidirectional + 2 * self.sequence_to_sequence > 1 + 1e-6:
            raise ValueError(
                "beside an objective on pairs only half of them are in order, so bidirectional + 2 * "
                "sequence_to_sequence must be 1 at most"
            )

    def model(self, shape: Shape) -> Shape:
        """Segments of their own for each pattern, if the model has any."""
        return shape.model_copy(update={"segments": SEGMENTS}) if shape.segments else shape

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Draw a pattern for each sequence, and hide tokens. Other questions stay where all is seen from both sides."""
        stream = example.streams["encoder"]
        pattern = self._patterns(stream, _in_order(example), chance.sequences("unified_lm"))
        answerable = pattern == BOTH
        kept = {
            name: replace(asked, index=asked.index[here], labels=asked.labels[here])
            for name, asked in example.targets.items()
            for here in [answerable[stream.sequence[asked.index]]]
        }
        stream = replace(stream, order=orders(stream, pattern), segments=_segments(stream, pattern))
        stream, targets = masking.mask_tokens(
            stream, tokenizer, chance, self.rate, self.mask, self.random, unit="unilm"
        )
        return replace(example.with_stream(stream), targets=kept).with_targets(masked_lm=targets)

    def _patterns(self, stream: Stream, in_order: Array, drawn: Array) -> Array:
        """[N] the pattern of each sequence.

        Where half of all pairs are not in order, these are never read as a sequence from another, and those in order
        twice as often, so that the shares over all stay as they are.
        """
        both, to_b, *one_sided = self._shares
        rest = np.array(one_sided) / max(sum(one_sided), 1e-9)
        found = np.full(len(in_order), BOTH)
        for these, share in ((in_order, to_b if in_order.all() else 2 * to_b), (~in_order, 0.0)):
            edges = np.cumsum([both, share, *(rest * (1 - both - share))])
            found[these] = np.searchsorted(edges[:-1], drawn[these], "right")
        paired = np.maximum.reduceat(_halves(stream), stream.starts) > 0
        return np.where((found == TO_B) & ~paired, BOTH, found)

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The vocabulary head of masked_lm."""
        from unmask.nn.heads import masked_lm_head

        return {"masked_lm": masked_lm_head(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("masked_lm",)


def _in_order(example: Example) -> Array:
    """[N] whether B is the text that follows A: whatever is asked about a pair, 0 says that it is."""
    stream = example.streams["encoder"]
    found = np.ones(len(stream.lengths), bool)
    for asked in example.targets.values():
        found[stream.sequence[asked.index[asked.labels != 0]]] = False
    return found


def orders(stream: Stream, pattern: Array) -> Array:
    """[T] numbers such that a token sees those that are not above its own, by each sequence's pattern [N]."""
    place, pattern = stream.position, pattern[stream.sequence]
    return np.select(
        [pattern == TO_B, pattern == RIGHTWARD, pattern == LEFTWARD],
        [np.where(_halves(stream) == 0, 0, place), place, -place],
        0,
    )


def _segments(stream: Stream, pattern: Array) -> Array:
    """[T] the segments of each pattern."""
    first = np.array([0, 4, 2, 3])[pattern][stream.sequence]
    two_sided = np.isin(pattern, (BOTH, TO_B))[stream.sequence]
    return (first + np.where(two_sided, _halves(stream), 0)).astype(np.int8)


def _halves(stream: Stream) -> Array:
    """[T] 0 for A, 1 for B."""
    return np.zeros(len(stream.tokens), np.int8) if stream.segments is None else stream.segments
