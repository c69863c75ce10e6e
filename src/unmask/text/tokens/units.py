"""Which tokens belong together: where words begin, for any tokenizer, without offsets.

Offsets cannot be trusted (whether they include the space before a word depends on a post-processor), and running a
segmenter before the tokenizer would change the tokens. So words are read off the tokens themselves: every entry of the
vocabulary is classified once by its first and last character, and a token continues a word where its first character
cannot begin one, or where letters or digits meet letters or digits. Runs of Chinese are cut by jieba.

T tokens, V vocabulary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from unmask.text.example import Array

OTHER, SPACE, WORD, HAN, SPACED_HAN, INNER, ALONE = range(7)
"""Punctuation (each mark is a word) · white space, and what it leads · letters and digits · Chinese · Chinese after a
space · the inside of a character or word · (seen from the right) a space alone, which leads what follows."""

CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters, as a regular expression's ranges."""
_HAN = re.compile(f"[{CHINESE}]")
_TIGHT = f"[{CHINESE}\u3001\u3002\u300a-\u300f\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f]"  # with Chinese marks
_GAP = re.compile(f"(?<={_TIGHT}) | (?={_TIGHT})")
_MARKS = ("Mn", "Mc", "Me", "Cf")


def written(words: Sequence[str]) -> str:
    """Words as a sentence: a space between them, but not between Chinese ones."""
    glued = [is_han(a[-1:]) and is_han(b[:1]) for a, b in pairwise(words)]
    return "".join([*words[:1], *(w if near else " " + w for near, w in zip(glued, words[1:], strict=True))])


def closed_up(text: str) -> str:
    """Without spaces beside Chinese characters and marks: texts have none there, but what pieces decode to has."""
    return _GAP.sub("", text)


def is_han(character: str) -> bool:
    """Whether this is a Chinese character."""
    return bool(_HAN.match(character))


@dataclass(frozen=True)
class Alphabet:
    """What each entry of a vocabulary looks like from its left and from its right."""

    surface: list[bytes]  # [V] the text an entry stands for, with spaces as spaces
    size: Array  # [V] bytes in that text
    first: Array  # [V] the class of its first character
    last: Array  # [V] the class of its last character; INNER: that of the token before

    @classmethod
    def of(cls, surface: list[bytes], inner: Array) -> Alphabet:
        """Classify a vocabulary of these V texts; ``inner`` [V] marks entries that never begin a word (``##ing``)."""
        first = np.array([_first(s) for s in surface], np.uint8)
        last = np.array([_last(s) for s in surface], np.uint8)
        first[inner] = INNER
        return cls(surface, np.array([len(s) for s in surface]), first, last)

    def word_starts(self, ids: Array, starts: Array) -> Array:
        """[T] bool: this token begins a word.

        Args:
            ids: [T] of texts laid end to end.
            starts: where the texts begin, which is also where a word begins.
        """
        first, last = self.first[ids], _fill(self.last[ids])
        begins: Array = first != INNER
        begins[1:] &= ~((first[1:] == WORD) & (last[:-1] == WORD))
        starts = starts[starts < len(ids)]
        chinese = (first == HAN) | (first == SPACED_HAN) | ((first == INNER) & (last == HAN))
        if chinese.any():
            runs = chinese.copy()
            runs[1:] &= ~chinese[:-1] | (first[1:] == SPACED_HAN)
            runs[starts] |= chinese[starts]
            self._cut_chinese(ids[chinese], runs[chinese], begins, np.flatnonzero(chinese))
        begins[1:] &= (last[:-1] != ALONE) | (first[1:] == SPACE) | (first[1:] == SPACED_HAN)
        begins[starts] = True
        return begins

    def _cut_chinese(self, ids: Array, runs: Array, begins: Array, places: Array) -> None:
        """Let jieba say which of these tokens begin a word; ``runs``: this one begins a run. Changes ``begins``."""
        import rjieba

        text = b"".join(
            [
                b"\n" + self.surface[i] if run else self.surface[i]
                for i, run in zip(ids.tolist(), runs.tolist(), strict=True)
            ]
        )
        try:
            words = rjieba.cut(text.decode())
        except UnicodeDecodeError:  # broken characters (an unknown byte): tokens that are whole ones stay words
            return
        ends = np.zeros(len(text) + 1, bool)
        ends[np.cumsum([len(word.encode()) for word in words])] = True
        sizes = self.size[ids] + runs
        begins[places] = ends[np.cumsum(sizes) - self.size[ids]] | runs


def _fill(classes: Array) -> Array:
    """[T] with each INNER replaced by the class before it."""
    known = np.where(classes != INNER, np.arange(len(classes)), 0)
    return classes[np.maximum.accumulate(known)] if len(classes) else classes


def _first(surface: bytes) -> int:
    if not surface or surface[0] & 0xC0 == 0x80:  # the inside of a character of several bytes
        return INNER
    if surface[0] == 0x20:
        return SPACED_HAN if _first(surface.lstrip()) == HAN else SPACE
    size = 1 if surface[0] < 0x80 else 2 if surface[0] < 0xE0 else 3 if surface[0] < 0xF0 else 4
    return class_of(surface[:size])


def _last(surface: bytes) -> int:
    at = len(surface) - 1
    while at >= 0 and surface[at] & 0xC0 == 0x80:
        at -= 1
    if at < 0:
        return INNER
    return ALONE if surface == b" " else class_of(surface[at:])


@lru_cache(1 << 12)  # tens of thousands of entries begin and end with hundreds of characters
def class_of(character: bytes) -> int:
    """The class of one character, or of the bytes that begin one."""
    try:
        c = character.decode()
    except UnicodeDecodeError:
        return _class_of_lead(character[0])
    if c.isspace():
        return SPACE
    if is_han(c):
        return HAN
    return WORD if c.isalnum() or unicodedata.category(c) in _MARKS else OTHER


def _class_of_lead(byte: int) -> int:
    """The class that most characters have which begin with this byte of UTF-8."""
    if byte in (0xC2, 0xE2) or byte >= 0xF0:  # signs; punctuation; emoji
        return OTHER
    return HAN if 0xE4 <= byte <= 0xE9 else WORD
