"""Rows of text, one after the other: .jsonl, .csv, .tsv, .parquet, .arrow and Hugging Face datasets by name."""

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


def jsonl(path: Path, column: str, encoding: str, meter: Meter) -> Iterator[str | None]:
    """The column of every line, which has to be a JSON object."""
    for number, line in enumerate(lines(path, encoding, meter=meter), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not JSON ({error}); each line must be one object") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: must be a JSON object with a field {column}")
        text = _text(_named(row, column, where), column, where)
        if "\\ud" in line.lower() and text is not None and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise UserError(f"{where}: half a character (a lone surrogate); mend the line")
        yield text


def separated(path: Path, column: str, encoding: str, meter: Meter) -> Iterator[str | None]:
    """The column of every row: of a .csv with its quotes, of a .tsv, which has none.

    The first row names the columns, unless the column is given by its number, from 1.
    """
    rows = _rows(path, encoding, meter)
    header: list[str] = []
    if column.isdigit():
        at = int(column) - 1
        if at < 0:
            raise UserError("--text-column 0: columns are counted from 1")
    else:
        _, header = next(rows, (1, []))
        if column not in header:
            hint = "; without a header row, give the column's number, from 1"
            raise UserError(_absent(str(path), column, header) + hint)
        at = header.index(column)
    for number, row in rows:
        if not row:
            continue
        if (header and len(row) != len(header)) or len(row) <= at:
            wanted = f"the header has {len(header)}" if header else f"column {column} is wanted"
            raise UserError(f"{path}: line {number} has {len(row)} fields and {wanted}")
        yield row[at]


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


def parquet(path: Path, column: str) -> Iterator[str | None]:
    """The column of every row of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check(path, column, file.schema_arrow)
            for batch in file.iter_batches(batch_size=1024, columns=[column]):
                yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: no parquet file ({first_line(error)})") from None


def arrow(path: Path, column: str) -> Iterator[str | None]:
    """The column of every row of an arrow file, as `datasets` saves them."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            file = pa.ipc.open_stream(source)
            _check(path, column, file.schema)
            for batch in file:
                yield from batch.column(column).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: no arrow stream ({first_line(error)})") from None


def hub(source: str, column: str) -> Iterator[str | None]:
    """The column of every row of a Hugging Face dataset: ``hf:NAME``, ``hf:NAME:CONFIG``, ``hf:NAME:CONFIG:SPLIT``."""
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
            yield _text(_named(row, column, where), column, where)
    except UserError:
        raise
    except Exception as error:  # whatever the network, the hub or the dataset's own code comes up with
        raise UserError(f"{source}: cannot be loaded ({first_line(error)})") from None


def _named(row: dict[str, Any], column: str, where: str) -> Any:
    if column not in row:
        raise UserError(_absent(where, column, list(row)))
    return row[column]


def _text(value: Any, column: str, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}: {column} is {json.dumps(value, default=str)[:40]}, which is no text")
    return value


def _check(path: Path, column: str, schema: Any) -> None:
    import pyarrow as pa

    if column not in schema.names:
        raise UserError(_absent(str(path), column, schema.names))
    kind = schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UserError(f"{path}: column {column} holds {kind}, not text")


def _absent(where: str, column: str, there: Sequence[str]) -> str:
    shown = ", ".join(name[:30] for name in itertools.islice(there, 12)) + (", …" if len(there) > 12 else "")
    return f"{where}: no column {column}; give --text-column, one of: {shown or '(none)'}"
