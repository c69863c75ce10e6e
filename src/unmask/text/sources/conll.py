"""Sentences in columns, a word a line, as CoNLL's shared tasks have them (Tjong Kim Sang 2000, cs/0009008)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from unmask.errors import UserError
from unmask.text.sources.files import Meter, lines

DOCUMENT = "-DOCSTART-"
_PLACED = re.compile("(.[^0-9]*)[0-9]+")  # a character, seldom of two codes, and its place


@dataclass(frozen=True)
class Sentences:
    """Sentences of words, perhaps with a tag for each."""

    path: Path
    words: list[tuple[str, ...]]
    tags: list[tuple[str, ...]] | None
    places: list[int]  # line of each sentence's first word, from 1
    columns: int = 1
    documents: int = 0  # lines that only say that a document begins
    digits: bool = False  # whether words were a character and its place, 科0 技1, and the place was taken away


def read(
    path: Path,
    word: int = 1,
    tag: int | None = None,
    digits: bool | None = None,
    encoding: str = "utf-8",
    tagged: bool = True,
) -> Sentences:
    """Read sentences: columns separated by tabs or spaces, an empty line after each sentence.

    Args:
        path: the file, packed or not.
        word: the column of words, from 1.
        tag: the column of tags; none: the last one, if there is more than one.
        digits: words are characters with their place in the word, 科0 技1 (Weibo NER), and the place is taken away;
            none: do so if every word is a character and digits.
        encoding: of the file.
        tagged: whether to read tags.

    Raises:
        UserError: no sentences, or a line with too few columns; names the line.
    """
    sentences, places, documents, width = _rows(path, encoding)
    if not sentences:
        raise UserError(f"{path}: holds no sentences; a word a line and an empty line after each sentence is wanted")
    tag = tag or width
    for number, what in ((word, "words"), (tag if tagged else word, "tags")):
        if number > width:
            raise UserError(f"{path}:{places[0]}: has {width} columns; there is no column {number} to read {what} from")
    words = [tuple(row[word - 1] for row in sentence) for sentence in sentences]
    _refuse_texts(path, words, places)
    tags = [tuple(row[tag - 1] for row in sentence) for sentence in sentences] if tagged and tag != word else None
    return _digits(Sentences(path, words, tags, places, width, documents), digits)


def _rows(path: Path, encoding: str) -> tuple[list[list[list[str]]], list[int], int, int]:
    """Sentences of rows of cells, the line each begins at, the documents begun, and the number of columns."""
    found = list(rows(path, encoding))
    sentences, places = [each.cells for each in found if each.cells], [each.place for each in found if each.cells]
    return sentences, places, len(found) - len(sentences), len(sentences[0][0]) if sentences else 0


class Rows(NamedTuple):
    """A sentence's cells by row; none: here a document begins."""

    place: int  # its first line, from 1
    cells: list[list[str]]


def rows(path: Path, encoding: str = "utf-8", meter: Meter = lambda _: None) -> Iterator[Rows]:
    """The sentences of a file, one after the other, and where documents begin.

    Raises:
        UserError: a line with other columns than the first; names it.
    """
    sentence: list[list[str]] = []
    place, width, first = 0, 0, 0
    for number, line in enumerate(lines(path, encoding, meter=meter), 1):
        row = cells(line)
        if row and row[0] != DOCUMENT:
            if width and len(row) != width:
                raise UserError(f"{path}:{number}: has {len(row)} columns where line {first} has {width}")
            width, first, place = len(row), first or number, place if sentence else number
            sentence.append(row)
            continue
        if sentence:
            yield Rows(place, sentence)
        if row:
            yield Rows(number, [])
        sentence = []
    if sentence:
        yield Rows(place, sentence)


def _refuse_texts(path: Path, words: list[tuple[str, ...]], places: list[int]) -> None:
    """A table of texts, its columns separated by tabs, could be read as words."""
    for sentence, place in zip(words, places, strict=True):
        for line, word in enumerate(sentence, place):
            if " " in word:
                shown = word if len(word) <= 30 else word[:27] + "..."
                raise UserError(f"{path}:{line}: the word {shown!r} holds a space; a word a line is wanted, not texts")


def cells(line: str) -> list[str]:
    """A line's cells. Only tabs and spaces separate: a wide Chinese space is a word."""
    if not line.strip(" \t"):
        return []
    return line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


def _digits(sentences: Sentences, digits: bool | None) -> Sentences:
    characters = [tuple(map(without_place, words)) for words in sentences.words]
    whole = all(map(all, characters))
    if digits and not whole:
        n = next(n for n, words in enumerate(characters) if not all(words))
        at = characters[n].index("")
        line, word = sentences.places[n] + at, sentences.words[n][at]
        raise UserError(f"{sentences.path}:{line}: the word {word!r} is no character with digits")
    return replace(sentences, words=characters, digits=True) if digits or (digits is None and whole) else sentences


def without_place(word: str) -> str:
    """The character; nothing if the word is not a character and its place."""
    found = _PLACED.fullmatch(word)
    return found[1] if found else ""
