"""A matrix of attention as shapes: measures in pixels, cells in units of their own. T tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len

from unmask.insight.picture import Picture
from unmask.insight.seeing import Matrix
from unmask.text.example import Array

LABEL = 10.5
"""Size of the labels' letters."""

SMALLEST = 9
"""Cells that are lower than this have no labels: they would lie on each other."""

PLAIN = 130
"""Pixels that a matrix takes in which everything is seen."""

LETTER, WIDE = 0.61, 1.0
"""Width of a letter of a monospaced font, and of a Chinese character, by its size."""


def width_of(text: str, size: float) -> float:
    """Of a text in a monospaced font."""
    wide = cell_len(text) - len(text)
    return size * (LETTER * (len(text) - wide) + WIDE * wide)


@dataclass(frozen=True)
class Grid:
    """Rows look, columns are looked at."""

    title: str  # "" where there is only one
    cell: float
    labels: list[str]  # [T]; none where cells are too small for them
    margin: float  # room for labels, at the left and at the top
    size: int  # T
    cells: str  # path of the visible ones
    rules: list[int]  # where another stream, sequence or segment begins

    @property
    def extent(self) -> float:
        """Width and height."""
        return self.margin + self.cell * self.size + 1


def grid(picture: Picture, matrix: Matrix, room: float) -> Grid:
    """The matrix, no larger than so many pixels; small where all see all, which needs no looking up."""
    room = min(room, PLAIN) if matrix.plain else room
    size, labels = len(matrix.sees), [_short(label) for label in picture.labels(matrix)]
    margin = 6 + max(width_of(label, LABEL) for label in labels)
    cell = min(13.0, (room - margin) / size)
    if cell < SMALLEST:
        labels, margin, cell = [], 0, min(SMALLEST - 1, room / size)
    title = matrix.title if len(picture.matrices) > 1 else ""
    return Grid(title, round(cell, 2), labels, round(margin, 1), size, path(matrix.sees), matrix.borders)


def path(sees: Array) -> str:
    """An SVG path of unit cells, one rectangle for each run in a row."""
    return "".join(f"M{a} {y}h{b - a}v1h{a - b}z" for y, row in enumerate(sees) for a, b in _runs(row))


def sight(sees: Array) -> list[str]:
    """[T] what each token sees, as ranges: ``0-3 7-9``."""
    return [" ".join(f"{a}-{b - 1}" for a, b in _runs(row)) for row in sees]


def _runs(row: Array) -> list[tuple[int, int]]:
    """Where runs of true begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    return [(a, b) for a, b in edges.reshape(-1, 2).tolist()]


def _short(text: str, most: int = 9) -> str:
    return text if cell_len(text) <= most else text[: most - 1] + "…"
