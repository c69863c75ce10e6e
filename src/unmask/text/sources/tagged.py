"""Documents of words that a tagger has marked, in columns as CoNLL's shared tasks have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from unmask.errors import UserError
from unmask.text.borders import LARGER, WORD
from unmask.text.sources import chunks, conll
from unmask.text.sources.documents import LONGEST, Sources
from unmask.text.sources.files import Meter


class Sentence(NamedTuple):
    """Words, and what begins at each of them."""

    words: list[str]
    begins: list[int]  # flags of `text.borders`


class Tagged(NamedTuple):
    """A document, or a part of a long one."""

    sentences: list[Sentence]
    first: bool  # this piece begins a document

    @property
    def text(self) -> str:
        """Its words with spaces between them."""
        return "\n".join(" ".join(sentence.words) for sentence in self.sentences)


@dataclass
class TaggedSources(Sources):
    """Files of words in columns. A document begins with a file, at -DOCSTART-, and at every sentence if asked to.

    Args:
        word: the column of words, from 1.
        columns: those of tags that mark phrases or entities, by what they mark: B-NP I-NP O in any of the usual forms.

    Raises:
        UserError: see `Sources`.
    """

    word: int = 1
    columns: tuple[tuple[str, int], ...] = ()

    def pieces(self) -> Iterator[Tagged]:  # type: ignore[override]
        """All documents in order, long ones in pieces."""
        self.empty = self.read = 0
        for file in self.files:
            before = self.read

            def meter(done: int, before: int = before) -> None:
                self.read = before + done

            yield from self._documents(Path(file), meter)
            self.read = before + Path(file).stat().st_size

    def _find(self, source: str) -> Iterator[Path]:
        if not Path(source).is_file():
            raise UserError(
                f"{source}: no such file; words in columns are read from files, not from folders or hf:NAME"
            )
        yield Path(source)

    def _documents(self, path: Path, meter: Meter) -> Iterator[Tagged]:
        kept: list[Sentence] = []
        size, first, apart = 0, True, self.boundary in ("line", "empty_line")
        for rows in conll.rows(path, self.encoding, meter):
            if kept and (apart or not rows.cells or size > LONGEST):
                yield Tagged(kept, first)
                kept, size, first = [], 0, apart or not rows.cells
            if rows.cells:
                kept.append(self._sentence(path, rows))
                size += sum(map(len, kept[-1].words))
        if kept:
            yield Tagged(kept, first)
        self.empty += first and not kept

    def _sentence(self, path: Path, rows: conll.Rows) -> Sentence:
        width = len(rows.cells[0])
        for name, column in (("word", self.word), *self.columns):
            if column > width:
                raise UserError(f"{path}:{rows.place}: has {width} columns; there is no {name} column {column}")
        words = [row[self.word - 1] for row in rows.cells]
        begins = [WORD] * len(words)
        for name, column in self.columns:
            tags = [row[column - 1] for row in rows.cells]
            _refuse_other_tags(path, rows.place, tags)
            begins = [
                b | LARGER[name] * (tag[0] != "I") for b, tag in zip(begins, chunks.to_iob2(tags)[0], strict=True)
            ]
        return Sentence(words, begins)


def _refuse_other_tags(path: Path, place: int, tags: list[str]) -> None:
    for line, tag in enumerate(tags, place):
        if not chunks.TAG.fullmatch(tag):
            raise UserError(
                f"{path}:{line}: the tag {tag[:30]} marks no stretch of words; B-…, I-…, O and their like do"
            )
