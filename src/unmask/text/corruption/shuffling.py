"""Pure functions that change the order of a text and say what stood where. T tokens, K trigrams."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np

from unmask.text.chance import Chance, again, fraction
from unmask.text.example import Array, Stream, Targets

_MOVES = np.array(list(permutations(range(3)))[1:])  # [5, 3] all orders of three but the one they stand in


def shuffle_trigrams(stream: Stream, chance: Chance, rate: float, taken: Array) -> tuple[Stream, Targets]:
    """Change the order in trigrams of ordinary tokens, and ask for what stood at each of their places.

    Trigrams are cut side by side out of the stretches between special and taken tokens, the first at a place drawn by
    chance, and each is chosen by itself.

    Args:
        stream: its special tokens (units -1) are never moved.
        chance: of the stream's sequences.
        rate: share of these trigrams that are shuffled.
        taken: places that something else has hidden; they are left alone.

    Returns:
        The stream with tokens moved, and the tokens that were at their places, in order.
    """
    assert stream.units is not None
    bits = chance.bits(stream.lengths, "shuffle_trigrams")
    free = stream.units >= 0
    free[taken] = False
    first = _trigrams(free, stream.sequence, bits)
    first = first[fraction(bits[first]) < rate]
    index = first[:, None] + np.arange(3)  # [K, 3]
    moves = _MOVES[(fraction(again(bits[first])) * len(_MOVES)).astype(np.int64)]
    tokens = stream.tokens.copy()
    tokens[index] = stream.tokens[first[:, None] + moves]
    return replace(stream, tokens=tokens), Targets(index.ravel(), stream.tokens[index.ravel()].astype(np.int64))


def _trigrams(free: Array, sequence: Array, bits: Array) -> Array:
    """[K] where trigrams begin in the stretches of free places."""
    begins = free & np.concatenate([[True], ~free[:-1] | (sequence[1:] != sequence[:-1])])
    start = np.flatnonzero(begins)
    stretch = np.cumsum(begins) - 1
    skipped = (fraction(again(bits[start], 2)) * 3).astype(np.int64)
    offset = np.arange(len(free)) - (start + skipped)[stretch]
    whole = free.copy()
    whole[:-2] &= free[1:-1] & free[2:] & (stretch[:-2] == stretch[2:])
    whole[-2:] = False
    return np.flatnonzero(whole & (offset >= 0) & (offset % 3 == 0))
