"""Which columns of a table hold the texts and the labels: those asked for, or those a common name or sense suggests."""

from __future__ import annotations

from dataclasses import dataclass

from unmask.errors import UserError
from unmask.text.sources.tables import Table, text_of

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


def looks_a_header(cells: list[str], *asked: str | None) -> bool:
    """Whether a first line names columns: one that was asked for, or two (of one column, one) with common names."""
    known = sum(cell.lower() in KNOWN for cell in cells)
    return known >= min(2, len(cells)) or any(name in cells for name in asked if name and not name.isdigit())


def choose(table: Table, text: str | None, text_pair: str | None, label: str | None) -> Columns:
    """What was asked for, and for the rest the columns with a common name; without a header, those that look it.

    Raises:
        UserError: a column is absent, or none can be told to be the one; names the columns there are.
    """
    given = [table.column(name, option) for name, option in _asked(text, text_pair, label)]
    label_at = table.column(label, "--task.label") if label else _label(table, given)
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


def _find(table: Table, known: tuple[str, ...], taken: set[int]) -> int | None:
    names = [name.lower() for name in table.names or []]
    return next((names.index(name) for name in known if name in names and names.index(name) not in taken), None)


def _label(table: Table, taken: list[int]) -> int:
    """The column with a label's name; without a header, the one with the fewest different values."""
    found = _find(table, LABELS, set(taken))
    if found is None and table.names is None and table.width > 1:
        kinds = {n: len({text_of(row[n]) for row in table.rows}) for n in range(table.width) if n not in taken}
        found = min(kinds, key=lambda n: (kinds[n], -n), default=None)
    if found is None:
        raise UserError(f"{table.path}: no column is known to hold labels; name it with --task.label; {table.columns}")
    return found


def _text(table: Table, taken: set[int]) -> int:
    found = _find(table, TEXTS, taken)
    left = [n for n in range(table.width) if n not in taken]
    if found is None and (len(left) == 1 or (table.names is None and len(left) == 2)):
        found = left[0]
    if found is None:
        raise UserError(f"{table.path}: no column is known to hold the text; name it with --task.text; {table.columns}")
    return found


def _pair(table: Table, text_at: int, taken: set[int]) -> int | None:
    if table.names is None:  # text, text, label
        left = [n for n in range(table.width) if n not in taken]
        return left[0] if table.width == 3 and len(left) == 1 else None
    return _find(table, PAIRS, taken) if table.names[text_at].lower() in FIRST_OF_PAIR else None


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
