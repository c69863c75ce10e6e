"""Examples of what a model says, as the page shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from unmask.report.run import Fill, Prediction

SHOWN = 12  # examples of a kind
LONGEST = 400  # characters of a text
MASK = re.compile(r"\[MASK\]|<mask>")


def fills(texts: Sequence[Fill]) -> list[dict[str, Any]]:
    """Texts in parts, each followed by the first guess behind its mask, or by none."""
    return [
        {
            "parts": _filled(fill),
            "masks": [
                {
                    "truth": mask.truth,
                    "guesses": mask.guesses,
                    "found": mask.truth in [token for token, _ in mask.guesses],
                }
                for mask in fill.masks
            ],
        }
        for fill in texts
    ]


def _filled(fill: Fill) -> list[tuple[str, str | None]]:
    pieces = MASK.split(fill.text)
    if len(pieces) != len(fill.masks) + 1 or not all(mask.guesses for mask in fill.masks):
        return [(fill.text, None)]  # another mask token: left as it is
    first = [mask.guesses[0][0] for mask in fill.masks]
    parts = [_joined(text, token) for text, token in zip(pieces, first, strict=False)]
    return [*parts, (pieces[-1], None)]


def _joined(text: str, token: str) -> tuple[str, str]:
    """A text and the token that goes on from it, as they are read: "play", "##ing" make "playing"."""
    if token.startswith("##") and len(token) > len("##"):
        return text.rstrip(), token[2:]
    return text, token.lstrip("▁Ġ")  # how unigram and byte-level vocabularies write a space


def predictions(rows: Sequence[Prediction]) -> list[tuple[str, list[dict[str, Any]], int]]:
    """Title, first examples and number of all, of the wrong predictions and of the right ones."""
    kinds = (("Predictions: wrong", False), ("Predictions: right", True))
    found = [(title, [row for row in rows if row.right == right]) for title, right in kinds]
    return [(title, [_shown(row) for row in part[:SHOWN]], len(part)) for title, part in found if part]


def _shown(row: Prediction) -> dict[str, Any]:
    texts = [row.text] if isinstance(row.text, str) else row.text or []
    tags = row.truth if isinstance(row.truth, list) else []
    return {
        "texts": [clipped(text) for text in texts],
        "words": list(zip(row.words, tags, row.predicted, strict=True)) if row.words else [],
        "truth": _names(row.truth),
        "predicted": _names(row.predicted),
        "right": row.right,
        "probability": row.probability,
    }


def _names(labels: str | list[str] | None) -> str:
    return labels if isinstance(labels, str) else ", ".join(labels or []) or "none"


def clipped(text: str) -> str:
    """A text's beginning, and how much there was of it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} … ({len(text):,} characters)"
