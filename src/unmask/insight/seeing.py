"""Who may attend to whom, as matrices and in words.

T tokens of streams that can see each other, L of one sequence, N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from unmask.text.example import Array, Example, Stream

Way = Literal["both sides", "prefix", "left", "right", "order"]

WAYS: dict[Way, str] = {
    "both sides": "every token sees every other",
    "prefix": "those that come first see each other; each later one sees these, itself and those before it",
    "left": "each token sees itself and those before it",
    "right": "each token sees itself and those after it",
    "order": "each token sees those whose number in the order is not above its own",
}


@dataclass(frozen=True)
class Matrix:
    """A row says what its token may attend to."""

    streams: tuple[str, ...]  # whose tokens these are, one stream after another
    sees: Array  # [T, T] bool
    borders: list[int]  # where another stream, sequence or segment begins


def matrices(example: Example, causal: bool = False) -> list[Matrix]:
    """One for streams that see each other, others apart; ``causal``: the model sees nothing that follows."""
    groups: list[list[str]] = []
    for name, stream in example.streams.items():
        home = next((group for group in groups if stream.reads in group), None)
        groups.append([name]) if home is None else home.append(name)
    return [_matrix(example, group, causal) for group in groups]


def _matrix(example: Example, names: list[str], causal: bool) -> Matrix:
    streams = [example.streams[name] for name in names]
    first = np.cumsum([0, *(len(stream.tokens) for stream in streams)]).tolist()
    sees = np.zeros((first[-1], first[-1]), bool)
    for stream, a, b in zip(streams, first[:-1], first[1:], strict=True):
        sees[a:b, a:b] = visible(stream, causal)
        if stream.reads in names:
            n = names.index(stream.reads)
            sees[a:b, first[n] : first[n + 1]] = stream.sequence[:, None] == streams[n].sequence
    inner = [a + border for stream, a in zip(streams, first[:-1], strict=True) for border in _borders(stream)]
    return Matrix(tuple(names), sees, sorted([*first[1:-1], *inner]))


def _borders(stream: Stream) -> list[int]:
    new = np.diff(stream.sequence) != 0
    if stream.segments is not None:
        new |= np.diff(stream.segments) != 0
    return (np.flatnonzero(new) + 1).tolist()


def visible(stream: Stream, causal: bool = False) -> Array:
    """[T, T] whether a token (row) may attend to another (column) of its stream. What reads another one is causal."""
    together = stream.sequence[:, None] == stream.sequence
    if causal or stream.reads:
        together &= stream.position[:, None] >= stream.position
    return together if stream.order is None else together & (stream.order[:, None] >= stream.order)


def in_words(example: Example, causal: bool = False) -> str:
    """What the matrices show."""
    told = []
    for name, stream in example.streams.items():
        who = f"In the {name} " if len(example.streams) > 1 else ""
        told += [_sentence(who + _words(way, stream)) for way in dict.fromkeys(ways(stream, causal))]
        if stream.reads:
            told.append(f"The {name} also sees all that the {stream.reads} reads.")
    if any(len(stream.lengths) > 1 for stream in example.streams.values()):
        told.append("Sequences of one batch never see each other.")
    return " ".join(told)


def ways(stream: Stream, causal: bool = False) -> list[Way]:
    """[N] how the tokens of each sequence see each other."""
    sees, starts = visible(stream, causal), stream.starts.tolist()
    return [_way(sees[a : a + size, a : a + size]) for a, size in zip(starts, stream.lengths.tolist(), strict=True)]


def _way(sees: Array) -> Way:
    leftward = np.tri(len(sees), dtype=bool)
    if sees.all():
        return "both sides"
    if np.array_equal(sees, leftward | (np.arange(len(sees)) < sees[0].sum())):
        return "prefix" if sees[0, 1:].any() else "left"
    return "right" if np.array_equal(sees, leftward.T) else "order"


def _words(way: Way, stream: Stream) -> str:
    if way == "prefix" and stream.segments is not None:
        return "A's tokens see each other; each of B's sees all of A, itself and those of B before it"
    return WAYS[way]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
