"""Prefix language modelling (Raffel 2019, T5, 1910.10683, §3.3.1; Liu 2018): how does a text go on?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from unmask.objectives._rewriting import Rewriting
from unmask.text.chance import Chance
from unmask.text.corruption import rewriting
from unmask.text.example import Example

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer


class PrefixLM(Rewriting):
    """Write the rest of a text of which the beginning is given (T5's comparison)."""

    begins: ClassVar[Literal["pad", "sep", "mask"]] = "pad"

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Part each text at any place, and ask the decoder for what follows. Of one token there is no rest."""
        stream, lead = example.streams["encoder"], int(tokenizer.opens)
        text = stream.lengths - lead - 1  # without [CLS] and [SEP]
        given = 1 + (chance.sequences("prefix_lm") * np.maximum(text - 1, 1)).astype(np.int64)
        place = stream.position - lead
        last = place == text[stream.sequence]
        rest = place >= given[stream.sequence]  # the end too
        source = stream.pick(np.flatnonzero(~rest | last))
        lengths = np.bincount(stream.sequence[rest], minlength=len(text))
        asked = rewriting.ask(source, stream.tokens[rest], lengths, tokenizer.pad, tokenizer)
        return replace(asked, documents=example.documents)
