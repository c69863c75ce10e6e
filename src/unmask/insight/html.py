"""Pictures as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from unmask import pages
from unmask.insight.changes import ELSEWHERE, MEANINGS
from unmask.insight.grid import grid, sight
from unmask.insight.outcomes import Shown
from unmask.insight.picture import Picture, View
from unmask.insight.seeing import Matrix, title
from unmask.insight.sheet import Method, Sheet

HERE = Path(__file__).parent
ROOM = 400
"""Pixels that a matrix may take."""


@dataclass(frozen=True)
class Section:
    """Sheets that belong together: one method, several texts."""

    name: str
    heading: str  # "" where the page's own says it
    methods: Sequence[Method]
    sheets: Sequence[Sheet]
    option: bool = False  # whether only an option differs from the section before


def page(sheet: Sheet) -> str:
    """A page of one sheet."""
    section = Section(" + ".join(method.name for method in sheet.methods), "", sheet.methods, [sheet])
    return book(sheet.title, "unmask inspect corruption", "", [section], sheet.notes)


def book(title: str, eyebrow: str, summary: str, sections: Sequence[Section], notes: Sequence[str]) -> str:
    """A page of many."""
    seen = {state for section in sections for sheet in section.sheets for state in sheet.legend}
    values = {
        "title": title,
        "eyebrow": eyebrow,
        "summary": summary,
        "sections": [_section(section) for section in sections],
        "legend": [(state, words) for state, words in MEANINGS.items() if state in seen]
        + [("elsewhere", ELSEWHERE)] * any(sheet.others for section in sections for sheet in section.sheets),
        "notes": notes,
    }
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("pictures.css", "pictures.js"))
    return pages.page(HERE / "pictures.html", values, style, script)


def _section(section: Section) -> dict[str, Any]:
    """Of several sheets the pictures of one outcome stand side by side."""
    rows = zip_longest(*(sheet.shown for sheet in section.sheets))
    cards = [_shown(one) for row in rows for one in row if one is not None]
    return {**vars(section), "cards": cards, "wide": len(cards) == 1}


def _shown(one: Shown) -> dict[str, Any]:
    picture = one.picture
    return {
        "words": one.words,
        "rate": f"in {one.times} of {one.draws} draws" if one.words else "",
        "views": [_view(picture, view) for view in picture.views.values()],
        "grids": [grid(picture, matrix, ROOM) for matrix in picture.matrices],
        "seeing": picture.seeing,
    }


def _view(picture: Picture, view: View) -> dict[str, Any]:
    number, matrix = _matrix(picture, view)
    before = matrix.streams[: matrix.streams.index(view.name)]
    return {
        "heading": title(view.name) if len(picture.views) > 1 else "",
        "sequences": view.sequences,
        "said": view.said,
        "matrix": number,
        "first": sum(len(picture.views[name].tokens) for name in before),
        "sight": sight(matrix.sees),
        "ordered": any(token.order is not None for token in view.tokens),
    }


def _matrix(picture: Picture, view: View) -> tuple[int, Matrix]:
    """That which shows this stream."""
    return next((n, matrix) for n, matrix in enumerate(picture.matrices) if view.name in matrix.streams)
