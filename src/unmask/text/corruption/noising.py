"""BART's ways to spoil a document (Lewis 2019, 1910.13461, §2.2), as pure functions of a batch. T tokens, N sequences.

A sequence is [CLS] document [SEP]: what stands around the document stays where it is. ``lead`` tokens stand before it,
none where a vocabulary has no [CLS].
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import exp, factorial
from typing import TYPE_CHECKING

import numpy as np

from unmask.text.chance import Chance, again, fraction
from unmask.text.corruption.spans import Lengths, choose_spans
from unmask.text.example import Array, Stream

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer


def delete_tokens(stream: Stream, chance: Chance, rate: float) -> Stream:
    """Token deletion: each ordinary token is taken out with this probability, and nothing stands in its place."""
    assert stream.units is not None
    deleted = (chance.tokens(stream.lengths, "delete_tokens") < rate) & (stream.units >= 0)
    return stream.pick(np.flatnonzero(~deleted))


def infill(stream: Stream, tokenizer: Tokenizer, chance: Chance, rate: float, mean: float) -> Stream:
    """Text infilling: each span becomes one mask token, and where a span has no length a mask token comes in.

    Spans are runs of words, their lengths drawn from a Poisson distribution. No span reaches over a special token.

    Args:
        stream: its units say what is a word.
        tokenizer: knows the mask token.
        chance: of the stream's sequences.
        rate: share of the tokens that spans take.
        mean: of the lengths of spans, those of no length among them.
    """
    assert stream.units is not None
    bits = chance.bits(stream.lengths, "infill")
    places, first = choose_spans(stream.units, bits, rate, _poisson(mean))
    begins, inside = np.zeros(len(bits), bool), np.zeros(len(bits), bool)
    begins[first] = True
    inside[places[places != first]] = True
    words = (stream.units >= 0) & (np.diff(stream.units, prepend=-1) != 0) & ~inside
    added = np.flatnonzero(words & (fraction(again(bits, 7)) < _empty(rate, mean)))
    kept = np.flatnonzero(~inside)
    copies = 1 + np.isin(kept, added)  # a mask token comes in as a copy of the token it stands before
    spoilt = stream.pick(np.repeat(kept, copies))
    masked = begins[np.repeat(kept, copies)]
    masked[(np.cumsum(copies) - copies)[copies > 1]] = True
    assert spoilt.units is not None
    return replace(
        spoilt, tokens=np.where(masked, tokenizer.mask, spoilt.tokens), units=np.where(masked, -1, spoilt.units)
    )


def permute_sentences(stream: Stream, chance: Chance, lead: int = 1) -> Stream:
    """Sentence permutation: the sentences of a document in any order, each as likely."""
    assert stream.sentences is not None
    begins = stream.sentences.copy()
    begins[stream.starts] = begins[stream.starts + lead] = begins[_ends(stream)] = True
    sentence = np.cumsum(begins) - 1
    lot = chance.bits(stream.lengths, "permute_sentences")[np.flatnonzero(begins)][sentence]
    edge = np.zeros(len(lot), np.int8)
    edge[stream.starts], edge[_ends(stream)] = -lead, 1
    return stream.pick(np.lexsort((sentence, lot, edge, stream.sequence)))


def rotate(stream: Stream, chance: Chance, lead: int = 1) -> Stream:
    """Document rotation: a document begins with any of its tokens, each as likely, and goes on from its end."""
    inner = stream.lengths - lead - 1
    first = (chance.sequences("rotate") * inner).astype(np.int64)
    turned = (stream.position - lead - first[stream.sequence]) % np.maximum(inner, 1)[stream.sequence]
    turned[stream.position < lead], turned[_ends(stream)] = -1, len(turned)
    return stream.pick(np.lexsort((turned, stream.sequence)))


def _ends(stream: Stream) -> Array:
    """[N] the last place of each sequence."""
    return stream.starts + stream.lengths - 1


@cache
def _poisson(mean: float) -> Lengths:
    """The lengths of spans that have any."""
    most = int(mean + 6 * mean**0.5) + 4  # longer ones come once in a hundred million spans
    return Lengths.of(np.array([mean**n / factorial(n) for n in range(1, most)]), apart=False)


def _empty(rate: float, mean: float) -> float:
    """Probability of a span without length before a word that is seen or begins a span.

    Spans are rate / mean of the words, and a share of e^-mean of these has no length. Inside spans nothing comes in.
    """
    longest = mean / (1 - exp(-mean))  # of those that have any length, on average
    return rate / mean * exp(-mean) / (1 - rate * (1 - 1 / longest))
