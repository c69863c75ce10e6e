"""Who may attend to whom, as matrices and in words.

T tokens of streams that can see each other, L of one sequence, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from unmask.text.example import Array, Example, Stream

CONTENT, QUERY, MEMORY = "encoder", "query", "memory"
"""XLNet's streams: queries see content, never each other, and both see the memory."""

Reading = Literal["both sides", "left", "in turn"]
"""How the model reads that is asked for: all at once, each token with those before it, or as a recurrent one."""

Way = Literal["both sides", "prefix", "left", "right", "in turn", "order"]

WAYS: dict[Way, str] = {
    "both sides": "every token sees every other",
    "prefix": "those that come first see each other; each later one sees these, itself and those before it",
    "left": "each token sees itself and those before it",
    "right": "each token sees itself and those after it",
    "in turn": "tokens are read in turn, and a state knows those read so far; the first comes last, and knows all",
    "order": "each token sees those whose number in the order is not above its own",
}

TWO_WAYS = (
    "Two readings that never see each other: in one each token sees itself and those before it, in the other itself "
    "and those after it."
)


@dataclass(frozen=True)
class Matrix:
    """A row says what its token may attend to."""

    streams: tuple[str, ...]  # whose tokens these are, one stream after another
    sees: Array  # [T, T] bool
    borders: list[int]  # where another stream, sequence or segment begins
    plain: bool  # whether everything is seen of each sequence
    heading: str = ""  # if it is not that of the streams

    @property
    def title(self) -> str:
        """What it shows."""
        return self.heading or " and ".join(map(title, self.streams))


def matrices(example: Example, reading: Reading = "both sides") -> list[Matrix]:
    """One for streams that see each other, others apart."""
    looks = {name: _looks(example, name, reading) for name in example.streams}
    groups: list[list[str]] = []
    for name, seen in looks.items():
        home = next((group for group in groups if any(one in seen or name in looks[one] for one in group)), None)
        groups.append([name]) if home is None else home.append(name)
    return [_matrix(example, group, looks, reading) for group in groups]


def two_ways(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """What one half of a model sees that reads from the left, and the other half that reads from the right."""
    before = np.tri(len(matrix.sees), dtype=bool)
    return (
        replace(matrix, sees=matrix.sees & before, plain=False, heading="From the left"),
        replace(matrix, sees=matrix.sees & before.T, plain=False, heading="From the right"),
    )


def _matrix(example: Example, names: list[str], looks: dict[str, dict[str, Array]], reading: Reading) -> Matrix:
    streams = [example.streams[name] for name in names]
    ends = np.cumsum([len(stream.tokens) for stream in streams]).tolist()
    place = {name: slice(end - len(example.streams[name].tokens), end) for name, end in zip(names, ends, strict=True)}
    sees = np.zeros((ends[-1], ends[-1]), bool)
    for name in names:
        for source, seen in looks[name].items():
            sees[place[name], place[source]] = seen
    inner = [place[name].start + border for name in names for border in _borders(example.streams[name])]
    plain = len(names) == 1 and all(way == "both sides" for way in ways(streams[0], reading))
    return Matrix(tuple(names), sees, sorted([*ends[:-1], *inner]), plain)


def _looks(example: Example, name: str, reading: Reading) -> dict[str, Array]:
    """The streams that one looks at, with [T, S] whether a token may attend to one there."""
    stream, streams = example.streams[name], example.streams
    own = stream.sequence[:, None]
    found = {name: visible(stream, reading)}
    if name == QUERY and CONTENT in streams:
        content = streams[CONTENT]
        assert stream.order is not None and content.order is not None
        found = {CONTENT: (own == content.sequence) & (stream.order[:, None] >= content.order)}
    if stream.reads:
        found[stream.reads] = own == streams[stream.reads].sequence
    if MEMORY in streams and name != MEMORY:
        found[MEMORY] = own == streams[MEMORY].sequence
    return found


def _borders(stream: Stream) -> list[int]:
    new = np.diff(stream.sequence) != 0
    if stream.segments is not None:
        new |= np.diff(stream.segments) != 0
    return (np.flatnonzero(new) + 1).tolist()


def visible(stream: Stream, reading: Reading = "both sides") -> Array:
    """[T, T] whether a token (row) may attend to another (column) of its stream. What reads another one is causal."""
    together = stream.sequence[:, None] == stream.sequence
    if reading != "both sides" or stream.reads:
        last = reading == "in turn" and stream.order is None
        turn = np.where(last & (stream.position == 0), len(stream.tokens), stream.position)
        together &= turn[:, None] >= turn
    return together if stream.order is None else together & (stream.order[:, None] >= stream.order)


def in_words(example: Example, reading: Reading = "both sides") -> str:
    """What the matrices show."""
    told = []
    for name, stream in example.streams.items():
        who = f"{title(name)}: " if len(example.streams) > 1 else ""
        told += [_sentence(who + words) for words in _told(name, stream, reading)]
    if any(len(stream.lengths) > 1 for stream in example.streams.values()):
        told.append("Sequences of one batch never see each other.")
    return " ".join(told)


def title(stream: str) -> str:
    """A stream's name as a heading."""
    return stream.replace("_", " ").capitalize()


def _told(name: str, stream: Stream, reading: Reading) -> list[str]:
    if name == QUERY:
        return ["sees what comes before its token in the order, and not the token itself"]
    if name == MEMORY:
        return ["is seen by all"]
    beside = f", and all of the {stream.reads}" if stream.reads else ""
    return [_words(way, stream) + beside for way in dict.fromkeys(ways(stream, reading))]


def ways(stream: Stream, reading: Reading = "both sides") -> list[Way]:
    """[N] how the tokens of each sequence see each other."""
    sees, starts = visible(stream, reading), stream.starts.tolist()
    return [_way(sees[a : a + size, a : a + size]) for a, size in zip(starts, stream.lengths.tolist(), strict=True)]


def _way(sees: Array) -> Way:
    leftward = np.tri(len(sees), dtype=bool)
    if sees.all():
        return "both sides"
    if np.array_equal(sees, leftward | (np.arange(len(sees)) < sees[0].sum())):
        return "prefix" if sees[0, 1:].any() else "left"
    if sees[0].all() and not sees[1:, 0].any() and np.array_equal(sees[1:, 1:], leftward[1:, 1:]):
        return "in turn"
    return "right" if np.array_equal(sees, leftward.T) else "order"


def _words(way: Way, stream: Stream) -> str:
    if way == "prefix" and stream.segments is not None:
        return "A's tokens see each other; each of B's sees all of A, itself and those of B before it"
    return WAYS[way]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
