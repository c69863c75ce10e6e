"""fastText (Bojanowski 2016, 1607.04606): word2vec whose words are sums of their letters' n-grams."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from unmask.static.methods.base import Gensim, Learned, Sentences, Told
from unmask.static.ngrams import Ngrams
from unmask.static.vectors import WordVectors


class Fasttext(Gensim):
    """Skip-gram over words made of their n-grams of letters, so that unseen ones have vectors (Bojanowski 2016)."""

    sample: float = Field(1e-4, ge=0, description="Words of a larger share than this are skipped now and then; 0: none")
    lr: float = Field(0.05, gt=0, description="First learning rate, which falls in a line")
    min_n: int = Field(3, ge=1, description="Letters in the shortest n-gram, the marks of a word's ends counted")
    max_n: int = Field(6, ge=1, description="Letters in the longest")
    buckets: int = Field(2_000_000, ge=1, description="Vectors that all n-grams share, by their hash")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_n > self.max_n:
            raise ValueError(f"min_n {self.min_n} is above max_n {self.max_n}")
        return self

    def learn(self, sentences: Sentences, seed: int, workers: int, told: Told) -> Learned:
        """By gensim. Of the n-grams those are kept that a known word has: no others were learned."""
        from gensim.models import FastText

        ngrams = {"min_n": self.min_n, "max_n": self.max_n, "bucket": self.buckets}
        made = self.train(FastText, sentences, told, sg=1, alpha=self.lr, seed=seed, workers=workers, **ngrams)
        words = list(made.wv.index_to_key)
        kept = np.unique(np.concatenate([np.empty(0, np.int64), *made.wv.buckets_word]))
        table = Ngrams(self.min_n, self.max_n, self.buckets, kept, made.wv.vectors_ngrams[kept])
        return Learned(WordVectors(words, made.wv.vectors, table))
