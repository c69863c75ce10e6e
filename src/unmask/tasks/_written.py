"""Predictions as text: tables, columns of words, trees, JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from unmask.errors import UserError
from unmask.tasks.base import Prediction, Rows, Task
from unmask.tasks.classify import Classify
from unmask.tasks.label_trees import LabelTrees, TreeRows

Form = Callable[[Task, Rows, Sequence[Prediction]], Iterable[str]]


def form(task: Task, suffix: str) -> Form:
    """What writes predictions of a task to files with this ending; "" is what is printed.

    Raises:
        UserError: that ending does not fit the task.
    """
    forms = _TREES if isinstance(task, LabelTrees) else _WHOLE if isinstance(task, Classify) else _BY_WORD
    if suffix not in forms:
        raise UserError(
            f"--out: *{suffix or ' without an ending'} does not fit; {', '.join(filter(None, forms))} would"
        )
    return forms[suffix]


def _table(task: Task, rows: Rows, predictions: Sequence[Prediction], separator: str) -> Iterator[str]:
    assert isinstance(task, Classify)
    texts = ["text"] if len(rows.texts[0]) == 1 else ["text", "text_pair"]
    yield _row([*texts, "label", "probability"], separator)
    between = task.multi_label or ""
    for place, row, said in zip(rows.places, rows.texts, predictions, strict=True):
        if separator == "\t" and any(mark in text for text in row for mark in "\t\n\r"):
            raise UserError(f"{rows.name}:{place}: holds a tab or a line break; --out to a .jsonl or .csv file")
        chances = between.join(f"{chance:.4f}" for chance in said.probabilities)
        yield _row([*row, between.join(said.labels), chances], separator)


def _row(cells: Sequence[str], separator: str) -> str:
    """Tables with tabs have no quotation marks; those with commas have."""
    if separator == "\t":
        return separator.join(cells)
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="").writerow(cells)
    return line.getvalue()


def _tsv(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> Iterator[str]:
    return _table(task, rows, predictions, "\t")


def _csv(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> Iterator[str]:
    return _table(task, rows, predictions, ",")


def _columns(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> Iterator[str]:
    for words, said in zip(rows.texts, predictions, strict=True):
        for word, tag, chance in zip(words, said.labels, said.probabilities, strict=True):
            yield f"{word}\t{tag}\t{chance:.4f}"
        yield ""


def _brackets(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> Iterator[str]:
    assert isinstance(rows, TreeRows)
    for tree, said in zip(rows.trees, predictions, strict=True):
        yield tree.written(said.labels)


def _json_trees(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> Iterator[str]:
    for line, tree in zip(_json(task, rows, predictions), _brackets(task, rows, predictions), strict=True):
        yield json.dumps({**json.loads(line), "tree": tree}, ensure_ascii=False)


def _json(task: Task, rows: Rows, predictions: Sequence[Prediction]) -> Iterator[str]:
    for texts, said in zip(rows.texts, predictions, strict=True):
        shown: dict[str, Any] = task.sample_of(texts)
        if not said.every:
            shown |= {"tags": said.labels, "probabilities": said.probabilities}
        elif isinstance(task, Classify) and task.multi_label:
            shown |= {"labels": said.labels, "probabilities": said.every}
        else:
            shown |= {"label": said.labels[0], "probabilities": said.every}
        yield json.dumps(shown, ensure_ascii=False)


_WHOLE: dict[str, Form] = {"": _tsv, ".tsv": _tsv, ".csv": _csv, ".jsonl": _json}
_BY_WORD: dict[str, Form] = {"": _columns, ".conll": _columns, ".txt": _columns, ".jsonl": _json}
_TREES: dict[str, Form] = {"": _brackets, ".txt": _brackets, ".jsonl": _json_trees}
