"""Rows of text, one after the other: .jsonl, .csv, .tsv, .parquet, .arrow and Hugging Face datasets by name.

Of each row the columns that are wanted are given as text, C of them: the last is the text itself, those before it its
fields.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unmask.errors import UserError, first_line
from unmask.text.sources.files import Meter, lines

HUB = "hf:"

Row = list[str | None]
"""Values [C] of one row; none where it has none."""


def jsonl(path: Path, columns: Sequence[str], encoding: str, meter: Meter) -> Iterator[Row]:
    """The columns of every line, which has to be a JSON object."""
    for number, line in enumerate(lines(path, encoding, meter=meter), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not JSON ({error}); each line must be one object") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: must be a JSON object with a field {columns[-1]}")
        texts = _texts(_named(row, columns, where), columns, where)
        if "\\ud" in line.lower() and any("\ud800" <= letter <= "\udfff" for text in texts for letter in text or ""):
            raise UserError(f"{where}: half a character (a lone surrogate); mend the line")
        yield texts


def separated(path: Path, columns: Sequence[str], encoding: str, meter: Meter) -> Iterator[Row]:
    """The columns of every row: of a .csv with its quotes, of a .tsv, which has none.

    The first row names the columns, unless all are given by their numbers, from 1.
    """
    rows = _rows(path, encoding, meter)
    header: list[str] = []
    if all(column.isdigit() for column in columns):
        at = [int(column) - 1 for column in columns]
        if min(at) < 0:
            raise UserError(f"{_option(columns, at.index(-1))} 0: columns are counted from 1")
    else:
        _, header = next(rows, (1, []))
        if (absent := next((n for n, column in enumerate(columns) if column not in header), None)) is not None:
            hint = "; without a header row, give the column's number, from 1"
            raise UserError(_absent(str(path), columns, absent, header) + hint)
        at = [header.index(column) for column in columns]
    for number, row in rows:
        if not row:
            continue
        if (header and len(row) != len(header)) or len(row) <= max(at):
            wanted = f"the header has {len(header)}" if header else f"column {max(at) + 1} is wanted"
            raise UserError(f"{path}: line {number} has {len(row)} fields and {wanted}")
        yield [row[n] for n in at]


def _rows(path: Path, encoding: str, meter: Meter) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line they end in."""
    text = lines(path, encoding, meter=meter)
    if ".tsv" in path.suffixes[-2:]:
        yield from ((number, line.split("\t") if line else []) for number, line in enumerate(text, 1))
        return
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line + "\n" for line in text), strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}; a file without quotes is a .tsv") from None


def parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The columns of every row of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check(path, columns, file.schema_arrow)
            for batch in file.iter_batches(batch_size=1024, columns=list(columns)):
                yield from _columns(batch, columns, path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: no parquet file ({first_line(error)})") from None


def arrow(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The columns of every row of an arrow file, as `datasets` saves them."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            file = pa.ipc.open_stream(source)
            _check(path, columns, file.schema)
            for batch in file:
                yield from _columns(batch, columns, path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: no arrow stream ({first_line(error)})") from None


def hub(source: str, columns: Sequence[str]) -> Iterator[Row]:
    """The columns of every row of a Hugging Face dataset: ``hf:NAME``, ``hf:NAME:CONFIG``, ``hf:NAME:CONFIG:SPLIT``."""
    try:
        import datasets
    except ImportError:
        raise UserError(f"{source}: needs the package datasets; pip install 'unmask[datasets]'") from None
    name, config, split = [*source.removeprefix(HUB).split(":"), "", ""][:3]
    try:
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(
            name, config or None, split=split or "train", streaming=True
        )
        for number, row in enumerate(rows, 1):
            where = f"{source}: row {number}"
            yield _texts(_named(row, columns, where), columns, where)
    except UserError:
        raise
    except Exception as error:  # whatever the network, the hub or the dataset's own code comes up with
        raise UserError(f"{source}: cannot be loaded ({first_line(error)})") from None


def _named(row: dict[str, Any], columns: Sequence[str], where: str) -> list[Any]:
    if (absent := next((n for n, column in enumerate(columns) if column not in row), None)) is not None:
        raise UserError(_absent(where, columns, absent, list(row)))
    return [row[column] for column in columns]


def _columns(batch: Any, columns: Sequence[str], path: Path) -> Iterator[Row]:
    values = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    return (_texts(row, columns, str(path)) for row in values)


def _texts(values: Sequence[Any], columns: Sequence[str], where: str) -> Row:
    """Values [C] as text. Raises `UserError` where one of them is none."""
    *fields, text = zip(values, columns, strict=True)
    return [*(_field(*field, where) for field in fields), _text(*text, where)]


def _text(value: Any, column: str, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}: {column} is {json.dumps(value, default=str)[:40]}, which is no text")
    return value


def _field(value: Any, column: str, where: str) -> str | None:
    """A field may be a number, a date, or several texts."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    if isinstance(value, dict | list):
        return _text(value, column, where)
    return None if value is None else str(value)


def _check(path: Path, columns: Sequence[str], schema: Any) -> None:
    import pyarrow as pa

    if (absent := next((n for n, column in enumerate(columns) if column not in schema.names), None)) is not None:
        raise UserError(_absent(str(path), columns, absent, schema.names))
    kind = schema.field(columns[-1]).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UserError(f"{path}: column {columns[-1]} holds {kind}, not text")


def _absent(where: str, columns: Sequence[str], absent: int, there: Sequence[str]) -> str:
    shown = ", ".join(name[:30] for name in itertools.islice(there, 12)) + (", …" if len(there) > 12 else "")
    return f"{where}: no column {columns[absent]}; give {_option(columns, absent)}, one of: {shown or '(none)'}"


def _option(columns: Sequence[str], n: int) -> str:
    return "--text-column" if n == len(columns) - 1 else "--fields"
