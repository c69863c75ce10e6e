"""Vectors of words from their n-grams of letters (Bojanowski 2016, 1607.04606, §3.2). B buckets in use, D size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unmask.text.example import Array

_OFFSET, _PRIME, _32 = 2166136261, 16777619, 0xFFFFFFFF


@dataclass(frozen=True)
class Ngrams:
    """The vectors of hashed n-grams."""

    min_n: int
    max_n: int
    buckets: int
    ids: Array  # [B] ascending: the buckets that were learned
    rows: Array  # [B, D] float32

    def of(self, word: str) -> Array | None:
        """The mean of a word's n-grams [D]; none if no n-gram of it was learned."""
        if not len(self.ids):
            return None
        wanted = np.array([hashed(ngram) % self.buckets for ngram in ngrams(word, self.min_n, self.max_n)], np.int64)
        place = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        found = place[self.ids[place] == wanted]
        return self.rows[found].mean(0) if len(found) else None


def ngrams(word: str, least: int, most: int) -> list[str]:
    """Every stretch of so many letters of ``<word>``, but for the two marks alone."""
    marked = f"<{word}>"
    return [
        marked[start : start + n]
        for start in range(len(marked))
        for n in range(least, most + 1)
        if start + n <= len(marked) and not (n == 1 and start in (0, len(marked) - 1))
    ]


def hashed(ngram: str) -> int:
    """FNV-1a of 32 bits as in fastText, which takes bytes for signed ones."""
    value = _OFFSET
    for byte in ngram.encode():
        value = ((value ^ (byte | 0xFFFFFF00 if byte > 0x7F else byte)) * _PRIME) & _32
    return value
