"""What a fine-tuning tells: what was read, the scores, every prediction."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from unmask.inference.finetuned import Finetuned
from unmask.tasks.base import LONGEST_LIST, Encoded, Rows


def samples(model: Finetuned, rows: Rows) -> dict[str, Any]:
    """Every prediction on held-out rows, and scores by label."""
    predictions, _ = model.predict_rows(rows)
    single = isinstance(rows.labels, list) and all(len(labels) == 1 for labels in rows.labels)
    shown = []
    for texts, truth, said in zip(rows.texts, rows.labels or [], predictions, strict=True):
        sample = model.task.sample_of(texts)
        one = "words" not in sample and single and len(said.labels) == 1
        labels = {"truth": truth[0], "predicted": said.labels[0]} if one else {"truth": truth, "predicted": said.labels}
        shown.append({**sample, **labels, **({"probability": said.probabilities[0]} if one else {})})
    return {"predictions": shown, **model.task.details(predictions, rows)}


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
    Console(highlight=False).print(table)
