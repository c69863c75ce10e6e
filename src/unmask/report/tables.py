"""Figures of a run in rows and columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unmask.report import words
from unmask.report.run import Confusion, Result, Run
from unmask.training.progress import duration

MATRIX = 16  # labels at most in a confusion matrix
CONFUSIONS = 20  # else so many of the most frequent

Rows = list[tuple[str, Any]]


def tiles(run: Run) -> list[tuple[str, str]]:
    """The figures to see first."""
    result, found = run.result, []
    for name in _first(result):
        held_out = "held-out " if result.kind == "pretrain" else ""
        value = words.with_spread(result.figures[name], result.spread.get(name))
        found.append((held_out + words.label(name), value))
    if isinstance(parameters := result.model.get("parameters"), int):
        found.append(("parameters", words.compact(parameters)))
    if result.tokens:
        found.append(("tokens read", words.compact(result.tokens)))
    if result.seconds:
        found.append(("training time", duration(result.seconds)))
    if result.tokens and result.seconds:
        found.append(("tokens/s", words.compact(result.tokens / result.seconds)))
    if result.peak_memory:
        found.append(("peak memory", words.memory(result.peak_memory)))
    return found


def _first(result: Result) -> list[str]:
    """Names of the figures to see first: the main one; of a pre-training run also its other figures."""
    main = words.main_figure(result)
    losses = [name for name in result.figures if name.startswith("loss/")]
    names = [name for name in result.figures if len(losses) > 1 or name not in losses]  # a single head's is the loss
    others = [name for name in names if name != main and result.kind == "pretrain"][:3]
    return [main, *others] if main else []


def scores(result: Result) -> list[dict[str, Any]]:
    """A row per figure: mean, each seed, baseline."""
    main, other = words.main_figure(result), result.baseline
    return [
        {
            "name": words.label(name),
            "main": name == main,
            "mean": words.with_spread(value, result.spread.get(name)),
            "seeds": [words.figure(v) for v in result.by_seed.get(name, [])],
            "baseline": words.with_spread(other.figures[name], other.spread.get(name))
            if other and name in other.figures
            else "",
        }
        for name, value in result.figures.items()
    ]


def gain(task: str, pretrained: Run, random: Run) -> dict[str, str]:
    """A task's main figure from pre-trained and from random weights."""
    name = words.main_figure(pretrained.result) or ""
    mine, its = pretrained.result.figures[name], random.result.figures.get(name)
    return {
        "task": task,
        "score": words.label(name),
        "pretrained": words.with_spread(mine, pretrained.result.spread.get(name)),
        "random": words.with_spread(its, random.result.spread.get(name)),
        "better": _better(pretrained.result, random.result),
        "difference": "" if mine is None or its is None else f"{mine - its:+.3f}",
    }


def _better(pretrained: Result, random: Result) -> str:
    """Which of the two is better by more than the seeds explain; nothing where neither is."""
    if words.clearly_better(pretrained, random):
        return "pretrained"
    return "random" if words.clearly_better(random, pretrained) else ""


def facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain facts in rows; facts of several parts (train, valid) as a table with a column for each."""
    parts = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    names = dict.fromkeys(name for part in parts.values() for name in part)
    return {
        "plain": rows({name: value for name, value in values.items() if name not in parts}),
        "columns": [words.label(part) for part in parts],
        "rows": [
            (words.label(name), [words.fact(part[name]) if name in part else "" for part in parts.values()])
            for name in names
        ],
    }


def rows(values: Mapping[str, Any]) -> Rows:
    """Names and values in words."""
    return [(words.label(name), words.fact(value)) for name, value in values.items()]


def settings(chosen: Mapping[str, Any]) -> Rows:
    """Settings by their path, named as they are typed."""
    return [(path, words.fact(value)) for path, value in words.flat(chosen).items()]


def matrix(confusion: Confusion | None) -> dict[str, Any] | None:
    """Counts and their share of the row; none where there are more than `MATRIX` labels."""
    if confusion is None or len(confusion.labels) > MATRIX:
        return None
    shares = [[(count, count / max(1, sum(counts))) for count in counts] for counts in confusion.counts]
    return {"labels": confusion.labels, "rows": list(zip(confusion.labels, shares, strict=True))}


def confusions(confusion: Confusion | None) -> Rows:
    """The most frequent mistakes."""
    if confusion is None:
        return []
    found = [
        (f"{confusion.labels[truth]} → {confusion.labels[other]}", [count])
        for truth, counts in enumerate(confusion.counts)
        for other, count in enumerate(counts)
        if truth != other and count
    ]
    return sorted(found, key=lambda item: -item[1][0])[:CONFUSIONS]


def labels(by_label: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any] | None:
    """Precision, recall and F1 by label, as many as the run gave."""
    if not by_label:
        return None
    columns = list(dict.fromkeys(name for values in by_label.values() for name in values))
    return {
        "columns": [words.label(name) for name in columns],
        "rows": [(name, [_cell(c, values.get(c)) for c in columns]) for name, values in by_label.items()],
    }


def _cell(column: str, value: float | None) -> str:
    if column == "count" and value is not None:
        return f"{value:,.0f}"
    return words.figure(value)
