"""Which columns of a table hold the texts and the labels: those asked for, or those a common name or sense suggests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from unmask.errors import UserError
from unmask.text.sources.tables import Row, Table, text_of

TEXTS = (
    *("text", "text_a", "sentence1", "premise", "question1", "question", "sentence", "review", "content"),
    *("query", "title", "body", "document", "comment", "message", "tweet"),
)
PAIRS = ("text_pair", "text_b", "sentence2", "hypothesis", "question2", "sentence", "answer", "passage")
LABELS = ("label", "labels", "class", "category", "target", "sentiment", "topic", "gold_label", "tag", "tags")
KNOWN = {*TEXTS, *PAIRS, *LABELS}
FIRST_OF_PAIR = ("text_a", "sentence1", "premise", "question1", "question", "query")
ENOUGH = 10  # rows from which on a label that is found only in the first one looks like a header


@dataclass(frozen=True)
class Columns:
    """Columns by name or by number from 1."""

    text: str
    text_pair: str | None
    label: str


def looks_a_header(first: list[str], rows: list[Row], *asked: str | None) -> bool:
    """Whether a first line names columns.

    It does where it has a name that was asked for, or two common ones (of one column, one), or one that stands nowhere
    below, or where it has a word above nothing but numbers.
    """
    known = [cell.lower() in KNOWN for cell in first]
    if sum(known) >= min(2, len(first)) or any(name in first for name in asked if name and not name.isdigit()):
        return True
    if any(map(_is_number, first)):
        return False  # no name
    below = [{text_of(cell).strip() for cell in column} for column in zip(*rows, strict=False)]
    if len(rows) < 2 or len(below) != len(first):
        return False
    return any(
        (common and name not in cells) or (name and not _is_number(name) and all(map(_is_number, cells)))
        for name, common, cells in zip(first, known, below, strict=True)
    )


def choose(table: Table, text: str | None, text_pair: str | None, label: str | None) -> Columns:
    """What was asked for, and for the rest the columns with a common name; without a header, those that look it.

    Raises:
        UserError: a column is absent, or none can be told to be the one; names the columns there are.
    """
    given = [table.column(name, option) for name, option in _asked(text, text_pair, label)]
    label_at = table.column(label, "--task.label") if label else _label(table, set(given))
    taken = {*given, label_at}
    text_at = table.column(text, "--task.text") if text else _text(table, taken)
    taken.add(text_at)
    pair_at = table.column(text_pair, "--task.text_pair") if text_pair else _pair(table, text_at, taken)
    names = [_name(table, at) for at in (text_at, label_at)]
    if label_at in (text_at, pair_at):
        raise UserError(f"{table.path}: column {names[1]} cannot be text and label; {table.columns}")
    return Columns(names[0], None if pair_at is None else _name(table, pair_at), names[1])


def _asked(text: str | None, text_pair: str | None, label: str | None) -> list[tuple[str, str]]:
    options = (("--task.text", text), ("--task.text_pair", text_pair), ("--task.label", label))
    return [(name, option) for option, name in options if name]


def _name(table: Table, at: int) -> str:
    unique = table.names and table.names.count(table.names[at]) == 1 and not table.names[at].isdigit()
    return table.names[at] if table.names and unique else str(at + 1)


def _find(table: Table, known: tuple[str, ...], taken: set[int], option: str) -> int | None:
    names = [name.lower() for name in table.names or []]
    for name in known:
        places = [n for n, other in enumerate(names) if other == name and n not in taken]
        if len(places) > 1:
            numbers = " or ".join(str(n + 1) for n in places)
            raise UserError(
                f"{table.path}: has {len(places)} columns named {name!r}; say which by its number, {option} {numbers}; "
                f"{table.columns}"
            )
        if places:
            return places[0]
    return None


def _label(table: Table, taken: set[int]) -> int:
    """The column with a label's name; else the only one with few values, or without a header that with the fewest."""
    found = _find(table, LABELS, taken, "--task.label")
    kinds = {n: len({text_of(row[n]) for row in table.rows}) for n in range(table.width) if n not in taken}
    if found is None and table.names is None and table.width > 1:
        found = min(kinds, key=lambda n: (kinds[n], -n), default=None)
    if found is None and table.names:
        few = [n for n, count in kinds.items() if 1 < count <= len(table.rows) / 2]
        found = few[0] if len(few) == 1 else None
    if found is None:
        raise UserError(f"{table.path}: no column is known to hold labels; {_name_them(table)}")
    return found


def _text(table: Table, taken: set[int]) -> int:
    """The column with a text's name; else the only one left that is not all numbers, or the first of two alike."""
    found = _find(table, TEXTS, taken, "--task.text")
    left = [n for n in range(table.width) if n not in taken]
    if table.names:
        left = [n for n in left if not all(_is_number(text_of(row[n])) for row in table.rows)]
    if found is None and (len(left) == 1 or (len(left) == 2 and (table.names is None or _are_alike(table, *left)))):
        found = left[0]
    if found is None:
        raise UserError(f"{table.path}: no column is known to hold the text; {_name_them(table)}")
    return found


def _pair(table: Table, text_at: int, taken: set[int]) -> int | None:
    if table.names is None:  # text, text, label
        left = [n for n in range(table.width) if n not in taken]
        return left[0] if table.width == 3 and len(left) == 1 else None
    if table.names[text_at].lower() not in KNOWN:
        return next((n for n in range(table.width) if n not in taken and _are_alike(table, text_at, n)), None)
    found = _find(table, PAIRS, taken, "--task.text_pair")
    return found if table.names[text_at].lower() in FIRST_OF_PAIR else None


def _are_alike(table: Table, one: int, other: int) -> bool:
    """Whether two names differ by their numbers alone: ``#1 String`` and ``#2 String``."""
    names = [(table.names or [])[n] for n in (one, other)]
    return names[0] != names[1] and len({re.sub(r"\d+", "", name) for name in names}) == 1


def _is_number(cell: str) -> bool:
    try:
        return bool(cell) and float(cell) is not None
    except ValueError:
        return False


def _name_them(table: Table) -> str:
    return (
        "name the columns with --task.text and --task.label, and of two texts the other with --task.text_pair; "
        f"{table.columns}"
    )


def refuse_header_as_row(table: Table, label: str) -> None:
    """Stop where the first line looks like a header that was not recognised as one."""
    if table.names is not None or len(table.rows) < ENOUGH:
        return
    at = table.column(label, "--task.label")
    first, *rest = (text_of(row[at]) for row in table.rows)
    if first not in rest:
        raise UserError(
            f"{table.where(0)}: the label {first!r} is found in no other row; if this line names the columns, "
            "say --task.header, and if not, --no-task.header"
        )
