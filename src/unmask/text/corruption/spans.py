"""Spans of words as SpanBERT draws them (Joshi 2019, 1907.10529, §3.1), and n-grams, for a whole batch at once.

A *stretch* is a run of tokens without special ones in it; spans lie inside stretches. S stretches, K spans at most in
one, U words, W the longest span. Lengths are counted in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unmask.text.chance import again, fraction
from unmask.text.example import Array
from unmask.text.ranges import inside, runs


@dataclass(frozen=True)
class Lengths:
    """How long spans are, in words: the share of each length, and whether a visible word stays between two."""

    shares: Array  # [W] of the lengths 1 to W
    apart: bool

    @classmethod
    def of(cls, weights: Array, apart: bool) -> Lengths:
        """Shares in proportion to these weights [W]."""
        return cls(weights / weights.sum(), apart)

    @cached_property
    def expected(self) -> tuple[Array, Array]:
        """E[max(min(w, m), r)] = A[m, k] r + B[m, k] for a length w and k <= r < k + 1; m and k from 0 to W."""
        most = np.arange(len(self.shares) + 1)
        lengths = np.minimum(most[1:], most[:, None])[:, None]  # [m, 1, w]
        below = lengths <= most[:, None]  # [m, k, w]
        return (self.shares * below).sum(-1), (self.shares * lengths * ~below).sum(-1)


SPAN = Lengths.of(0.2 * 0.8 ** np.arange(10), apart=True)
"""SpanBERT's: Geometric(0.2) cut at 10, 3.8 words on average."""
NGRAM = Lengths.of(1 / np.arange(1, 4), apart=False)
"""ALBERT's (Lan 2019, 1909.11942, §4.1): up to three words, the probability of n in proportion to 1/n."""
UNILM = Lengths.of(np.array([0.8, 0.1, 0.1]), apart=False)
"""UniLM's (Dong 2019, 1905.03197, §2.3): one token four times in five, else two or three."""
SHORT = Lengths.of(np.ones(3), apart=False)
"""Those of GPT-BERT's release (Charpentier 2024, 2410.24159): up to three tokens, each length as likely."""


@dataclass(frozen=True)
class Words:
    """The words of a batch, by stretch."""

    begin: Array  # [U] the first place of each word
    end: Array  # [U] and the one after its last
    stretch_first: Array  # [S] the first word of each stretch
    counts: Array  # [S] words in each stretch

    @classmethod
    def of(cls, units: Array) -> Words:
        """The words that units say belong together."""
        begin, end = runs(units)
        first = np.flatnonzero(np.concatenate([begin[:1] >= 0, begin[1:] != end[:-1]]))
        return cls(begin, end, first, np.diff(first, append=len(begin)))


def choose_spans(units: Array, bits: Array, rate: float, kind: Lengths = SPAN) -> tuple[Array, Array]:
    """[M] places in spans, and [M] the first place of each one's span.

    SpanBERT draws spans until ``rate`` of the tokens is spent and cuts the last one short, inside a word if need be. To
    cut none, whether a further span is drawn is itself decided by chance, before its length is known, so that lengths
    keep their distribution and the words spent are ``rate`` of all on average. SpanBERT's never touch: a visible word
    lies between two. In stretches of few words a span may find no room; it is then shortened.
    """
    words = Words.of(units)
    numbers = bits[words.begin]  # [U] each word has its own
    lengths = _span_lengths(words, numbers, rate, kind)
    starts = _span_starts(words, numbers, lengths, kind)
    taken = lengths > 0
    first = (starts + words.stretch_first[:, None])[taken]
    begin, end = words.begin[first], words.end[first + lengths[taken] - 1]
    return inside(units, begin, end)


def _draws(words: Words, numbers: Array, n: int, columns: int) -> Array:
    """[S, K] numbers in [0, 1): span k of a stretch takes those of its k-th word."""
    at = np.minimum(words.stretch_first[:, None] + np.arange(columns), len(numbers) - 1)
    return fraction(again(numbers[at.ravel()], n)).reshape(at.shape)


def _span_lengths(words: Words, numbers: Array, rate: float, kind: Lengths) -> Array:
    """[S, K] words in each span, 0 where none is drawn any more."""
    budget = rate * words.counts[:, None]
    columns = int(np.ceil(budget.max(initial=0)))
    drawn = 1 + np.searchsorted(np.cumsum(kind.shares)[:-1], _draws(words, numbers, 3, columns), "right")
    spent = np.cumsum(drawn, axis=1) - drawn
    goes_on = _draws(words, numbers, 4, columns) < _goes_on(budget - spent, words.counts[:, None], kind)
    room = words.counts[:, None] - spent - kind.apart * np.arange(columns)  # of the words between spans
    lengths = np.maximum(np.minimum(drawn, room), 0) * np.logical_and.accumulate(goes_on, axis=1)
    # the span that spends the last of the budget is longer than others, so order is drawn too
    order = np.argsort(np.where(lengths > 0, _draws(words, numbers, 6, columns), 2.0), axis=1)
    return np.take_along_axis(lengths, order, axis=1)


def _goes_on(left: Array, most: Array, kind: Lengths) -> Array:
    """Probability of one more span when so many words are left to spend, such that just these are spent on average.

    With V(r) what is spent from r on, q(r) (E[w] + E[V(r - w)]) = V(r) = r gives q(r) = r / E[max(w, r)].
    A span is of ``most`` words at most.
    """
    (slopes, shifts), longest = kind.expected, len(kind.shares)
    left = np.maximum(left, 0)
    table = np.minimum(most, longest), np.minimum(left, longest).astype(np.int64)
    return np.asarray(left / (slopes[table] * left + shifts[table]))


def _span_starts(words: Words, numbers: Array, lengths: Array, kind: Lengths) -> Array:
    """[S, K] the word in its stretch at which each span begins: places drawn among the words that stay visible."""
    taken = lengths > 0
    gaps = np.cumsum(taken, axis=1)
    free = words.counts - lengths.sum(1) - kind.apart * np.maximum(taken.sum(1) - 1, 0)
    places = np.sort(np.where(taken, _draws(words, numbers, 5, lengths.shape[1]), 2.0), axis=1)
    before = np.cumsum(lengths, axis=1) - lengths + kind.apart * np.maximum(gaps - 1, 0)
    return (places * (free[:, None] + 1)).astype(np.int64) + before
