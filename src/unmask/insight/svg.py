"""Pictures as one SVG file: narrow enough for a telephone, and for two side by side on a screen.

SVG does not wrap text, so all is laid out here. Measures are pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.cells import cell_len, set_cell_size

from unmask.insight.changes import ELSEWHERE, MEANINGS, State
from unmask.insight.grid import LETTER, Grid, grid, path, width_of
from unmask.insight.outcomes import Shown
from unmask.insight.picture import Token
from unmask.insight.seeing import title
from unmask.insight.sheet import Sheet
from unmask.pages import render

HERE = Path(__file__).parent
WIDTH, EDGE = 400, 14
GAP, PAD = 5, 6  # between tokens, and inside a token beside its letters
TOKEN, ANSWER, PROSE = 13, 12, 11.5  # sizes of letters
SAMPLES: dict[State, str] = {"hidden": "[MASK]", "drawn": "?", "special": "[SEP]"}
BOX, ABOVE, BELOW = 21, 14, 16  # heights of a token, and of the lines above and below it


@dataclass(frozen=True)
class Text:
    """A piece of text on one line."""

    x: float
    y: float
    text: str
    kind: str
    anchor: str = "start"


@dataclass(frozen=True)
class Box:
    """What is drawn around a token."""

    x: float
    y: float
    width: float
    kind: str


@dataclass
class Canvas:
    """What is drawn so far, from above."""

    width: float = WIDTH
    y: float = EDGE
    texts: list[Text] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    grids: list[tuple[float, Grid]] = field(default_factory=list)
    rules: list[float] = field(default_factory=list)

    @property
    def room(self) -> float:
        """Between the edges."""
        return self.width - 2 * EDGE

    def write(self, text: str, kind: str) -> None:
        """Running text, on as many lines as it takes."""
        for line in _wrapped(text, self.room):
            self.texts.append(Text(EDGE, round(self.y + PROSE, 1), line, kind))
            self.y += PROSE * 1.45


def picture(sheet: Sheet) -> str:
    """One file for all that a sheet shows."""
    canvas = Canvas()
    for n, one in enumerate(sheet.shown):
        if n:
            canvas.rules.append(canvas.y + EDGE)
            canvas.y += 2 * EDGE
        _draw(one, canvas)
    return _file(canvas, sheet.title, told(sheet))


def legend() -> str:
    """What the colours mean."""
    canvas = Canvas()
    for state, words in MEANINGS.items():
        sample = SAMPLES.get(state, "token")
        token = Token(sample, state, None, None, False, (), "", None)
        _write_token(token, EDGE, canvas.y, width_of(sample, TOKEN) + 2 * PAD, canvas)
        _explain(words, canvas)
    _write_token(Token("token", "seen", None, None, True, (), "", None), EDGE, canvas.y, 51, canvas)
    _explain(ELSEWHERE, canvas)
    canvas.texts.append(Text(EDGE + PAD, canvas.y + 15, "token", "answer"))
    _explain("below a token: what is to be answered there", canvas)
    canvas.grids.append((canvas.y, Grid("", BOX / 3, [], 0, 3, path(np.tri(3, dtype=bool)), [])))
    _explain("a row is a token; filled is what it may attend to", canvas)
    return _file(canvas, "What the colours mean", "; ".join(f"{state}: {words}" for state, words in MEANINGS.items()))


def _explain(words: str, canvas: Canvas) -> None:
    canvas.texts.append(Text(EDGE + 70, canvas.y + 15, words, "muted"))
    canvas.y += BOX + 6


def _file(canvas: Canvas, title: str, told: str) -> str:
    values = {"canvas": canvas, "title": title, "told": told, "height": round(canvas.y + EDGE - 2), "box_height": BOX}
    return re.sub(r"\n\s*\n+", "\n", render(HERE / "picture.svg", values))


def told(sheet: Sheet) -> str:
    """The same for those who cannot see it."""
    return " ".join(line for one in sheet.shown for line in _told(one))


def _told(one: Shown) -> Iterator[str]:
    for view in one.picture.views.values():
        read = " / ".join(
            " ".join(token.text for token in sequence if token.place is not None) for sequence in view.sequences
        )
        yield f"{title(view.name)}: {read}."
    yield one.picture.seeing


def _draw(one: Shown, canvas: Canvas) -> None:
    if one.words:
        canvas.write(f"{one.words} ({one.times} of {one.draws} draws)", "outcome")
        canvas.y += 5
    for view in one.picture.views.values():
        if len(one.picture.views) > 1:
            canvas.write(title(view.name), "outcome")
            canvas.y += 3
        for sequence in view.sequences:
            _write_tokens(sequence, canvas)
            canvas.y += GAP * (len(view.sequences) > 1)
        for said in view.said:
            canvas.write(f"{said.head}{said.where and ' ' + said.where}: {said.answer}", "said")
        canvas.y += 6
    for matrix in one.picture.matrices:
        drawn = grid(one.picture, matrix, canvas.room)
        if drawn.title:
            canvas.write(drawn.title, "muted")
            canvas.y += 3
        canvas.grids.append((canvas.y, drawn))
        canvas.y += drawn.extent + 6
    if one.picture.seeing != one.words:
        canvas.write(one.picture.seeing, "muted")


def _write_tokens(sequence: Sequence[Token], canvas: Canvas) -> None:
    """Line after line, each as high as what stands above and below its tokens."""
    for line in _lines(sequence, canvas.room):
        above = ABOVE * any(token.mark or token.order is not None for token, _ in line)
        below = max(len(_below(token)) for token, _ in line)
        x, y = float(EDGE), canvas.y + above
        for token, width in line:
            _write_token(token, round(x, 1), round(y, 1), round(width, 1), canvas)
            x += width + GAP
        canvas.y = y + BOX + below * BELOW + GAP


def _write_token(token: Token, x: float, y: float, width: float, canvas: Canvas) -> None:
    own, middle = width_of(token.text, TOKEN) + 2 * PAD, round(x + width / 2, 1)
    kind = token.state + " elsewhere" * token.elsewhere
    canvas.boxes.append(Box(round(middle - own / 2, 1), y, round(own, 1), kind))
    canvas.texts.append(Text(middle, y + 15, token.text, f"token {kind}", "middle"))
    if above := token.mark or token.order:
        canvas.texts.append(Text(x, y - 4, str(above), "above"))
    for n, (text, kind) in enumerate(_below(token), 1):
        canvas.texts.append(Text(middle, y + BOX + n * BELOW - 3, text, kind, "middle"))


def _below(token: Token) -> list[tuple[str, str]]:
    """What stands below a token: answers, and what it stands for."""
    was = [] if token.was is None else [(f"({_begun(token.was or 'nothing')})", "was")]
    return [*((answer, "answer") for _, answer in token.answers), *was]


def _begun(text: str) -> str:
    """Of a long text as much as fits a line."""
    most = int((WIDTH - 2 * EDGE) / (ANSWER * LETTER)) - len("(…)")
    return text if cell_len(text) <= most else set_cell_size(text, most).rstrip() + "…"


def _lines(sequence: Sequence[Token], room: float) -> Iterator[list[tuple[Token, float]]]:
    """Tokens and their widths, as many to a line as fit; what has a mark begins one."""
    line: list[tuple[Token, float]] = []
    for token in sequence:
        width = max(width_of(token.text, TOKEN) + 2 * PAD, *(width_of(text, ANSWER) for text, _ in _below(token)), 0)
        if line and (token.mark or sum(used + GAP for _, used in line) + width > room):
            yield line
            line = []
        line.append((token, width))
    yield line


def _wrapped(text: str, room: float) -> Iterator[str]:
    """Lines of running text, whose letters are narrower than those of tokens."""
    most, line = int(room / (PROSE * 0.55)), ""
    for word in text.split(" "):
        if line and cell_len(f"{line} {word}") > most:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
