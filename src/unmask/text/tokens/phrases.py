"""Phrases that a text shows by itself: words that stand together far oftener than chance would have it.

Mikolov 2013 (1310.4546), §4, as in word2phrase.c: a pair of words a b scores (count(ab) - 5) / (count(a) count(b)),
times the words in all, and is a phrase above a threshold. A second pass, with a lower threshold, takes what the first
has joined for words, and so finds phrases of three and four.

T tokens, W words or phrases, K kinds of them, P pairs of kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from unmask.text.example import Array
from unmask.text.tokens.lexicon import Words

LEAST = 5
"""Times that a pair must be met; it is also taken off the count, so that pairs of rare words score low."""
THRESHOLDS = (200.0, 100.0)
"""By pass; those of word2phrase's own example."""


class Text(Protocol):
    """Tokens [T], and where words and sentences begin [T]."""

    @property
    def tokens(self) -> Array:
        """[T]."""

    @property
    def words(self) -> Array:
        """[T] not 0: this token begins a word."""

    @property
    def sentences(self) -> Array:
        """[T] bool: this token begins a sentence."""


class Phrase(NamedTuple):
    """What was found, how it scores, and how often it was met."""

    text: str
    score: float
    times: int


def learn(texts: Iterable[Text], words: Words) -> list[Phrase]:
    """Phrases of two to four words, the best first; inside sentences, and without punctuation.

    Args:
        texts: whose words are counted; memory holds their tokens, and three numbers for each word.
        words: tells which words are the same.
    """
    parts = [(text.tokens, *_items(text, words)) for text in texts]
    if not parts:
        return []
    tokens, numbers, sizes, joins = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    _, first, kinds = np.unique(numbers, return_index=True, return_inverse=True)
    before, made = len(first), np.empty((0, 2), np.int64)
    found: list[tuple[float, int]] = []
    for threshold in THRESHOLDS:
        pairs, scores, counts = _pairs(kinds, joins, before + len(made), threshold)
        found += zip(scores.tolist(), counts.tolist(), strict=True)
        kinds, joins = _join(kinds, joins, pairs, before + len(made))
        made = np.concatenate([made, pairs])
    places = np.cumsum(sizes) - sizes
    spelled = words.texts(tokens, places, places[first], (places + sizes)[first])
    for pair in made.tolist():
        spelled.append("".join(spelled[kind] for kind in pair))
    phrases = [Phrase(text.strip(), *figures) for text, figures in zip(spelled[before:], found, strict=True)]
    return sorted(phrases, key=lambda phrase: (-phrase.score, phrase.text))


def _items(text: Text, words: Words) -> tuple[Array, Array, Array]:
    """[W] the number of each word, [W] its tokens, [W] whether it may be joined with the next."""
    places = np.flatnonzero(text.words)
    numbers, _ = words.numbers(text.tokens, places)
    sizes = np.diff(places, append=len(text.tokens))
    letters = words.letters[text.tokens[places + sizes - 1]]
    joins = letters.copy()
    joins[:-1] &= letters[1:] & ~text.sentences[places[1:]]
    joins[-1:] = False
    return numbers, sizes, joins


def _pairs(kinds: Array, joins: Array, of: int, threshold: float) -> tuple[Array, Array, Array]:
    """Pairs of kinds [P, 2] that score above the threshold, their scores [P], and how often each is met [P]."""
    at = np.flatnonzero(joins)
    keys, counts = np.unique(kinds[at] * of + kinds[at + 1], return_counts=True)
    pairs, alone = np.stack(np.divmod(keys, of), axis=1), np.bincount(kinds, minlength=of)
    scores = (counts - LEAST) / (alone[pairs[:, 0]] * alone[pairs[:, 1]]) * len(kinds)
    good = scores > threshold
    return pairs[good], scores[good], counts[good]


def _join(kinds: Array, joins: Array, pairs: Array, of: int) -> tuple[Array, Array]:
    """The same text with pairs as one, numbered from ``of`` on; where pairs overlap, the left one."""
    known = pairs[:, 0] * of + pairs[:, 1]  # sorted
    at = np.flatnonzero(joins)
    at = at[np.isin(kinds[at] * of + kinds[at + 1], known)]
    begins = np.flatnonzero(np.diff(at, prepend=-2) != 1)  # pairs that overlap in a chain: every second one
    place = np.arange(len(at)) - np.repeat(begins, np.diff(begins, append=len(at)))
    at = at[place % 2 == 0]
    kinds, joins = kinds.copy(), joins.copy()
    kinds[at] = of + np.searchsorted(known, kinds[at] * of + kinds[at + 1])
    joins[at] = joins[at + 1]
    return np.delete(kinds, at + 1), np.delete(joins, at + 1)
