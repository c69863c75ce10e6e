"""What a fine-tuning tells: what was read, the scores, every prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from unmask.inference.finetuned import Finetuned
from unmask.tasks.base import LONGEST_LIST, Encoded, Rows


def samples(model: Finetuned, rows: Rows) -> dict[str, Any]:
    """Every prediction on held-out rows, and scores by label."""
    predictions, _ = model.predict_rows(rows)
    true = [model.task.shown(labels) for labels in rows.labels or []]
    single = all(len(labels) == 1 for labels in true)
    shown = []
    for texts, truth, said in zip(rows.texts, true, predictions, strict=True):
        sample, predicted = model.task.sample_of(texts), model.task.shown(said.labels)
        one = "words" not in sample and single and len(predicted) == 1
        labels = {"truth": truth[0], "predicted": predicted[0]} if one else {"truth": truth, "predicted": predicted}
        shown.append({**sample, **labels, **({"probability": said.probabilities[0]} if one else {})})
    return {"predictions": shown, **model.task.details(predictions, rows)}


def commonest(rows: Rows) -> dict[str, str]:
    """The commonest label and its share: the accuracy of whoever always gives it."""
    counts = Counter(label for labels in rows.labels or [] for label in labels)
    if not counts:
        return {}
    label, count = counts.most_common(1)[0]
    return {"commonest label": f"{label} ({count / counts.total():.1%})"}


def constant(predictions: Sequence[Mapping[str, Any]]) -> str | None:
    """The label that all rows are given, if it is one; several rows, and several labels among the true ones."""
    said, true = ({label for row in predictions for label in _each(row[key])} for key in ("predicted", "truth"))
    return next(iter(said)) if len(said) == 1 and len(true) > 1 else None


def _each(labels: str | Sequence[str]) -> Sequence[str]:
    return [labels] if isinstance(labels, str) else labels or [""]


def told(split: str, rows: Rows, encoded: Encoded) -> str:
    """What was read of one file."""
    facts = {**encoded.facts, **rows.facts}
    shown = [f"{facts['rows']:,} rows", f"{facts['tokens']:,} tokens"]
    shown += [
        f"{name.replace('_', ' ')}: {value}" + (f" ({value / facts['tokens']:.1%})" if name == "unknown_tokens" else "")
        for name, value in facts.items()
        if name not in ("rows", "tokens") and value
    ]
    if split == "train" and rows.labels and all(len(labels) == 1 for labels in rows.labels):
        counts = Counter(labels[0] for labels in rows.labels).most_common(LONGEST_LIST)
        shown.append("labels " + ", ".join(f"{label} {count / len(rows):.0%}" for label, count in counts))
    return f"{split:<5} {rows.name}: {', '.join(shown)}"


def print_scores(result: dict[str, Any]) -> None:
    """Every score, and its spread where there are several seeds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    splits = result["splits"]
    for column in ("score", *splits):
        table.add_column(column, justify="left" if column == "score" else "right")
    for name in result["figures"]:
        cells = []
        for scores in splits.values():
            spread = scores["spread"].get(name)
            cells.append(f"{scores['figures'][name]:.4f}" + (f" ± {spread:.4f}" if spread is not None else ""))
        table.add_row(name, *cells)
    console = Console(highlight=False)
    console.print(table)
    if (label := result.get("constant")) is not None:
        console.print(f"every answer is {label}: nothing was learned that tells one from another", markup=False)
