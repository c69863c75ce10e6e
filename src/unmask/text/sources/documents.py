"""Documents out of whatever text there is, one after the other, however much it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from unmask.errors import UserError
from unmask.text.sources import rows
from unmask.text.sources.files import PACKED, format_of, head, lines

Boundary = Literal["auto", "empty_line", "file", "line", "heading"]

LONGEST = 1 << 20
"""Characters in a piece of a document, about; memory holds a few pieces."""

_TABLES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow")
_WIKI = "<doc "
_TITLE = re.compile(r"\s*= [^=].*[^=] =\s*$")  # WikiText's title of an article: = Robert Boulter =


class Piece(NamedTuple):
    """A document, or a part of a long one."""

    text: str
    first: bool  # this piece begins a document
    fields: tuple[str, ...] = ()  # what else its row says, by column, where that is wanted; such a piece is whole


@dataclass
class Sources:
    """Files, folders and datasets as one stream of documents.

    Args:
        given: paths of files and folders, or names of Hugging Face datasets (``hf:NAME``, ``hf:NAME:CONFIG``).
        text_column: where the text is in tables; a number for .csv and .tsv without a header, from 1.
        boundary: where documents begin in plain text. ``auto``: at WikiText's titles (``= Title =``) where a file
            begins with one, else after empty lines. Tables have a document in each row, WikiExtractor's files in
            each ``<doc>``.
        encoding: of all files.
        fields: columns of tables that are wanted beside the text.

    Raises:
        UserError: a source is missing, or a folder holds nothing that can be read.
    """

    given: Sequence[str]
    text_column: str = "text"
    boundary: Boundary = "auto"
    encoding: str = "utf-8"
    fields: Sequence[str] = ()
    files: list[Path | str] = field(init=False)
    left_out: list[Path] = field(init=False, default_factory=list)  # files of a kind that is not read
    empty: int = field(init=False, default=0)  # documents without text, so far
    read: int = field(init=False, default=0)  # bytes read so far, as they are stored

    def __post_init__(self) -> None:
        self.files = [file for source in self.given for file in self._find(str(source))]
        if not self.files:
            raise UserError("no sources; give files, folders or hf:NAME")

    @property
    def bytes(self) -> int:
        """Of all files, as they are stored."""
        return sum(_size(file) for file in self.files)

    @property
    def unpacked_bytes(self) -> int:
        """About how many bytes they are when unpacked."""
        return sum(_size(f) * (3 if Path(f).suffix in (*PACKED, ".parquet") else 1) for f in self.files)

    @property
    def local(self) -> bool:
        """Whether all of them are files."""
        return all(isinstance(file, Path) for file in self.files)

    def fingerprint(self) -> list[list[str | int]]:
        """Name, size and time of each file, to know whether they are still the same."""
        return [[str(f), _size(f), Path(f).stat().st_mtime_ns if isinstance(f, Path) else 0] for f in self.files]

    def pieces(self) -> Iterator[Piece]:
        """All documents in order, long ones in pieces. Those without text are left out and counted."""
        self.empty = self.read = 0
        for file in self.files:
            before = self.read
            first, anything = True, False
            for text, begins, fields in self._file(file):
                first, anything = first or begins, True
                if text.strip():
                    yield Piece(text, first, fields)
                    first = False
                elif begins:
                    self.empty += 1
            self.empty += not anything
            self.read = before + _size(file)

    def _file(self, file: Path | str) -> Iterator[Piece]:
        before, columns = self.read, [*self.fields, self.text_column]

        def meter(done: int) -> None:
            self.read = before + done

        if isinstance(file, str):
            return _rows(rows.hub(file, columns))
        kind = format_of(file)
        if kind in _TABLES or (not kind and head(file).lstrip().startswith(b"{")):
            return _rows(self._table(file, kind, columns, meter))
        if self.fields:
            raise UserError(
                f"{file}: is no table and has no fields; give .jsonl, .csv, .tsv or .parquet, or no --fields"
            )
        text = lines(file, self.encoding, longest=16 * LONGEST, meter=meter)
        return _joined(_marked(file, text, self.boundary))

    def _table(
        self, file: Path, kind: str, columns: Sequence[str], meter: Callable[[int], object]
    ) -> Iterator[rows.Row]:
        if kind == ".parquet":
            return rows.parquet(file, columns)
        if kind == ".arrow":
            return rows.arrow(file, columns)
        read = rows.separated if kind in (".csv", ".tsv") else rows.jsonl
        return read(file, columns, self.encoding, meter)

    def _find(self, source: str) -> Iterator[Path | str]:
        path = Path(source)
        if source.startswith(rows.HUB):
            yield source
        elif path.is_dir():
            yield from self._walk(path)
        elif path.exists() and not path.is_file():
            raise UserError(f"{source}: is a pipe or a device; give a file, which can be read twice")
        elif not path.is_file():
            raise UserError(f"{source}: no such file or folder (a Hugging Face dataset is written hf:NAME)")
        elif format_of(path) == ".json":
            raise UserError(f"{source}: a .json file has no rows; write one object a line, as .jsonl")
        else:
            yield path

    def _walk(self, folder: Path) -> Iterator[Path]:
        """The files of a folder that can be read, by name. Of a dataset saved with its splits, those of ``train``."""
        if (folder / "dataset_dict.json").is_file():
            folder = folder / "train"
        inside = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        found = [path for path in inside if _readable(path)]
        self.left_out += [path for path in inside if path not in found]
        if not found:
            there = ", ".join(sorted({p.suffix or p.name for p in inside})[:8]) or "nothing"
            raise UserError(
                f"{folder}: holds {there}; wanted are .txt, {', '.join(_TABLES)}, or WikiExtractor's wiki_00"
            )
        yield from found


def _readable(path: Path) -> bool:
    kind = format_of(path)
    return kind in (".txt", *_TABLES) or (not kind and head(path).lstrip().startswith((b"{", _WIKI.encode())))


def _size(file: Path | str) -> int:
    return file.stat().st_size if isinstance(file, Path) else 0


def _rows(found: Iterable[rows.Row]) -> Iterator[Piece]:
    return (Piece(row[-1] or "", True, tuple(field or "" for field in row[:-1])) for row in found)


def _joined(marked: Iterable[tuple[str, bool]]) -> Iterator[Piece]:
    """Lines, marked where they begin a document, as documents or pieces of them."""
    kept: list[str] = []
    size, first = 0, True
    for line, begins in marked:
        if kept and (begins or size > LONGEST):
            yield Piece("\n".join(kept), first)
            kept, size, first = [], 0, False
        first = first or begins
        if not (kept or begins or line.strip()):
            continue
        kept.append(line)
        size += len(line)
    if kept:
        yield Piece("\n".join(kept), first)


def _marked(path: Path, text: Iterable[str], boundary: Boundary) -> Iterator[tuple[str, bool]]:
    """The lines of a file, and whether they begin a document."""
    start = head(path).decode(errors="replace").lstrip("\ufeff \r\n\t")
    if start.startswith(_WIKI):
        return _extracted(path, text)
    if boundary == "auto":
        boundary = "heading" if _TITLE.match(start.split("\n")[0]) else "empty_line"
    if boundary == "empty_line":
        return _after_empty_lines(text)
    if boundary == "heading":
        return ((line, bool(_TITLE.match(line))) for line in text)
    return ((line, n == 0 or boundary == "line") for n, line in enumerate(text))


def _after_empty_lines(text: Iterable[str]) -> Iterator[tuple[str, bool]]:
    before = ""
    for line in text:
        if line.strip():
            yield line, not before.strip()
        before = line


def _extracted(path: Path, text: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """WikiExtractor's output: <doc id="12" url="…" title="…">, the title, the article, </doc>.

    An article that is nothing but its title (a redirect) is empty.
    """
    inside, begins, title = False, True, ""
    for number, line in enumerate(text, 1):
        if line.startswith(_WIKI):
            if inside:
                raise UserError(f"{path}: line {number}: <doc> before the </doc> of the one above")
            inside, begins, title = True, True, ""
        elif line.strip() == "</doc>":
            if begins:
                yield "", True
            inside = False
        elif line.strip() and not inside:
            raise UserError(f"{path}: line {number}: text between </doc> and <doc>; is it WikiExtractor's output?")
        elif line.strip() and begins and not title:
            title = line
        elif line.strip():
            if begins:
                yield title, True
            yield line, False
            begins = False
    if inside:
        raise UserError(f"{path}: ends inside a <doc>; the file is cut off")
