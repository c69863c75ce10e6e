"""Tables that people labelled: csv, tsv, JSON lines and parquet, packed or not; read whole, holes and all named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError, first_line, is_text
from unmask.text.sources.files import format_of, lines

Row = list[Any]
Header = bool | Callable[[list[str], list[Row]], bool]  # of the first line's cells and of the lines below
JSON = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class Table:
    """Rows of a file, and where each stands in it."""

    path: Path
    names: list[str] | None  # of the columns, where the file names them
    rows: list[Row]
    places: list[int]  # line, or row of a parquet file, counted from 1
    blank: int = 0  # lines without anything, which were passed over

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0]) if self.rows else len(self.names or [])

    def column(self, wanted: str, option: str) -> int:
        """The place of a column that is wanted by name, or by number from 1.

        Raises:
            UserError: there is none; names the columns there are.
        """
        if self.names and wanted in self.names:
            if self.names.count(wanted) > 1:
                raise UserError(f"{self.path}: has {self.names.count(wanted)} columns named {wanted!r}; give a number")
            return self.names.index(wanted)
        if wanted.isdigit() and 1 <= int(wanted) <= self.width:
            return int(wanted) - 1
        raise UserError(f"{self.path}: has no column {wanted!r} ({option}); {self.columns}")

    @property
    def columns(self) -> str:
        """What columns there are, in words."""
        if self.names:
            return f"its columns are {', '.join(map(repr, self.names))}"
        return f"it has columns 1 to {self.width} and no header" if self.width > 1 else "it has one column, no header"

    def where(self, row: int) -> str:
        """How a row is named in a message."""
        return f"{self.path}:{self.places[row]}"


def read(path: Path, header: Header = False, quotes: bool | None = None, encoding: str = "utf-8") -> Table:
    """Read a table.

    Args:
        path: ``.jsonl`` holds an object a line and ``.parquet`` what it says; ``.csv`` is separated by commas or
            semicolons, or by tabs if its first line has one; everything else is separated by tabs.
        header: whether the first line of a csv or tsv file names the columns, or what can tell it from the others.
        quotes: whether quotation marks enclose cells; none: not where tabs separate, for there they are text.
        encoding: of text files.

    Raises:
        UserError: no such file, no rows, or a line that does not fit the others; names the line.
    """
    kind = format_of(path)
    if kind == ".parquet":
        table = _parquet(path)
    elif kind in JSON:
        table = _json_lines(path, encoding)
    else:
        table = _separated(path, header, quotes, encoding)
    if not table.rows:
        raise UserError(f"{path}: holds no rows")
    return table


def _separated(path: Path, header: Header, quotes: bool | None, encoding: str) -> Table:
    separator, cells = "\t", list(lines(path, encoding))
    if format_of(path) == ".csv" and cells and "\t" not in cells[0]:
        separator = max(",;", key=cells[0].count)
    quotes = separator != "\t" if quotes is None else quotes
    found = list(_quoted(path, cells, separator) if quotes else _plain(cells, separator))
    filled = [(place, row) for place, row in found if any(cell.strip() for cell in row)]
    blank, names = len(found) - len(filled), None
    if filled:
        first = [cell.strip() for cell in filled[0][1]]
        if header(first, [row for _, row in filled[1:]]) if callable(header) else header:
            names = first
            filled = filled[1:]
    return _even(Table(path, names, [row for _, row in filled], [place for place, _ in filled], blank))


def _plain(cells: Iterable[str], separator: str) -> Iterator[tuple[int, Row]]:
    for place, line in enumerate(cells, 1):
        yield place, [*line.split(separator)]


def _quoted(path: Path, cells: list[str], separator: str) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader((line + "\n" for line in cells), delimiter=separator, strict=True)
    place = 1
    try:
        for row in reader:
            yield place, list(row)
            place = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}:{place}: quotation marks do not match ({error}); repair the line, or read it with quotes off"
        ) from None


def _even(table: Table) -> Table:
    """Refuse rows that have more or fewer cells than the first: one cell too many shifts all others."""
    width = len(table.names) if table.names else table.width
    for n, row in enumerate(table.rows):
        if len(row) != width:
            what = "the header" if table.names else "the first line"
            raise UserError(
                f"{table.where(n)}: has {len(row)} fields where {what} has {width}; "
                "a missing field, or a separator inside a text?"
            )
    return table


def _json_lines(path: Path, encoding: str) -> Table:
    objects, places, blank = [], [], 0
    for place, line in enumerate(lines(path, encoding), 1):
        if not line.strip():
            blank += 1
            continue
        try:
            value = json.loads(line, object_pairs_hook=_once)
        except KeyError as error:
            raise UserError(f"{path}:{place}: {error} is given twice; once is wanted") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{place}: not JSON ({error}); one object a line is wanted") from None
        if not isinstance(value, dict):
            raise UserError(f"{path}:{place}: must be a JSON object, {{…}}, one a line; found {type(value).__name__}")
        if "\\u" in line and not is_text(json.dumps(value, ensure_ascii=False)):
            raise UserError(f"{path}:{place}: half a character (a lone surrogate); mend the line")
        objects.append(value)
        places.append(place)
    names = list(dict.fromkeys(name for value in objects for name in value))
    return Table(path, names, [[value.get(name) for name in names] for value in objects], places, blank)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a name that is given twice the first value would be lost."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise KeyError(next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n])))
    return made


def _parquet(path: Path) -> Table:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ArrowException as error:
        raise UserError(f"{path}: not a parquet file ({first_line(error)})") from None
    columns = [column.to_pylist() for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table(path, list(table.column_names), rows, list(range(1, len(rows) + 1)))


def text_of(value: Any) -> str:
    """A cell as text: what is missing is empty, 1.0 is 1."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
