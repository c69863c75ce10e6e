"""Finds the entries of a lexicon in text that is tokens already, longest first, for any tokenizer and language.

Entries are matched word by word on what the tokens stand for, so it does not matter how a word was cut into tokens, nor
how a segmenter cut an entry: 北京大学 is found in 北京 大学 and in 北京大学, but not where it begins or ends inside one
of the text's words. Spaces around punctuation and Chinese do not count; case does where the tokenizer keeps it.

A stretch of words is known by a number that grows from left to right: hash(ab) = hash(a) Q^|b| + hash(b), modulo 2^64,
|b| in bytes. So all words of a batch walk along the entries together, a word at a time, and most drop out at the first.

T tokens, W words, U matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import numpy as np

from unmask.text.example import Array
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.units import CHINESE, HAN, OTHER, SPACE, SPACED_HAN, WORD, class_of

_Q, _BITS = 0x9E3779B97F4A7C15, (1 << 64) - 1
_STEP = re.compile(f"[{CHINESE}]| ?[^ {CHINESE}]+")


class Lexicon:
    """Entries of one or several words.

    Args:
        entries: text; one that the tokenizer has no tokens for is left out.
        tokenizer: whose tokens the text will be.
    """

    entries: int  # that can be found

    def __init__(self, entries: Iterable[str], tokenizer: Tokenizer):
        self.words = Words(tokenizer)
        step_of = cache(lambda step: (_number(step.encode()), _power(len(step.encode()))))
        whole, begun = set(), set()
        for text in filter(None, self.words.spelled(list(entries))):
            number = 0
            for step, power in map(step_of, _STEP.findall(text)):
                number = (number * power + step) & _BITS
                begun.add(number)
            whole.add(number)
        self.entries = len(whole)
        self._whole, self._begun = _Numbers(whole), _Numbers(begun)

    def find(self, ids: Array, words: Array, sentences: Array) -> tuple[Array, Array]:
        """The first word [U] of each match of several words, and its words [U].

        Of matches that overlap the one that begins first is taken, and of these the longest.

        Args:
            ids: [T].
            words: [T] not 0: this token begins a word.
            sentences: [T] bool: this token begins a sentence; no match goes on in the next.
        """
        places = np.flatnonzero(words)
        numbers, powers = self.words.numbers(ids, places)
        sentence = np.append(np.cumsum(sentences)[places], -1)
        longest = np.zeros(len(places), np.int64)
        here, walked, n = np.arange(len(places)), numbers, 1
        while len(here):
            on = self._begun.perhaps(walked)
            on = on[sentence[here[on] + n] == sentence[here[on]]]
            here, walked = here[on], walked[on]
            walked = walked * powers[here + n] + numbers[here + n]
            n += 1
            longest[here[self._whole.has(walked)]] = n
        return _leftmost(longest)


class Words:
    """Words as numbers: the same for the same text, however it is cut into tokens."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, alphabet = tokenizer, tokenizer.alphabet
        self.content = [_apart(surface) for surface in alphabet.surface]
        for special in np.flatnonzero(tokenizer.special).tolist():
            self.content[special] = b"\0"  # in no entry
        self._number = np.array([_number(content) for content in self.content], np.uint64)
        self._power = np.array([_power(len(content)) for content in self.content], np.uint64)
        self._alone = np.array([not content for content in self.content])
        self.letters = np.isin(alphabet.last, (WORD, HAN))  # [V] whether an entry ends as words do, not punctuation
        self._han = np.isin(alphabet.first, (HAN, SPACED_HAN))

    def numbers(self, ids: Array, places: Array) -> tuple[Array, Array]:
        """[W] uint64 of the words that begin at these places, and [W] Q to the power of their bytes."""
        sizes = np.diff(places, append=len(ids))
        first = ids[places]
        numbers, powers = self._number[first], self._power[first]
        # Chinese is written without spaces; every other word counts with one before it
        spaced = self._spaced(ids, places)
        numbers[spaced] += powers[spaced] * np.uint64(_number(b" "))
        powers[spaced] *= np.uint64(_Q)
        here, n = np.flatnonzero(sizes > 1), 1
        while len(here):
            token = ids[places[here] + n]
            numbers[here] = numbers[here] * self._power[token] + self._number[token]
            powers[here] *= self._power[token]
            n += 1
            here = here[sizes[here] > n]
        return numbers, powers

    def texts(self, ids: Array, places: Array, starts: Array, ends: Array) -> list[str]:
        """What stretches of tokens stand for, with a space before each mark and each word that is not Chinese.

        Args:
            ids: [T].
            places: [W] where words begin.
            starts, ends: of the stretches.
        """
        parts = [self.content[i] for i in ids.tolist()]
        for place in places[self._spaced(ids, places)].tolist():
            parts[place] = b" " + parts[place]
        edges = zip(starts.tolist(), ends.tolist(), strict=True)
        return [b"".join(parts[start:end]).decode(errors="replace") for start, end in edges]

    def spelled(self, entries: list[str]) -> list[str]:
        """These texts as the tokenizer sees them; nothing where it has no tokens for them, or unknown ones."""
        if not entries:
            return []
        ids, lengths = self.tokenizer.encode_flat(entries, specials=False)
        ends = np.cumsum(lengths)
        words = self.tokenizer.word_starts(ids, ends - lengths)
        unknown = np.repeat(np.arange(len(entries)), lengths)[self.tokenizer.special[ids]]
        lengths[unknown] = 0
        return self.texts(ids, np.flatnonzero(words), ends - lengths, ends)

    def _spaced(self, ids: Array, places: Array) -> Array:
        """[W] whether a word is not Chinese. A space may lead it, as a token of its own."""
        led = self._alone[ids[places]]
        led[led] = np.diff(places, append=len(ids))[led] > 1
        spaced: Array = ~self._han[ids[places + led]]
        return spaced


def _apart(surface: bytes) -> bytes:
    """The text of an entry of the vocabulary, marks and words in it apart as if they were entries of their own."""
    found, before = "", OTHER
    for character in surface.decode(errors="surrogateescape"):
        if "\udc80" <= character <= "\udcff":  # a byte of a character that several entries share
            found += character
            continue
        kind = class_of(character.encode())
        if kind != SPACE:
            goes_on = kind == HAN or before == kind == WORD
            found += character if goes_on or not found else " " + character
        before = kind
    return found.encode(errors="surrogateescape")


class _Numbers:
    """A set of numbers [K] uint64 that is asked for many at once; most of them are not in it."""

    def __init__(self, numbers: Iterable[int]):
        self.sorted = np.sort(np.array(list(numbers), np.uint64))
        bits = max(16, 8 * len(self.sorted)).bit_length()
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[self.sorted >> self._shift] = True

    def perhaps(self, numbers: Array) -> Array:
        """The places of those that are in the set, and of a few others."""
        return np.flatnonzero(self._table[numbers >> self._shift])

    def has(self, numbers: Array) -> Array:
        """The places of those that are in the set."""
        places = self.perhaps(numbers)
        at = np.searchsorted(self.sorted, numbers[places])
        return places[self.sorted.take(at, mode="clip") == numbers[places]]


@cache
def _power(size: int) -> int:
    return pow(_Q, size, 1 << 64)


def _number(content: bytes) -> int:
    number = 0
    for byte in content:
        number = (number * _Q + byte + 1) & _BITS
    return number


def _leftmost(longest: Array) -> tuple[Array, Array]:
    """Of the matches that begin at words [W] (with so many words; 0: none) those that no earlier one overlaps."""
    starts = np.flatnonzero(longest)
    taken, free = [], 0
    for n, (start, length) in enumerate(zip(starts.tolist(), longest[starts].tolist(), strict=True)):
        if start >= free:
            taken.append(n)
            free = start + length
    first = starts[taken]
    return first, longest[first]
