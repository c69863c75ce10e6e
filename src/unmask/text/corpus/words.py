"""A corpus as sentences of words, for methods that know words and no pieces. T tokens, W words, V vocabulary."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from unmask.text.corpus.corpus import Corpus
from unmask.text.corpus.shards import Shard
from unmask.text.example import Array

_AROUND = string.whitespace + string.punctuation  # GPT-2's rules make one word of 's

LONGEST = 10_000
"""Words in a sentence; a longer one is cut (gensim reads no more of one)."""


@dataclass
class Words:
    """Sentences of words, streamed from the shards as often as one iterates.

    A word is what `unmask prepare` found to be one, its pieces joined: letters and digits in a row, a word of jieba in
    Chinese. Marks alone are none, and a word with a piece that the vocabulary lacks cannot be spelled; both are left
    out, the latter counted.
    """

    corpus: Corpus
    count: int = 0  # words of the last pass
    unknown: int = 0  # left out of it because the vocabulary cannot spell them

    def __iter__(self) -> Iterator[list[str]]:
        self.count = self.unknown = 0
        for shard in range(self.corpus.shards):
            yield from self._sentences(self.corpus.shard(shard))

    def _sentences(self, shard: Shard) -> Iterator[list[str]]:
        begins = np.flatnonzero(shard.words)
        words = self._spelled(np.asarray(shard.tokens), begins)
        # a sentence begins with a word
        for begin, end in pairwise(np.searchsorted(begins, shard.sentences).tolist()):
            sentence = [word for word in words[begin:end] if word]
            self.count += len(sentence)
            for start in range(0, len(sentence), LONGEST):
                yield sentence[start : start + LONGEST]

    def _spelled(self, tokens: Array, begins: Array) -> list[str]:
        """[W] words; empty where there is none to be read."""
        lengths = np.diff(begins, append=len(tokens))
        words = self._alone[tokens[begins]]
        pieces = self._surfaces[tokens]
        longer = np.flatnonzero(lengths > 1)
        words[longer] = [
            _word(b"".join(pieces[begin : begin + n]))
            for begin, n in zip(begins[longer].tolist(), lengths[longer].tolist(), strict=True)
        ]
        lost = np.add.reduceat(tokens == self.corpus.tokenizer.unk, begins) > 0 if len(begins) else begins
        self.unknown += int(lost.sum())
        words[lost] = ""
        found: list[str] = words.tolist()
        return found

    @cached_property
    def _surfaces(self) -> Array:
        """[V] the bytes of each entry."""
        return _objects(self.corpus.tokenizer.alphabet.surface)

    @cached_property
    def _alone(self) -> Array:
        """[V] the word that each entry is where it stands alone."""
        return _objects([_word(surface) for surface in self.corpus.tokenizer.alphabet.surface])


def _objects(values: list[str] | list[bytes]) -> Array:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _word(surface: bytes) -> str:
    word = surface.decode(errors="replace").strip(_AROUND)
    return word if any(map(str.isalnum, word)) else ""
