"""Structural objectives (Wang 2019, StructBERT / ALICE, 1908.04577): the order of words, and of sentences.

N sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.corruption.shuffling import shuffle_trigrams
from unmask.text.example import Example, Targets
from unmask.text.sampling import sequences

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer

PRECEDES, ELSEWHERE = 1, 2  # what B is to A, where it does not follow
NONE = np.empty(0, np.int64)


class Structural(Objective):
    """Restore the order of shuffled trigrams, and tell the text that follows from one before or elsewhere (StructBERT).

    The paper trains both together with masked_lm.
    """

    input_formats: ClassVar[tuple[str, ...]] = ("segment_pair", "sentence_pair")
    follows: ClassVar[tuple[str, ...]] = ("masked_lm",)
    meanings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "structural": ("B follows A", "B precedes A", "B is from another document")
    }

    rate: float = Field(0.05, gt=0, le=1, description="Share of the trigrams of visible tokens that are shuffled")

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """A third of all pairs in order (0), a third swapped (1), a third with a B of another document (2).

        A slot of one sentence has no second text; it is read alone and nothing is asked about it.
        """
        a, b = sequences.halves(slots, chance)
        pair = b.lengths > 0
        relation = (chance.sequences("structural") * 3).astype(np.int64)
        swapped = np.flatnonzero(pair & (relation == PRECEDES))
        a, b = a.put(swapped, b.pick(swapped)), b.put(swapped, a.pick(swapped))
        which = np.flatnonzero(pair & (relation == ELSEWHERE))
        b = b.put(which, slots.elsewhere(which, b.lengths[which], chance))
        example = sequences.join(a, b, slots, tokenizer)
        first_tokens = example.streams["encoder"].starts[pair]
        return example.with_targets(structural=Targets(first_tokens, relation[pair]))

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Shuffle trigrams of what is still visible, and ask for the tokens that stood there."""
        hidden = [asked.index for name, asked in example.targets.items() if name != "structural"]
        stream, targets = shuffle_trigrams(
            example.streams["encoder"], chance, self.rate, np.concatenate([NONE, *hidden])
        )
        return example.with_stream(stream).with_targets(trigrams=targets)

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """BERT's pooler and a choice of three; the vocabulary."""
        from unmask.nn.heads import MaskedLMHead, SequenceRelationHead

        return {"structural": SequenceRelationHead(shape, 3), "trigrams": MaskedLMHead(shape)}

    def answers(self) -> tuple[str, ...]:
        """Two heads."""
        return ("structural", "trigrams")
