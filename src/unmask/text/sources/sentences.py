"""Sentences, so that nothing of the text is lost.

`sentencex` (Wikimedia) cuts them, for some 240 languages, Chinese included. It is given a paragraph at a time: faced
with a whole book it takes everything between two stray quotation marks for one sentence, and takes its time.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from functools import cache

PARAGRAPH = 2000
"""Characters that are looked at together; a sentence that is longer is cut."""

_FINAL = tuple('.!?:;。！？：；…"”’»)]')
_STOP = re.compile(r"[.!?。！？；;](?=\s|[^\x00-\x7f])")
_SPACE = re.compile(r"\s")


def sentences(text: str, language: str = "en") -> list[str]:
    """Cut a document.

    Args:
        text: a document; joined, the sentences give it back but for white space at its end.
        language: a code such as ``en``, ``zh``; one that `sentencex` has no rules for is cut as English.

    Returns:
        Sentences that begin with the white space before them, as tokenizers like to have it.
    """
    found: list[str] = []
    space = ""
    for paragraph in _paragraphs(text):
        for piece in _cut(paragraph, language):
            bare = piece.rstrip()
            if bare and found and not space and _marks(found[-1][-1], bare[0]):
                found[-1] += bare
                space = piece[len(bare) :]
            elif bare:
                found.append(space + bare)
                space = piece[len(bare) :]
            else:
                space += piece
    return found


def _marks(before: str, after: str) -> bool:
    """Whether a cut would part marks that stand together, which byte-level tokenizers take for one word."""
    return all(c.isascii() and not c.isalnum() and not c.isspace() for c in before + after)


def _paragraphs(text: str) -> list[str]:
    """The text cut before the line breaks that end a sentence."""
    lines = text.split("\n")
    begins = [
        0,
        *(n for n, pair in enumerate(itertools.pairwise(lines), 1) if not _goes_on(*pair)),
        len(lines),
    ]
    found = ["\n".join(lines[begin:end]) for begin, end in itertools.pairwise(begins)]
    return [found[0], *("\n" + paragraph for paragraph in found[1:])]


def _goes_on(line: str, following: str) -> bool:
    """Whether a line stops in the middle of a sentence (hard-wrapped text) and the next goes on in lower case."""
    return following.lstrip()[:1].islower() and not line.rstrip().endswith(_FINAL)


def _cut(paragraph: str, language: str) -> list[str]:
    """Sentences of a paragraph of any length: the last one of each look is looked at again with what follows."""
    segment = _segmenter()
    found: list[str] = []
    begin = 0
    while len(paragraph) - begin > PARAGRAPH:
        pieces = list(segment(language, paragraph[begin : begin + PARAGRAPH]))
        whole = pieces[:-1] or [_shortened(pieces[0])]
        found += whole
        begin += sum(map(len, whole))
    return found + list(segment(language, paragraph[begin:]))


@cache
def _segmenter() -> Callable[[str, str], Iterable[str]]:
    """Imported when it is needed; to ask for that at every paragraph takes as long as a third of its work."""
    from sentencex import segment

    return segment


def _shortened(piece: str) -> str:
    """The beginning of what has no end: up to the last mark that may end a sentence, or else the last space."""
    for mark in (_STOP, _SPACE):
        if ends := [match.end() for match in mark.finditer(piece)]:
            return piece[: ends[-1]]
    return piece
