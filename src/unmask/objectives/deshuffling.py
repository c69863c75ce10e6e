"""Deshuffling (Raffel 2019, T5, 1910.10683, §3.3.1; Liu 2019): in which order did these tokens stand?"""

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


class Deshuffling(Rewriting):
    """Write a text of which all tokens are given in any order (T5's comparison)."""

    begins: ClassVar[Literal["pad", "sep", "mask"]] = "pad"

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Shuffle the ordinary tokens of each text, and ask the decoder for the text."""
        stream = example.streams["encoder"]
        assert stream.units is not None
        free = np.flatnonzero(stream.units >= 0)
        lot = chance.bits(stream.lengths, "deshuffling")[free]
        tokens = stream.tokens.copy()
        tokens[free] = stream.tokens[free[np.lexsort((lot, stream.sequence[free]))]]
        text, lengths = rewriting.whole(stream, tokenizer)
        asked = rewriting.ask(replace(stream, tokens=tokens), text, lengths, tokenizer.pad, tokenizer)
        return replace(asked, documents=example.documents)
