"""Pure functions that hide parts of a text and say where. T tokens, M answers, U units.

Each works on a whole batch at once. What happens to a token is drawn by its address (sequence, epoch, place), never by
what was drawn before, so a sequence is corrupted alike whatever else is in its batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.errors import UserError
from unmask.text import borders
from unmask.text.chance import Chance, again, fraction
from unmask.text.corruption.spans import NGRAM, SHORT, SPAN, UNILM, Lengths, choose_spans
from unmask.text.example import Array, Stream, Targets
from unmask.text.ranges import begins, onwards

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer

Unit = Literal["token", "whole_word", "phrase", "entity", "ngram", "span", "unilm", "short_span"]

LARGER: dict[Unit, str] = {"phrase": "phrases", "entity": "entities"}
SPANS: dict[Unit, Lengths] = {"ngram": NGRAM, "span": SPAN, "unilm": UNILM, "short_span": SHORT}


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
        unit: ``token``; ``whole_word``: all tokens of a word or none, as in Google's release of 2019; ``phrase`` and
            ``entity``: all tokens of one, or of a word that is part of none (Sun 2019, ERNIE, 1904.09223, §3.2);
            ``ngram``: one to three words (Lan 2019, ALBERT, 1909.11942); ``unilm``: one to three tokens (Dong 2019,
            UniLM, 1905.03197); ``span``: runs of words (Joshi 2019, SpanBERT, 1907.10529); ``short_span``: one to three
            tokens (Charpentier 2024, GPT-BERT, 2410.24159). All tokens of a span of the last two kinds have one fate;
            in the other units each has its own, as in the releases.

    Raises:
        UserError: phrases or entities are wanted and the corpus has none.

    Returns:
        The stream with tokens replaced, and the tokens that were at the chosen places, in order.
    """
    bits = chance.bits(stream.lengths, "mask_tokens")
    index, decides = _choose(_units(stream, unit), bits, rate, unit)
    fate = fraction(again(bits[decides]))
    hidden = hide(stream, index, fate, again(bits[index], 2), tokenizer, tokenizer.mask, mask, random)
    return hidden, Targets(index, stream.tokens[index].astype(np.int64))


def hide(
    stream: Stream, index: Array, fate: Array, bits: Array, tokenizer: Tokenizer, by: int, mask: float, random: float
) -> Stream:
    """Replace tokens, or keep them.

    Args:
        stream: the text.
        index: [M] the chosen places.
        fate: [M] below ``mask`` a token becomes ``by``, below that and ``random`` together any ordinary one.
        bits: [M] which one.
        tokenizer: knows which tokens are ordinary.
        by: what hides a token, as [MASK].
        mask: a share of the chosen tokens.
        random: another.
    """
    tokens = stream.tokens.copy()
    tokens[index[fate < mask]] = by
    swapped = (fate >= mask) & (fate < mask + random)
    tokens[index[swapped]] = _ordinary(tokenizer, bits[swapped])
    return replace(stream, tokens=tokens)


def refuse_shares(mask: float, random: float) -> None:
    """Refuse, with a `ValueError`, shares of what is hidden that are more than all of it."""
    if mask + random > 1 + 1e-9:
        raise ValueError(f"mask {mask:g} + random {random:g} is more than 1; the two share what is hidden")


def rate_at(rate: float, last: float | None, done: float) -> float:
    """The rate when this share of the training is behind, on a straight line to the last one if there is one."""
    return rate if last is None else rate + (last - rate) * done


def _choose(units: Array, bits: Array, rate: float, unit: Unit) -> tuple[Array, Array]:
    """[M] the chosen places, and [M] the places whose numbers decide what becomes of them."""
    if unit in SPANS:
        each = np.where(units < 0, -1, np.arange(len(units))) if unit in ("unilm", "short_span") else units
        chosen, first = choose_spans(each, bits, rate, SPANS[unit])
        return chosen, first if unit in ("span", "short_span") else chosen
    chosen = choose_tokens(units, bits, rate) if unit == "token" else choose_words(units, bits, rate)
    return chosen, chosen


def _units(stream: Stream, unit: Unit) -> Array:
    """[T] the number of each token's word, phrase or entity, -1 for special tokens."""
    assert stream.units is not None
    if unit not in LARGER:
        return stream.units
    name, flag = LARGER[unit], borders.LARGER[LARGER[unit]]
    if stream.begins is None or not borders.known(stream.begins) & flag:
        raise UserError(
            f"objective.masked_lm.unit {unit}: no {name} are known in this text; give --{name} where it is prepared, "
            f"or --{unit}-column"
        )
    return np.where(stream.units < 0, -1, np.cumsum(stream.begins & flag > 0, dtype=np.int32) - 1)


def choose_tokens(units: Array, bits: Array, rate: float) -> Array:
    """[M] places, each chosen by itself."""
    return np.flatnonzero((bits < _threshold(rate)) & (units >= 0))


def choose_words(units: Array, bits: Array, rate: float) -> Array:
    """[M] places of whole units, each unit chosen by the number of its first token."""
    # to look at the tokens whose number is low is several times as fast as to find all units first
    low = np.flatnonzero(bits < _threshold(rate))
    return onwards(units, low[begins(units, low)])


def _threshold(rate: float) -> np.uint64:
    """A uint64 below which a share of ``rate`` lies."""
    return np.uint64(min(int(rate * 2**64), 2**64 - 1))


def _ordinary(tokenizer: Tokenizer, bits: Array) -> Array:
    """Tokens that are not special, each as likely."""
    ordinary = tokenizer.ordinary
    return ordinary[((bits >> np.uint64(32)) * np.uint64(len(ordinary))) >> np.uint64(32)]
