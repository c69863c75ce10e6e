"""How single labels agree with what people said. N rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unmask.text.example import Array


def of_labels(truth: Array, said: Array, labels: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of each label; numbers of labels [N], or flags [N, C] where several may hold."""
    from sklearn import metrics

    numbers = list(range(len(labels)))
    columns = metrics.precision_recall_fscore_support(truth, said, labels=numbers, zero_division=0.0)
    names = ("precision", "recall", "f1", "count")
    per_label = [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]
    return {"labels": dict(zip(labels, per_label, strict=True))}


def confusion(truth: Array, said: Array, labels: Sequence[str]) -> dict[str, Any]:
    """How often each label (row) was taken for each other (column)."""
    from sklearn import metrics

    counts = metrics.confusion_matrix(truth, said, labels=list(range(len(labels)))).tolist()
    return {"confusion": {"labels": list(labels), "counts": counts}}
