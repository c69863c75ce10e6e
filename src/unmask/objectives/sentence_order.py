"""Sentence order prediction (Lan 2019, ALBERT, 1909.11942, §3.1): do A and B stand in their order?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.example import Example, Targets
from unmask.text.sampling import sequences

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer


class SentenceOrder(Objective):
    """Tell two texts in their order from the same two swapped (ALBERT)."""

    input_formats: ClassVar[tuple[str, ...]] = ("segment_pair", "sentence_pair")
    meanings: ClassVar[Mapping[str, tuple[str, ...]]] = {"sentence_order": ("in their order", "swapped")}

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Half of all pairs are swapped: 0 = in order, 1 = swapped.

        A slot of one sentence has no order; it is read alone and nothing is asked about it.
        """
        a, b = sequences.halves(slots, chance)
        pair = b.lengths > 0
        swapped = pair & (chance.sequences("sentence_order") < 0.5)
        which = np.flatnonzero(swapped)
        a, b = a.put(which, b.pick(which)), b.put(which, a.pick(which))
        example = sequences.join(a, b, slots, tokenizer)
        first_tokens = example.streams["encoder"].starts[pair]
        return example.with_targets(sentence_order=Targets(first_tokens, swapped[pair].astype(np.int64)))

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """BERT's pooler and a choice of two."""
        from unmask.nn.heads import SequenceRelationHead

        return {"sentence_order": SequenceRelationHead(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("sentence_order",)
