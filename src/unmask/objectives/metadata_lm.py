"""Articles with their metadata (Zellers 2019, Grover, 1905.12616): any field from any others.

N sequences, T tokens, P parts of sequences: a field with the tokens around it, and what stands before the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from unmask.errors import UserError
from unmask.objectives._from_left import FromLeft
from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.example import Array, Example
from unmask.text.sampling.sequences import single
from unmask.text.tokens.fields import fields_of

if TYPE_CHECKING:
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer


class MetadataLM(FromLeft):
    """Predict the next token of an article's fields in an order that varies, so that each is told from any (Grover).

    Wants a corpus that was prepared with --fields.
    """

    input_formats: ClassVar[tuple[str, ...]] = ("doc_sentences",)
    fields: ClassVar[bool] = True

    dropout: float = Field(0.1, ge=0, lt=1, description="Share of the fields that are left out, each by itself")
    text_alone: float = Field(0.35, ge=0, le=1, description="Share of the articles of which only the text is left")

    def beside(self, others: Mapping[str, Objective]) -> None:
        """What hides tokens hides them from those that come after."""
        if other := next((name for name in others if name != "metadata_lm"), None):
            raise ValueError(f"metadata_lm reads from the left fields that it orders itself; {other} does not fit")

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Fields by lot in two sets, one before the other, each in the usual order; some are left out.

        So there are 2^F orders, and a model that has learned them writes each field from any others (§3.1). Of an
        article that is longer than a sequence, only the first has the fields; its text then ends without an end token.
        """
        fields = fields_of(tokenizer)
        if not fields:
            raise UserError("metadata_lm: this text has no fields; prepare a table with --fields")
        example = single(slots, tokenizer, chance)
        stream = example.streams["encoder"]
        number = np.zeros(len(tokenizer.special), np.int64)  # [V] 0, or the number of the field that begins here
        number[[begin for begin, _ in fields.values()]] = np.arange(1, len(fields) + 1)
        begins = number[stream.tokens] > 0
        begins[stream.starts] = True
        places = np.flatnonzero(begins)
        field, sequence = number[stream.tokens[places]], stream.sequence[places]  # [P]
        rank = self._ranks(list(fields), chance)[sequence, field]
        rank_T = np.repeat(rank, np.diff(places, append=len(begins)))
        rank_T[stream.starts + stream.lengths - 1] = 2 * len(fields) + 2  # [SEP] stays at the end
        order = np.lexsort((rank_T, stream.sequence))  # stable: tokens of a part stay in theirs
        return example.with_stream(stream.pick(order[rank_T[order] >= 0]))

    def _ranks(self, names: list[str], chance: Chance) -> Array:
        """[N, F+1] where each field comes, -1 where it is left out; 0: what belongs to none, and the text is last."""
        alone = chance.sequences("text alone") < self.text_alone
        ranks = [np.zeros(len(alone), np.int64)]
        for n, name in enumerate(names, 1):
            after = chance.sequences(f"set of {name}") < 0.5
            dropped = (chance.sequences(f"drop {name}") < self.dropout) | alone
            ranks.append(np.where(dropped & (name != names[-1]), -1, n + after * len(names)))
        return np.stack(ranks, axis=1)
