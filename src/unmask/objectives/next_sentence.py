"""Next sentence prediction (Devlin 2018, BERT, 1810.04805, §3.1): does B follow A?"""

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


class NextSentence(Objective):
    """Tell the text that follows from a text of another document (BERT)."""

    input_formats: ClassVar[tuple[str, ...]] = ("segment_pair", "sentence_pair")
    meanings: ClassVar[Mapping[str, tuple[str, ...]]] = {"next_sentence": ("B follows A", "B is from another document")}

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Half of all second texts are put in for texts of other documents: 0 = it follows, 1 = it does not.

        A slot of one sentence has no second text; it is read alone and nothing is asked about it.
        """
        a, b = sequences.halves(slots, chance)
        pair = b.lengths > 0
        random = pair & (chance.sequences("next_sentence") < 0.5)
        which = np.flatnonzero(random)
        b = b.put(which, slots.elsewhere(which, b.lengths[which], chance))
        example = sequences.join(a, b, slots, tokenizer)
        first_tokens = example.streams["encoder"].starts[pair]
        return example.with_targets(next_sentence=Targets(first_tokens, random[pair].astype(np.int64)))

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """BERT's pooler and a choice of two."""
        from unmask.nn.heads import SequenceRelationHead

        return {"next_sentence": SequenceRelationHead(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("next_sentence",)
