"""What there is to draw of an example: its tokens and what became of them, what is asked, who may see whom.

T tokens in a stream, M answers. Nothing here knows how it will be drawn: in a terminal, as HTML or as SVG.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

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
    mark: str  # the sequence or segment that begins here
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
    def asks(self) -> bool:
        """Whether there is something to answer."""
        return bool(self.said) or any(token.answers for token in self.tokens)

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
        return [
            f"?{token.answers[0][1]}" if name == seeing.QUERY else token.text
            for name in matrix.streams
            for token in self.views[name].tokens
        ]

    @property
    def states(self) -> set[State]:
        """What is to be seen."""
        return {token.state for view in self.views.values() for sequence in view.sequences for token in sequence}


class Painter:
    """Examples to pictures. The drawer knows the words for what it drew."""

    def __init__(self, drawer: Drawer):
        self.trail, self.spelling = drawer.trail, Spelling(drawer.trail)
        self.special, self.reading, self.two_ways = drawer.trail.tokenizer.special, drawer.reading, drawer.two_ways
        self.modes = [mode for o in drawer.objectives.values() for mode in o.modes]
        self.meanings = {head: words for o in drawer.objectives.values() for head, words in o.meanings.items()}

    def paint(self, drawn: Drawn) -> Picture:
        """All of it."""
        views = {name: self._view(name, drawn) for name in drawn.after.streams}
        matrices = seeing.matrices(drawn.after, self.reading)
        if self.two_ways:
            matrices = [way for matrix in matrices for way in seeing.two_ways(matrix)]
        return Picture(drawn.seed, views, matrices, self.seeing(drawn.after))

    def _view(self, name: str, drawn: Drawn) -> View:
        stream, asked = drawn.after.streams[name], _asked(drawn.after, name)
        apart = {head for head, targets in asked.items() if self._is_apart(head, targets, stream)}
        said = [said for head in asked if head in apart for said in self._said(head, asked[head], stream)]
        at = {head: targets for head, targets in asked.items() if head not in apart}
        added = self.trail.tokenizer.ids(self.modes).tolist() if self.modes else []
        tokens = _Tokens(self, name, stream, at, _marks(stream, _told(drawn.after, at)), _filled(drawn.after, name))
        return View(
            name,
            [
                list(tokens.of(_changes(name, n, drawn, bool(at), self.special, added)))
                for n in range(len(stream.lengths))
            ],
            said,
        )

    def seeing(self, example: Example) -> str:
        """Who may attend to whom, in words."""
        return seeing.TWO_WAYS if self.two_ways else seeing.in_words(example, self.reading)

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
        if targets.index.ndim > 1 or (targets.places is not None and targets.places.ndim > 1):
            return True
        return head in self.meanings and bool(np.isin(targets.index, stream.starts).all())

    def _said(self, head: str, targets: Targets, stream: Stream) -> Iterator[Said]:
        if targets.places is not None and targets.places.ndim > 1:
            return _chosen(head, targets, targets.places, stream)
        return (
            self._of_wholes(head, targets, stream) if targets.index.ndim == 1 else self._between(head, targets, stream)
        )

    def _of_wholes(self, head: str, targets: Targets, stream: Stream) -> Iterator[Said]:
        for index, label in zip(targets.index, targets.labels, strict=True):
            number = int(stream.sequence[index]) + 1
            yield Said(head, f"for {number}" if len(stream.lengths) > 1 else "", self.answer(head, label))

    def _between(self, head: str, targets: Targets, stream: Stream) -> Iterator[Said]:
        """Places between the same two tokens are told together."""
        for pair in np.unique(targets.index, axis=0):
            here = np.flatnonzero((targets.index == pair).all(1))
            between = " and ".join(self.spelling.tokens(stream.tokens[pair]))
            yield Said(head, f"from {between}", " · ".join(self.answer(head, targets.labels[m]) for m in here))

    def answer(self, head: str, label: Array | int) -> str:
        """A label in words."""
        if head in self.meanings:
            return self.meanings[head][int(label)]
        return self.spelling.tokens([int(label)])[0]


class _Tokens:
    """Tokens of a stream."""

    def __init__(
        self,
        painter: Painter,
        name: str,
        stream: Stream,
        asked: dict[str, Targets],
        marks: dict[int, str],
        filled: Collection[int],
    ):
        self.painter, self.marks, self.filled = painter, marks, filled
        self.order: Array | None = None
        if name == seeing.QUERY and stream.order is not None:
            self.order = stream.order + 1  # that of the token it asks for: it sees what comes before that
        elif "order" in seeing.ways(stream, painter.reading):
            self.order = stream.order
        self.numbers, self.texts = stream.tokens.tolist(), painter.spelling.tokens(stream.tokens)
        if name == seeing.QUERY:
            self.texts = ["?"] * len(self.texts)  # it has a place and no token
        self.elsewhere = painter.trail.is_elsewhere(stream.tokens)
        self.labels: dict[int, list[tuple[str, int]]] = defaultdict(list)  # by place: heads, and what they have to say
        for head, targets in asked.items():
            for place, label in zip(targets.index.tolist(), targets.labels.tolist(), strict=True):
                self.labels[place].append((head, label))

    def of(self, found: list[Change]) -> Iterator[Token]:
        for change in found:
            yield self._removed(change) if change.place is None else self._token(change, change.place)

    def _removed(self, change: Change) -> Token:
        return Token(self.painter.spelling.tokens(change.was or [])[0], "removed", None, None, False, (), "", None)

    def _token(self, change: Change, place: int) -> Token:
        told = self._seen(change, place)
        if place not in self.filled:
            return told
        answers = tuple((head, f"{answer}?") for head, answer in told.answers)  # it hangs on what will be drawn
        return replace(told, text="?", state="drawn", was=told.text, answers=answers)

    def _seen(self, change: Change, place: int) -> Token:
        labels = self.labels.get(place, [])
        tokens = [label for head, label in labels if head not in self.painter.meanings]
        return Token(
            self.texts[place],
            "kept" if change.state == "seen" and self.numbers[place] in tokens else change.state,
            place,
            self._was(change, tokens),
            bool(self.elsewhere[place]),
            tuple((head, self.painter.answer(head, label)) for head, label in labels),
            self.marks.get(place, ""),
            None if self.order is None else int(self.order[place]),
        )

    def _was(self, change: Change, answers: list[int]) -> str | None:
        if change.was is None or (change.was and change.was == answers):
            return None
        return self.painter.spelling.together(change.was)


def _chosen(head: str, targets: Targets, offered: Array, stream: Stream) -> Iterator[Said]:
    """One of the sequences that are offered (-1: none) is chosen; of pairs of sequences the second ones are offered."""
    pairs = targets.index.ndim > 1
    for index, label, places in zip(targets.index, targets.labels, offered, strict=True):
        numbers = stream.sequence[targets.index[places, 1]] if pairs else places
        own = stream.sequence[index[0] if pairs else index]
        choices = ", ".join(str(n + 1) for n in numbers[places >= 0].tolist())
        yield Said(head, f"for {int(own) + 1}, out of {choices}", f"{int(numbers[label]) + 1}")


def _filled(example: Example, stream: str) -> set[int]:
    """The places of a stream that are filled with what is drawn from the answers to another, as long as it."""
    return {
        place
        for targets in example.targets.values()
        if targets.lots is not None and targets.stream != stream
        for place in targets.index.tolist()
    }


def _asked(example: Example, stream: str) -> dict[str, Targets]:
    return {head: targets for head, targets in example.targets.items() if targets.stream == stream}


def _changes(name: str, n: int, drawn: Drawn, asked: bool, special: Array, added: Collection[int]) -> list[Change]:
    """What became of the n-th sequence of a stream; one that was not there before is made of the first there was.

    Where answers are asked of its tokens, they stand at their places; else some may have been taken out or put in.
    """
    after = drawn.after.streams[name]
    base = drawn.before.streams.get(name) or next(iter(drawn.before.streams.values()))
    now = _tokens(after, n)
    before = _tokens(base, n) if len(base.lengths) == len(after.lengths) else now
    in_place = asked and len(before) == len(now) and not after.reads
    found = (
        changes.in_place(before, now, special)
        if in_place
        else changes.aligned(before, now, special, name in drawn.before.streams, added)
    )
    first = int(after.starts[n])
    return [Change(c.state, None if c.place is None else c.place + first, c.was) for c in found]


def _tokens(stream: Stream, n: int) -> Array:
    return stream.tokens[stream.starts[n] : stream.starts[n] + stream.lengths[n]]


def _told(example: Example, asked: dict[str, Targets]) -> dict[int, int]:
    """By place: the encoder's sequence of which an answer there is told a state."""
    source = next(iter(example.streams.values())).sequence
    return {
        place: int(source[told]) + 1
        for targets in asked.values()
        if targets.places is not None
        for place, told in zip(targets.index.tolist(), targets.places.tolist(), strict=True)
    }


def _marks(stream: Stream, told: dict[int, int]) -> dict[int, str]:
    """By place: which sequence begins there, if there are several, what it is told, and which segment begins."""
    begins, found = stream.starts.tolist(), dict[int, str]()
    if told:
        found = {place: f"told of {told[place]}" for place in begins if place in told}
    elif len(begins) > 1:
        found = {place: str(n) for n, place in enumerate(begins, 1)}
    if stream.segments is None or len(set(stream.segments.tolist())) < 2:
        return found
    names = "AB" if stream.segments.max() < 2 else [f"segment {n}" for n in range(int(stream.segments.max()) + 1)]
    new = (np.diff(stream.segments, prepend=-1) != 0) | np.isin(np.arange(len(stream.tokens)), begins)
    segments = {int(place): names[stream.segments[place]] for place in np.flatnonzero(new)}
    return {place: f"{found.get(place, '')} {name}".strip() for place, name in segments.items()}
