"""What there is to draw of an example: its tokens and what became of them, what is asked, who may see whom.

T tokens in a stream, M answers. Nothing here knows how it will be drawn: in a terminal, as HTML or as SVG.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unmask.insight import changes, seeing
from unmask.insight.changes import Change, State
from unmask.insight.examples import Drawer, Drawn
from unmask.insight.seeing import Matrix
from unmask.insight.spelling import Spelling
from unmask.text.example import Array, Example, Stream, Targets


@dataclass(frozen=True)
class Token:
    """A token that a model is given, or one that was taken out."""

    text: str
    state: State
    place: int | None  # in its stream; None: it was taken out
    was: str | None  # the text it stands for, where no answer says so; "" is a text, too
    elsewhere: bool  # from another document
    answers: tuple[tuple[str, str], ...]  # (head, what it has to say here)
    segment: str  # where one begins, its name
    order: int | None


@dataclass(frozen=True)
class Said:
    """An answer that is not one token's: a whole sequence's, or one read off two tokens."""

    head: str
    where: str
    answer: str


@dataclass(frozen=True)
class View:
    """A stream."""

    name: str
    sequences: list[list[Token]]
    said: list[Said]

    @property
    def tokens(self) -> list[Token]:
        """[T] those that are there, by place."""
        return [token for sequence in self.sequences for token in sequence if token.place is not None]


@dataclass(frozen=True)
class Picture:
    """One example."""

    seed: int
    views: dict[str, View]
    matrices: list[Matrix]
    seeing: str

    def labels(self, matrix: Matrix) -> list[str]:
        """[T] the tokens of a matrix."""
        return [token.text for name in matrix.streams for token in self.views[name].tokens]

    @property
    def states(self) -> set[State]:
        """What is to be seen."""
        return {token.state for view in self.views.values() for sequence in view.sequences for token in sequence}


class Painter:
    """Examples to pictures. The drawer knows the words for what it drew."""

    def __init__(self, drawer: Drawer):
        self.trail, self.spelling = drawer.trail, Spelling(drawer.trail)
        self.special, self.causal = drawer.trail.tokenizer.special, drawer.causal
        self.meanings = {head: words for o in drawer.objectives.values() for head, words in o.meanings.items()}

    def paint(self, drawn: Drawn) -> Picture:
        """All of it."""
        views = {name: self._view(name, drawn) for name in drawn.after.streams}
        return Picture(drawn.seed, views, seeing.matrices(drawn.after, self.causal), self.seeing(drawn.after))

    def _view(self, name: str, drawn: Drawn) -> View:
        stream, asked = drawn.after.streams[name], _asked(drawn.after, name)
        apart = {head for head, targets in asked.items() if self._is_apart(head, targets, stream)}
        said = [said for head in asked if head in apart for said in self._said(head, asked[head], stream)]
        at = {head: targets for head, targets in asked.items() if head not in apart}
        tokens = _Tokens(self, stream, at, _ranks(stream) if "order" in seeing.ways(stream, self.causal) else None)
        return View(
            name, [list(tokens.of(_changes(name, n, drawn, self.special))) for n in range(len(stream.lengths))], said
        )

    def seeing(self, example: Example) -> str:
        """Who may attend to whom, in words."""
        return seeing.in_words(example, self.causal)

    def wholes(self, example: Example) -> list[str]:
        """The heads that are asked about sequences as a whole."""
        return [
            head
            for head, targets in example.targets.items()
            if len(targets.index)
            and targets.index.ndim == 1
            and self._is_apart(head, targets, example.streams[targets.stream])
        ]

    def _is_apart(self, head: str, targets: Targets, stream: Stream) -> bool:
        """Whether answers are not those of the tokens at their places."""
        if targets.index.ndim > 1:
            return True
        return head in self.meanings and bool(np.isin(targets.index, stream.starts).all())

    def _said(self, head: str, targets: Targets, stream: Stream) -> Iterator[Said]:
        answers = [self.answer(head, label) for label in targets.labels]
        if targets.index.ndim == 1:
            for index, answer in zip(targets.index, answers, strict=True):
                number = int(stream.sequence[index]) + 1
                yield Said(head, f"sequence {number}" if len(stream.lengths) > 1 else "", answer)
            return
        for pair in np.unique(targets.index, axis=0):  # places between the same two tokens are told together
            here = np.flatnonzero((targets.index == pair).all(1))
            between = " and ".join(self.spelling.tokens(stream.tokens[pair]))
            yield Said(head, f"from {between}", " · ".join(answers[m] for m in here))

    def answer(self, head: str, label: Array | int) -> str:
        """A label in words."""
        if head in self.meanings:
            return self.meanings[head][int(label)]
        return self.spelling.tokens([int(label)])[0]


class _Tokens:
    """Tokens of a stream."""

    def __init__(self, painter: Painter, stream: Stream, asked: dict[str, Targets], order: Array | None):
        self.painter, self.order, self.segments = painter, order, _segments(stream)
        self.numbers, self.texts = stream.tokens.tolist(), painter.spelling.tokens(stream.tokens)
        self.elsewhere = painter.trail.is_elsewhere(stream.tokens)
        self.labels: dict[int, list[tuple[str, int]]] = defaultdict(list)  # by place: heads, and what they have to say
        for head, targets in asked.items():
            for place, label in zip(targets.index.tolist(), targets.labels.tolist(), strict=True):
                self.labels[place].append((head, label))

    def of(self, found: list[Change]) -> Iterator[Token]:
        for change in found:
            yield self._removed(change) if change.place is None else self._token(change, change.place)

    def _removed(self, change: Change) -> Token:
        return Token(self.painter.spelling.tokens(change.was)[0], "removed", None, None, False, (), "", None)

    def _token(self, change: Change, place: int) -> Token:
        labels = self.labels.get(place, [])
        tokens = [label for head, label in labels if head not in self.painter.meanings]
        return Token(
            self.texts[place],
            "kept" if change.state == "seen" and self.numbers[place] in tokens else change.state,
            place,
            self._was(change, tokens),
            bool(self.elsewhere[place]),
            tuple((head, self.painter.answer(head, label)) for head, label in labels),
            self.segments.get(place, ""),
            None if self.order is None else int(self.order[place]),
        )

    def _was(self, change: Change, answers: list[int]) -> str | None:
        if change.state not in ("hidden", "random", "moved") or change.was == answers:
            return None
        return self.painter.spelling.together(change.was)


def _asked(example: Example, stream: str) -> dict[str, Targets]:
    return {head: targets for head, targets in example.targets.items() if targets.stream == stream}


def _changes(name: str, n: int, drawn: Drawn, special: Array) -> list[Change]:
    """What became of the n-th sequence of a stream; one that was not there before is made of the first there was."""
    after = drawn.after.streams[name]
    base = drawn.before.streams.get(name) or next(iter(drawn.before.streams.values()))
    now = _tokens(after, n)
    before = _tokens(base, n) if len(base.lengths) == len(after.lengths) else now
    was_there = name in drawn.before.streams
    found = (
        changes.in_place(before, now, special)
        if was_there and len(before) == len(now)
        else changes.aligned(before, now, special, removed=was_there)
    )
    first = int(after.starts[n])
    return [Change(c.state, None if c.place is None else c.place + first, c.was) for c in found]


def _tokens(stream: Stream, n: int) -> Array:
    return stream.tokens[stream.starts[n] : stream.starts[n] + stream.lengths[n]]


def _segments(stream: Stream) -> dict[int, str]:
    """By the place where a segment begins, its name; none where there is only one."""
    if stream.segments is None or len(set(stream.segments.tolist())) < 2:
        return {}
    new = (np.diff(stream.segments, prepend=-1) != 0) | np.isin(np.arange(len(stream.tokens)), stream.starts)
    names = "AB" if stream.segments.max() < 2 else [f"segment {n}" for n in range(int(stream.segments.max()) + 1)]
    return {int(place): names[stream.segments[place]] for place in np.flatnonzero(new)}


def _ranks(stream: Stream) -> Array:
    """[T] places in the order, from 1."""
    assert stream.order is not None
    return np.unique(stream.order, return_inverse=True)[1] + 1
