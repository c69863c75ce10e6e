"""Vectors of words from their n-grams of letters (Bojanowski 2016, 1607.04606, §3.2). B buckets in use, D size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unmask.text.example import Array
from unmask.text.tokens.ngrams import hashed, ngrams


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
