"""Pictures in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from unmask.insight.changes import State
from unmask.insight.outcomes import Shown
from unmask.insight.picture import Picture, Token, View
from unmask.insight.seeing import Matrix, title
from unmask.insight.sheet import Sheet

STYLES: dict[State, str] = {
    "seen": "",
    "kept": "black on green",
    "hidden": "reverse",
    "random": "black on yellow",
    "drawn": "black on yellow",
    "moved": "white on magenta",
    "removed": "strike dim",
    "special": "dim",
}
MARKS: dict[State, str] = {"kept": "={}=", "random": "~{}~", "drawn": "~{}~", "moved": "<{}>", "removed": "-{}-"}
"""What stands for styles where there are none."""
ANSWER, ELSEWHERE = "bold cyan", "underline"
LABEL = 9
"""Columns that a row's name may take."""


def write(sheet: Sheet, console: Console) -> None:
    """Print everything."""
    for method in sheet.methods:
        console.print(Text.assemble((method.title, "bold"), f"  {method.name}  ", (method.paper, "dim")))
        console.print(Text(" ".join([method.sentence, *method.notes])))
    for one in sheet.shown:
        console.print()
        if one.words:
            console.print(Text.assemble((one.words, "bold"), (f"  in {one.times} of {one.draws} draws", "dim")))
        _write_picture(one, console)
    console.print()
    console.print(_legend(sheet, console))
    for note in sheet.notes:
        console.print(Text(note, "dim"))


def _write_picture(one: Shown, console: Console) -> None:
    picture = one.picture
    for view in picture.views.values():
        if len(picture.views) > 1:
            console.print(Text(title(view.name), "bold"))
        for sequence in view.sequences:
            for line in _lines(sequence, view, console):
                console.print(line, soft_wrap=True)
        for said in view.said:
            where = f" {said.where}" if said.where else ""
            console.print(Text.assemble(f"{said.head}{where}: ", (said.answer, ANSWER)))
    for matrix in picture.matrices:
        if matrix.plain:
            continue  # words say it
        if matrix.heading:
            console.print(Text(matrix.heading, "dim"))
        for line in _rows(picture, matrix, console.width):
            console.print(line, soft_wrap=True)
    if picture.seeing != one.words:
        console.print(Text(picture.seeing, "dim"))


def _lines(sequence: Sequence[Token], view: View, console: Console) -> Iterator[Text]:
    """Tokens, above them segments or numbers, below them answers: as many side by side as fit."""
    cells = [_cell(token, console) for token in sequence]
    widths = [max(cell_len(text.plain) for text in cell) + 1 for cell in cells]
    begin = 0
    while begin < len(cells):
        end, used = begin, 0
        while end < len(cells) and (end == begin or used + widths[end] <= console.width):
            used, end = used + widths[end], end + 1
        for row in zip(*cells[begin:end], strict=True):
            pads = [" " * (width - cell_len(text.plain)) for text, width in zip(row, widths[begin:end], strict=True)]
            line = Text.assemble(*(part for pair in zip(row, pads, strict=True) for part in pair))
            if line.plain.strip():
                yield line
        begin = end


def _cell(token: Token, console: Console) -> tuple[Text, Text, Text]:
    above = token.mark or ("" if token.order is None else str(token.order))
    answers = ", ".join(answer for _, answer in token.answers)
    was = "" if token.was is None else f"({token.was or 'nothing'})"
    below = Text.assemble((answers, ANSWER), (was, "dim"))
    return Text(above, "dim"), _token(token.text, token.state, token.elsewhere, console), below


def _token(text: str, state: State, elsewhere: bool, console: Console) -> Text:
    if console.color_system is None:
        return Text(MARKS.get(state, "{}").format(text))
    return Text(text, " ".join([STYLES[state], ELSEWHERE * elsewhere]).strip())


def _rows(picture: Picture, matrix: Matrix, width: int) -> Iterator[Text]:
    """A line per token, two columns per cell or one; nothing where there is no room."""
    labels = [label if cell_len(label) <= LABEL else label[: LABEL - 1] + "…" for label in picture.labels(matrix)]
    room = max(cell_len(label) for label in labels) + 1
    apart = next((gap for gap in (" ", "") if room + len(labels) * (1 + len(gap)) <= width), None)
    if apart is None:
        return
    for label, row in zip(labels, matrix.sees, strict=True):
        cells = apart.join("■" if seen else "·" for seen in row)
        yield Text.assemble((" " * (room - 1 - cell_len(label)) + label + " ", "dim"), (cells, "cyan"))


def _legend(sheet: Sheet, console: Console) -> Text:
    samples = {state: _token(state, state, False, console) for state in sheet.legend}
    return Text("\n").join(
        Text.assemble(samples[state], (f"  {words}", "dim")) for state, words in sheet.legend.items()
    )
