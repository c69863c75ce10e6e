"""A corpus in memory, for tests that need no files: documents of sentences of words of one to three tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from unmask.text.corpus.shards import Shard
from unmask.text.example import Array
from unmask.text.tokens.fields import marks

SPECIAL = 5


@dataclass
class FakeTokenizer:
    size: int = 1000
    pad: int = 0
    unk: int = 1
    cls: int = 2
    sep: int = 3
    mask: int = 4
    opens: bool = True
    extra: tuple[str, ...] = ()

    @property
    def special(self) -> Array:
        return (np.arange(self.size) < SPECIAL) | (np.arange(self.size) >= self.size - len(self.extra))

    @property
    def ordinary(self) -> Array:
        return np.flatnonzero(~self.special)

    def plus(self, names: Sequence[str]) -> FakeTokenizer:
        new = tuple(name for name in names if name not in self.extra)
        return replace(self, size=self.size + len(new), extra=(*self.extra, *new))

    def ids(self, names: Sequence[str]) -> Array:
        return np.array([self.size - len(self.extra) + self.extra.index(name) for name in names])


@dataclass
class FakeCorpus:
    """Lists of shards; a shard is a list of documents, a document a list of sentences' lengths in words."""

    contents: list[list[list[int]]]
    folder: Path = Path("corpora/fake")
    hash: str = "fake"
    tokenizer: FakeTokenizer = field(default_factory=FakeTokenizer)
    longest_word: int = 3

    def __post_init__(self) -> None:
        rng = np.random.default_rng(5)
        firsts = np.cumsum([0, *map(len, self.contents)])
        self._shards = [
            _shard(documents, int(first), rng, self.longest_word)
            for documents, first in zip(self.contents, firsts, strict=False)
        ]
        self.shards = len(self._shards)
        self.documents = int(firsts[-1])
        self.tokens = sum(len(shard.tokens) for shard in self._shards)

    def shard(self, i: int) -> Shard:
        return self._shards[i]

    def document_tokens(self, number: int) -> Array:
        for shard in self._shards:
            k = number - shard.first_document
            if 0 <= k < len(shard.documents) - 1:
                return shard.tokens[shard.documents[k] : shard.documents[k + 1]]
        raise KeyError(number)


def _shard(documents: list[list[int]], first: int, rng: np.random.Generator, longest_word: int) -> Shard:
    sentences = np.array([length for document in documents for length in document], np.int64)
    words = rng.integers(1, longest_word + 1, sentences.sum())
    word_starts = np.cumsum([0, *words])  # in tokens
    sentence_starts = word_starts[np.cumsum([0, *sentences])]
    document_starts = sentence_starts[np.cumsum([0, *map(len, documents)])]
    starts = np.zeros(words.sum(), bool)
    starts[word_starts[:-1]] = True
    tokens = rng.integers(SPECIAL, 1000, len(starts)).astype(np.uint16)
    return Shard(tokens, starts, sentence_starts, document_starts, first)


def with_fields(corpus: FakeCorpus) -> FakeCorpus:
    """The same documents as articles with a headline of one token, which is their first."""
    found = replace(corpus, tokenizer=corpus.tokenizer.plus(marks(["headline", "text"])))
    begin, end, text, over = found.tokenizer.ids(found.tokenizer.extra)
    found._shards = [_articles(shard, [begin, end, text, over]) for shard in found._shards]
    return found


def _articles(shard: Shard, around: list[int]) -> Shard:
    first, last = shard.documents[:-1], shard.documents[1:]
    at = np.stack([first, first + 1, first + 1, last], axis=1).ravel()
    inner = ~np.isin(shard.sentences, shard.documents)
    return Shard(
        np.insert(shard.tokens, at, np.tile(around, len(first))),
        np.insert(shard.words, at, True),
        shard.sentences + 4 * np.searchsorted(first, shard.sentences) - inner,
        shard.documents + 4 * np.arange(len(shard.documents)),
        shard.first_document,
    )


def corpus_of(
    shards: int = 2, documents: int = 40, sentences: int = 30, words: float = 12, seed: int = 0
) -> FakeCorpus:
    """Documents and sentences of log-normal lengths, as real ones have."""
    rng = np.random.default_rng(seed)

    def lengths(n: int, mean: float) -> list[int]:
        return np.maximum(1, rng.lognormal(np.log(mean) - 0.2, 0.6, n)).astype(int).tolist()

    return FakeCorpus([[lengths(n, words) for n in lengths(documents, sentences)] for _ in range(shards)])
