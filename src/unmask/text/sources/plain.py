"""Sentences of plain text, one a line, where words are wanted: told from columns of words, and cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from unmask.text.sources.conll import DOCUMENT, Sentences, cells
from unmask.text.sources.files import lines

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
LONG = 5  # Chinese or Japanese characters; words have one to four, but for a few, and sentences have more


def read(path: Path, characters: bool, is_row: Callable[[list[str]], bool], encoding: str) -> Sentences | None:
    """Sentences of a file that has one a line.

    Args:
        path: the file, packed or not.
        characters: whether words are single characters; if not, blanks cut them.
        is_row: whether the cells of a line without tabs look like a word in columns.
        encoding: of the file.

    Returns:
        None where half of the lines or more look like a word in columns.
    """
    filled = [
        (n, line) for n, line in enumerate(lines(path, encoding), 1) if line.strip() and not line.startswith(DOCUMENT)
    ]
    rows = sum("\t" in line or is_row(cells(line)) for _, line in filled)
    if 2 * rows >= len(filled):
        return None
    words = [tuple("".join(line.split()) if characters else line.split()) for _, line in filled]
    return Sentences(path, words, None, [n for n, _ in filled])


def are_sentences(words: Sequence[str]) -> bool:
    """Whether what is given as words is too long for it, where a script has no blanks."""
    lengths = [length for word in words if (length := len(_UNSPACED.findall(word)))]
    return sum(lengths) > LONG * len(lengths)


def are_characters(words: Sequence[str]) -> bool:
    """Whether words are single characters, but for a few that a file may hold by mistake."""
    return sum(len(word) == 1 for word in words) >= 0.99 * len(words)
