"""word2vec (Mikolov 2013, 1301.3781 and 1310.4546): a word and its neighbours are told from words drawn at random."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unmask.static.methods.base import Gensim, Learned, Sentences, Told
from unmask.static.vectors import WordVectors


class Word2vec(Gensim):
    """A word from its neighbours, or they from it, against words drawn at random (Mikolov 2013, 1310.4546)."""

    architecture: Literal["skip_gram", "cbow"] = Field(
        "skip_gram", description="skip_gram: each neighbour from the word; cbow: the word from its neighbours' mean"
    )
    lr: float | None = Field(
        None, gt=0, description="First learning rate, which falls in a line; by default 0.025, and 0.05 for cbow"
    )

    def learn(self, sentences: Sentences, seed: int, workers: int, told: Told) -> Learned:
        """By gensim."""
        from gensim.models import Word2Vec

        skip_gram = self.architecture == "skip_gram"
        rate = self.lr or (0.025 if skip_gram else 0.05)
        made = self.train(Word2Vec, sentences, told, sg=int(skip_gram), alpha=rate, seed=seed, workers=workers)
        return Learned(WordVectors(list(made.wv.index_to_key), made.wv.vectors))
