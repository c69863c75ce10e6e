"""What begins at a token: nothing, or a word, and with it perhaps a phrase or an entity. T tokens, U units.

One array of flags says so, [T] uint8; where only words are known it is one of truth values. Every token belongs to
exactly one word, one phrase and one entity: what no phrase or entity holds is, word by word, its own. So a phrase or an
entity never begins inside a word, and a sentence begins all three.
"""

from __future__ import annotations

import numpy as np

from unmask.text.example import Array
from unmask.text.ranges import stretches

WORD, PHRASE, ENTITY = 1, 2, 4
LARGER = {"phrases": PHRASE, "entities": ENTITY}
"""The units that are made of words and may be stored beside them, and their flags."""


def known(begins: Array) -> int:
    """The flags that are in use."""
    return int(np.bitwise_or.reduce(begins))


def merge(words: Array, first: Array, counts: Array) -> Array:
    """Where larger units begin [T] bool: at the words that are not inside one.

    Args:
        words: [T] not 0: this token begins a word.
        first: [U] the number of each unit's first word.
        counts: [U] its words.
    """
    begins = words > 0
    begins[np.flatnonzero(words)[stretches(first + 1, counts - 1)]] = False
    return begins


def of_several_words(begins: Array, flag: int) -> tuple[int, int]:
    """How many units of this kind hold more than one word, and how many tokens these hold."""
    starts = np.flatnonzero(begins & flag)
    words = np.diff(np.append(np.cumsum(begins > 0)[starts], np.count_nonzero(begins) + 1))
    tokens = np.diff(np.append(starts, len(begins)))
    return int(np.count_nonzero(words > 1)), int(tokens[words > 1].sum())
