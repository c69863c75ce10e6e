"""N-grams of letters and their hashes (Bojanowski 2016, 1607.04606, §3.2). V vocabulary, G n-grams of all tokens."""

from __future__ import annotations

import numpy as np

from unmask.text.example import Array
from unmask.text.tokens.tokenizer import Tokenizer

SHORTEST, LONGEST = 3, 6
"""Letters of a token's n-grams, as in the paper."""
SPECIAL = "\udcff"  # as bytes the one that no text has
_OFFSET, _PRIME, _32 = 2166136261, 16777619, 0xFFFFFFFF


def ngrams(word: str, least: int, most: int, begin: str = "<", end: str = ">") -> list[str]:
    """Every stretch of so many letters of a word between its two marks, but for the marks alone."""
    marked = begin + word + end
    inside = range(len(begin), len(begin) + len(word))
    return [
        marked[start : start + n]
        for start in range(len(marked))
        for n in range(least, most + 1)
        if start + n <= len(marked) and not (n == 1 and start not in inside)
    ]


def hashed(ngram: str) -> int:
    """FNV-1a of 32 bits as in fastText, which takes bytes for signed ones."""
    value = _OFFSET
    for byte in ngram.encode(errors="surrogateescape"):
        value = ((value ^ (byte | 0xFFFFFF00 if byte > 0x7F else byte)) * _PRIME) & _32
    return value


def of_token(surface: bytes) -> list[str]:
    """The n-grams of a token that stands for this text; what is too short for one is one.

    A space before it says that a word begins and is its mark; few vocabularies say where words end, by a space behind.
    Bytes that are no whole letter are letters.
    """
    text = surface.decode(errors="surrogateescape")
    begin, end = "<" * text.startswith(" "), ">" * (len(text) > 1 and text.endswith(" "))
    word = text[len(begin) : len(text) - len(end)]
    return ngrams(word, SHORTEST, LONGEST, begin, end) or [begin + word + end]


def of_vocabulary(tokenizer: Tokenizer, buckets: int) -> tuple[Array, Array]:
    """The hashed n-grams of all tokens end to end [G], and how many each has [V]; a special token has its name."""
    names = tokenizer.tokens(range(tokenizer.size))
    parts = zip(tokenizer.alphabet.surface, names, tokenizer.special.tolist(), strict=True)
    found = [[SPECIAL + name] if special else of_token(surface) for surface, name, special in parts]
    return np.array([hashed(ngram) % buckets for each in found for ngram in each]), np.array(
        [len(each) for each in found]
    )
