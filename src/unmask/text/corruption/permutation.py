"""Which tokens are predicted from which, where no token is replaced (Yang 2019, XLNet, 1906.08237).

T tokens, N sequences, M targets, S stretches (runs of tokens without special ones in them), U words.
"""

from __future__ import annotations

import numpy as np

from unmask.text.chance import again, fraction
from unmask.text.corruption.spans import Words
from unmask.text.example import Array, Stream
from unmask.text.ranges import inside


def choose_in_context(units: Array, bits: Array, k: int, longest: int) -> Array:
    """[M] places of spans of words, each somewhere inside a window of ``k`` times as many words, in order.

    As in XLNet's release (``_sample_mask``) windows stand side by side, and a span has n of up to ``longest`` words
    with a probability in proportion to 1/n. There a context of ``k * n`` tokens is added to n words, and then single
    tokens until a fixed number is reached; here a window is ``k * n`` words with its span in it (§3.1 of the paper), so
    that one in ``k`` words is chosen on average. What lies beyond the end of a stretch is not there to be chosen.
    """
    words = Words.of(units)
    here, last = words.stretch_first, words.stretch_first + words.counts  # [S] of windows, in words
    shares = np.cumsum(1 / np.arange(1, longest + 1))
    chosen = np.zeros(len(units), bool)
    while len(here):
        bits_here = bits[words.begin[here]]
        length = 1 + np.searchsorted(shares, fraction(again(bits_here)) * shares[-1], "right")
        first = here + (fraction(again(bits_here, 2)) * ((k - 1) * length + 1)).astype(np.int64)
        past, there = np.minimum(first + length, last), first < last
        begin, end = words.begin[first[there]], words.end[past[there] - 1]
        chosen[inside(units, begin, end)[0]] = True
        here = here + k * length
        here, last = here[here < last], last[here < last]
    return np.flatnonzero(chosen)


def factorisation_order(stream: Stream, index: Array, marks: Array, bits: Array) -> Array:
    """[T] each token's number in its sequence's factorisation order: it is seen by those with higher numbers alone.

    All that is given has number 0 and comes first; targets have numbers from 1 on, in an order that chance draws. So do
    marks (``[CLS]``, ``[SEP]``), which are not predicted, but see what stands before them in the order. A sequence in
    which nothing is given begins with its first token, for the first target must see something.

    Args:
        stream: N sequences.
        index: [M] the targets.
        marks: [T] bool.
        bits: [T] uint64 that decide.
    """
    drawn = marks.copy()
    drawn[index] = True
    given = np.add.reduceat(~drawn, stream.starts) > 0
    drawn[stream.starts[~given]] = False
    drawn = np.flatnonzero(drawn)
    sequence = stream.sequence[drawn]
    ranked = drawn[np.lexsort((bits[drawn], sequence))]  # by sequence, each in its own order
    order = np.zeros(len(stream.tokens), np.int64)
    order[ranked] = 1 + np.arange(len(ranked)) - np.searchsorted(sequence, sequence)
    return order


def queries(stream: Stream, index: Array, mask: int) -> Stream:
    """The stream that asks at these places [M]: of tokens without a face, whose numbers are one lower than their own.

    So each of them sees what comes before it in the order, and not the token that stands at its place.
    """
    assert stream.order is not None
    return Stream(
        np.full(len(index), mask, stream.tokens.dtype),
        np.bincount(stream.sequence[index], minlength=len(stream.lengths)),
        None if stream.segments is None else stream.segments[index],
        order=stream.order[index] - 1,
        places=stream.position[index],
    )
