"""How each token is written: what a model reads that looks at letters. V vocabulary, C places for letters."""

from __future__ import annotations

import numpy as np

from unmask.text.example import Array
from unmask.text.tokens.tokenizer import Tokenizer

LONGEST = 50
"""Places of a token's letters, as in ELMo (Peters 2018)."""
BEGIN, END, SPECIAL, EMPTY = range(256, 260)
LETTERS = 260
"""The bytes of UTF-8, the two ends of a token, what a special token begins with, and a place without a letter."""


def letters(tokenizer: Tokenizer) -> Array:
    """[V, C] int64 letters of every entry of a vocabulary.

    A token is the bytes of the text that it stands for between two marks; a space before them says that a word begins.
    A special token is its name, after a mark that no text has. What is longer than the places is cut.
    """
    table = np.full((tokenizer.size, LONGEST), EMPTY)
    names = tokenizer.tokens(range(tokenizer.size))
    parts = zip(tokenizer.alphabet.surface, names, tokenizer.special.tolist(), strict=True)
    for row, (surface, name, special) in enumerate(parts):
        written = [SPECIAL, *name.encode()] if special else [BEGIN, *surface]
        written = written[: LONGEST - 1]
        table[row, : len(written) + 1] = [*written, END]
    return table
