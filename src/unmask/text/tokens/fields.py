"""Fields of an article (domain, headline, …, and its text) as tokens, each between two of its own.

The tokens belong to the tokenizer, in the fields' usual order, the text's last; so a model knows them wherever it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from unmask.errors import UserError
from unmask.text.example import Array
from unmask.text.tokens.tokenizer import Tokenizer

_BEGIN = re.compile(r"<\|([^/|][^|]*)\|>")


class Vocabulary(Protocol):
    """What is wanted of a tokenizer."""

    @property
    def extra(self) -> tuple[str, ...]:
        """Its special tokens that play no role."""

    def ids(self, names: Sequence[str]) -> Array:
        """Their numbers."""


def marks(names: Iterable[str]) -> list[str]:
    """The tokens around these fields.

    >>> marks(["date", "text"])
    ['<|date|>', '<|/date|>', '<|text|>', '<|/text|>']
    """
    return [mark for name in names for mark in (f"<|{name}|>", f"<|/{name}|>")]


def fields_of(tokenizer: Vocabulary) -> dict[str, tuple[int, int]]:
    """The numbers of the tokens that begin and end each field, by its name; the text comes last."""
    begun = (_BEGIN.fullmatch(token) for token in tokenizer.extra)
    names = [begin[1] for begin in begun if begin and f"<|/{begin[1]}|>" in tokenizer.extra]
    begins, ends = tokenizer.ids(marks(names)).reshape(-1, 2).T.tolist() if names else ((), ())
    return dict(zip(names, zip(begins, ends, strict=True), strict=True))


def prompt(tokenizer: Tokenizer, given: Mapping[str, str], wanted: str) -> tuple[Array, int]:
    """What a model is given to write a field: the others, in their usual order, and the token that begins it.

    Args:
        tokenizer: knows the fields.
        given: any of them, as text.
        wanted: the one that is to be written.

    Returns:
        The tokens [L], and the one that ends what is written.

    Raises:
        UserError: a field is not known, or the one wanted is given.
    """
    known = fields_of(tokenizer)
    if unknown := next((name for name in (*given, wanted) if name not in known), None):
        raise UserError(f"field {unknown}: not known to this tokenizer; {', '.join(known) or 'none'} would fit")
    if wanted in given:
        raise UserError(f"field {wanted}: is given already; leave it out where it is to be written")
    parts = [[tokenizer.cls]]
    for name, (begin, end) in known.items():
        if name in given:
            parts.append([begin, *tokenizer.encode_flat([given[name]], specials=False)[0].tolist(), end])
    begin, end = known[wanted]
    return np.array([token for part in (*parts, [begin]) for token in part], np.int64), end
