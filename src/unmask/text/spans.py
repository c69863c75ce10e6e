"""Spans of words as SpanBERT draws them (Joshi 2019, 1907.10529, §3.1), for a whole batch at once.

A *stretch* is a run of tokens without special ones in it; spans lie inside stretches. S stretches, K spans at most in
one, U words. Lengths are counted in words, Geometric(0.2) cut at 10: 3.8 words on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unmask.text.chance import again, fraction
from unmask.text.example import Array
from unmask.text.sequences import stretches

LENGTHS = np.arange(1, 11)
SHARES = 0.2 * 0.8 ** (LENGTHS - 1) / (1 - 0.8**10)


@dataclass(frozen=True)
class _Words:
    """The words of a batch, by stretch."""

    places: Array  # [E] every token that is not special
    first: Array  # [U+1] the first of ``places`` in each word, and E
    stretch_first: Array  # [S] the first word of each stretch
    counts: Array  # [S] words in each stretch

    @classmethod
    def of(cls, units: Array) -> _Words:
        places = np.flatnonzero(units >= 0)
        borders = np.diff(units[places], prepend=-1) != 0
        gaps = np.diff(places, prepend=-2) != 1
        first = np.flatnonzero(borders | gaps)
        stretch_first = np.flatnonzero(gaps[first])
        return cls(places, np.append(first, len(places)), stretch_first, np.diff(stretch_first, append=len(first)))


def choose_spans(units: Array, bits: Array, rate: float) -> tuple[Array, Array]:
    """[M] places in spans, and [M] the first place of each one's span.

    SpanBERT draws spans until ``rate`` of the tokens is spent and cuts the last one short, inside a word if need be. To
    cut none, whether a further span is drawn is itself decided by chance, before its length is known, so that lengths
    keep their distribution and the words spent are ``rate`` of all on average. Spans never touch: a visible word lies
    between two. In stretches of few words a span may find no room; it is then shortened.
    """
    words = _Words.of(units)
    numbers = bits[words.places[words.first[:-1]]]  # [U] each word has its own
    lengths = _span_lengths(words, numbers, rate)
    starts = _span_starts(words, numbers, lengths)
    taken = lengths > 0
    first = (starts + words.stretch_first[:, None])[taken]
    begin, end = words.first[first], words.first[first + lengths[taken]]
    index = words.places[stretches(begin, end - begin)]
    return index, np.repeat(words.places[begin], end - begin)


def _draws(words: _Words, numbers: Array, n: int, columns: int) -> Array:
    """[S, K] numbers in [0, 1): span k of a stretch takes those of its k-th word."""
    at = words.stretch_first[:, None] + np.arange(columns)
    return fraction(again(numbers, n))[np.minimum(at, len(numbers) - 1)]


def _span_lengths(words: _Words, numbers: Array, rate: float) -> Array:
    """[S, K] words in each span, 0 where none is drawn any more."""
    budget = rate * words.counts[:, None]
    columns = int(np.ceil(budget.max(initial=0)))
    drawn = 1 + np.searchsorted(np.cumsum(SHARES)[:-1], _draws(words, numbers, 3, columns), "right")
    spent = np.cumsum(drawn, axis=1) - drawn
    goes_on = _draws(words, numbers, 4, columns) < _goes_on(budget - spent, words.counts[:, None])
    room = words.counts[:, None] - spent - np.arange(columns)  # one word stays between spans
    lengths = np.maximum(np.minimum(drawn, room), 0) * np.logical_and.accumulate(goes_on, axis=1)
    # the span that spends the last of the budget is longer than others, so order is drawn too
    order = np.argsort(np.where(lengths > 0, _draws(words, numbers, 6, columns), 2.0), axis=1)
    return np.take_along_axis(lengths, order, axis=1)


def _goes_on(left: Array, most: Array) -> Array:
    """Probability of one more span when so many words are left to spend, such that just these are spent on average.

    With V(r) what is spent from r on, q(r) (E[w] + E[V(r - w)]) = V(r) = r gives q(r) = r / E[max(w, r)].
    A span is of ``most`` words at most.
    """
    left = np.maximum(left, 0)
    fair = sum(
        share * np.maximum(np.minimum(length, most), left) for length, share in zip(LENGTHS, SHARES, strict=True)
    )
    return np.asarray(left / fair)


def _span_starts(words: _Words, numbers: Array, lengths: Array) -> Array:
    """[S, K] the word in its stretch at which each span begins: places drawn among the words that stay visible."""
    taken = lengths > 0
    gaps = np.cumsum(taken, axis=1)
    free = words.counts - lengths.sum(1) - np.maximum(taken.sum(1) - 1, 0)
    places = np.sort(np.where(taken, _draws(words, numbers, 5, lengths.shape[1]), 2.0), axis=1)
    before = np.cumsum(lengths, axis=1) - lengths + np.maximum(gaps - 1, 0)
    return (places * (free[:, None] + 1)).astype(np.int64) + before
