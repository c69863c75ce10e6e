"""Pure functions that hide parts of a text and say where. T tokens, M answers, U units.

Each works on a whole batch at once. What happens to a token is drawn by its address (sequence, epoch, place), never by
what was drawn before, so a sequence is corrupted alike whatever else is in its batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.text.chance import Chance, again, fraction
from unmask.text.corruption.spans import NGRAM, SPAN, UNILM, Lengths, choose_spans
from unmask.text.example import Array, Stream, Targets
from unmask.text.ranges import runs, stretches

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer

Unit = Literal["token", "whole_word", "ngram", "span", "unilm"]

SPANS: dict[Unit, Lengths] = {"ngram": NGRAM, "span": SPAN, "unilm": UNILM}


def mask_tokens(
    stream: Stream,
    tokenizer: Tokenizer,
    chance: Chance,
    rate: float = 0.15,
    mask: float = 0.8,
    random: float = 0.1,
    unit: Unit = "token",
) -> tuple[Stream, Targets]:
    """Hide a share of the tokens as BERT does (Devlin 2018, 1810.04805, §3.1), and ask for them.

    Of the chosen tokens a share of ``mask`` becomes [MASK], ``random`` any ordinary token, and the rest stays as it is.

    BERT shuffles a sequence's units and takes them until ``rate`` of its tokens is chosen: always the same number. Here
    each unit is chosen by itself with probability ``rate``: the same number on average (each token's chance is
    ``rate``, whatever its word's length), binomial about it, and found without sorting, for a whole batch at once.

    Args:
        stream: its units say what belongs together; -1, a special token, is never chosen.
        tokenizer: knows [MASK], and which tokens are ordinary.
        chance: of the stream's sequences.
        rate: share of the tokens to choose.
        mask: share of the chosen tokens that become [MASK].
        random: share of the chosen tokens that are replaced at random; may be the same token by chance.
        unit: ``token``; ``whole_word``: all tokens of a word or none, each with its own fate as in Google's release
            of 2019; ``ngram``: one to three words (Lan 2019, ALBERT, 1909.11942), each token with its own fate;
            ``span``: runs of words, one fate for all tokens of a span (Joshi 2019, SpanBERT, 1907.10529); ``unilm``:
            one to three tokens, each with its own fate (Dong 2019, UniLM, 1905.03197).

    Returns:
        The stream with tokens replaced, and the tokens that were at the chosen places, in order.
    """
    assert stream.units is not None
    bits = chance.bits(stream.lengths, "mask_tokens")
    index, decides = _choose(stream.units, bits, rate, unit)
    fate, replacement = fraction(again(bits[decides])), again(bits[index], 2)
    labels, tokens = stream.tokens[index], stream.tokens.copy()
    tokens[index[fate < mask]] = tokenizer.mask
    swapped = (fate >= mask) & (fate < mask + random)
    tokens[index[swapped]] = _ordinary(tokenizer, replacement[swapped])
    return replace(stream, tokens=tokens), Targets(index, labels.astype(np.int64))


def _choose(units: Array, bits: Array, rate: float, unit: Unit) -> tuple[Array, Array]:
    """[M] the chosen places, and [M] the places whose numbers decide what becomes of them."""
    if unit in SPANS:
        each = np.where(units < 0, -1, np.arange(len(units))) if unit == "unilm" else units
        chosen, first = choose_spans(each, bits, rate, SPANS[unit])
        return chosen, first if unit == "span" else chosen
    chosen = choose_tokens(units, bits, rate) if unit == "token" else choose_words(units, bits, rate)
    return chosen, chosen


def choose_tokens(units: Array, bits: Array, rate: float) -> Array:
    """[M] places, each chosen by itself."""
    return np.flatnonzero((bits < _threshold(rate)) & (units >= 0))


def choose_words(units: Array, bits: Array, rate: float) -> Array:
    """[M] places of whole units, each unit chosen by the number of its first token."""
    begin, end = runs(units)
    chosen, numbers = bits[begin] < _threshold(rate), units[begin]
    for part in np.flatnonzero(numbers[1:] == numbers[:-1]) + 1:  # of a unit that a special token parts
        chosen[part] = chosen[part - 1]
    which = np.flatnonzero(chosen)
    return stretches(begin[which], end[which] - begin[which])


def _threshold(rate: float) -> np.uint64:
    """A uint64 below which a share of ``rate`` lies."""
    return np.uint64(min(int(rate * 2**64), 2**64 - 1))


def _ordinary(tokenizer: Tokenizer, bits: Array) -> Array:
    """Tokens that are not special, each as likely."""
    ordinary = tokenizer.ordinary
    return ordinary[((bits >> np.uint64(32)) * np.uint64(len(ordinary))) >> np.uint64(32)]
