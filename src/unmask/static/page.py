"""The page of word vectors, and its figures in a few lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unmask.disk import replace_file
from unmask.pages import page
from unmask.static.vectors import WordVectors

PAGE = "report.html"
SHOWN, NEAREST, FROM, TO = 12, 6, 100, 5000  # words with their neighbours, taken from these ranks
LONG = 5  # bytes: words shorter than that are mostly grammar


def write(folder: Path, result: Mapping[str, Any], vectors: WordVectors) -> Path:
    """Write ``report.html``; returns its path."""
    values = {
        "title": result["title"],
        "eyebrow": "unmask, word vectors",
        "summary": summary(result),
        "tiles": tiles(result),
        "similarity": similarity_rows(result["similarity"]),
        "analogies": {name: analogy_rows(rows) for name, rows in result["analogies"].items()},
        "nearest": [(word, ", ".join(near for near, _ in vectors.nearest(word, NEAREST))) for word in shown(vectors)],
        "data": [(name, f"{value:,}") for name, value in result["data"].items()],
        "chosen": [(name, _plain(value)) for name, value in result["chosen"].items()],
        "losses": [f"{loss:.4f}" for loss in result["losses"]],
        "address": str(folder),
        "versions": result["versions"],
        "finished": result["finished"],
    }
    replace_file(folder / PAGE, page(Path(__file__).parent / "vectors.html", values).encode())
    return folder / PAGE


def summary(result: Mapping[str, Any]) -> str:
    """What was learned, in a sentence."""
    return (
        f"{result['words']:,} words have a vector of {result['size']} numbers each, learned by {result['method']} from "
        f"{result['data']['words read']:,} words of text. A word has one vector, whatever stands beside it."
    )


def tiles(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures to see first."""
    return [(name.replace("/", ", "), _figure(value)) for name, value in list(result["figures"].items())[:8]]


def similarity_rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """File, correlation, pairs, scored, with unseen words, words without a vector."""
    return [
        (
            name,
            _figure(row["spearman"]),
            *(f"{row[key]:,}" for key in ("pairs", "scored", "from_ngrams")),
            f"{len(row['unknown']):,}",
        )
        for name, row in found.items()
    ]


def analogy_rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Section, accuracy, right, asked, with unknown words."""
    return [
        (name, _figure(row["accuracy"]), *(f"{row[key]:,}" for key in ("right", "asked", "unknown")))
        for name, row in found.items()
    ]


def shown(vectors: WordVectors) -> list[str]:
    """Some words, common and rarer ones."""
    known = [word for word in vectors.words if len(word.encode()) >= LONG] or vectors.words
    last = min(TO, len(known)) - 1
    places = np.unique(np.geomspace(min(FROM, last) + 1, last + 1, SHOWN).astype(int)) - 1
    return [known[n] for n in places if len(known) > 1]


def in_words(result: Mapping[str, Any]) -> str:
    """The figures as lines of text."""
    lines = [f"{result['words']:,} words"]
    for name, row in result["similarity"].items():
        lines.append(
            f"spearman, {name}: {_figure(row['spearman'])}, {row['scored']} of {row['pairs']} pairs; "
            f"{len(row['unknown'])} words without a vector"
        )
    for name, rows in result["analogies"].items():
        row = rows["total"]
        asked = row["asked"] + row["unknown"]
        lines.append(f"accuracy, {name}: {_figure(row['accuracy'])}, {row['asked']} of {asked} questions")
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
