"""Articles with fields as tokens: each field between its own two tokens, in their usual order, the text last.

T tokens, P articles, C fields with the text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmask.text.example import Array
from unmask.text.sources.documents import Piece
from unmask.text.sources.sentences import sentences
from unmask.text.tokens.fields import fields_of
from unmask.text.tokens.tokenizer import Tokenizer


def cut(pieces: Sequence[Piece], tokenizer: Tokenizer, language: str) -> tuple[Array, Array, Array, Array]:
    """[T] tokens, [T] where words begin, [T] where sentences begin, [P] tokens of each article.

    Fields go with the first sentence of the text, so that no sequence has them without it. Those that are empty are
    left out.
    """
    texts: list[str] = []  # fields, and sentences of the text
    around: list[tuple[int, int]] = []  # the tokens before and after each; -1: none
    owner: list[int] = []  # the article of each
    known = list(fields_of(tokenizer).values())
    for number, piece in enumerate(pieces):
        parts = [*([field] if field.strip() else [] for field in piece.fields), sentences(piece.text, language)]
        for (begin, end), part in zip(known, parts, strict=True):
            texts += part
            last = len(part) - 1
            around += [(begin if n == 0 else -1, end if n == last else -1) for n in range(len(part))]
            owner += [number] * len(part)
    ids, lengths = tokenizer.encode_flat(texts, specials=False)
    starts = np.cumsum(lengths) - lengths
    marks = np.array(around)  # [texts, 2]
    words, borders = tokenizer.word_starts(ids, starts), np.zeros(len(ids), bool)
    borders[starts[(marks[:, 0] < 0) & (lengths > 0)]] = True
    places = np.stack([starts, starts + lengths], axis=1)[marks >= 0]
    ids, words, borders = (
        np.insert(array, places, new) for array, new in ((ids, marks[marks >= 0]), (words, True), (borders, False))
    )
    sizes = np.bincount(owner, lengths + (marks >= 0).sum(1), len(pieces)).astype(np.int64)
    borders[np.cumsum(sizes) - sizes] = True
    return ids, words, borders, sizes
