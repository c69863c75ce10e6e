"""What chance may decide about a text: one picture of each outcome, and how often it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from unmask.insight import seeing
from unmask.insight.changes import State
from unmask.insight.examples import Drawer, Drawn
from unmask.insight.picture import Painter, Picture
from unmask.text.example import Array, Example, Stream

DRAWS = 64
"""Seeds that are looked through."""

RARE = 0.05
"""Share of the draws below which an outcome is left out: it came about by accident."""

Outcome = tuple[tuple[tuple[str, int], ...], tuple[int, ...], tuple[str, ...]]
"""The label of each head that is asked about the whole sequence, the number of the way each stream is seen, and the
tokens that say what is asked."""


@dataclass(frozen=True)
class Shown:
    """A picture of an outcome."""

    picture: Picture
    words: str  # what was decided; "" where nothing is
    times: int  # how many of the draws came out so
    draws: int


def shown(drawer: Drawer, seed: int | None = None) -> list[Shown]:
    """A picture for each outcome, or the one of this seed."""
    painter = Painter(drawer)
    if seed is not None:
        return [Shown(painter.paint(drawer.draw(seed)), "", 1, 1)]
    draws = _uncut(drawer.sketch(number) for number in range(DRAWS))
    groups: dict[Outcome, list[Drawn]] = defaultdict(list)
    for drawn in draws:
        groups[_outcome(drawn.after, painter)].append(drawn)
    groups = {outcome: group for outcome, group in groups.items() if len(group) >= RARE * len(draws)}
    found = []
    for outcome, group in sorted(groups.items()):
        best = painter.paint(drawer.draw(_best(group, painter)))
        found.append(Shown(best, _in_words(outcome, groups, painter, best), len(group), len(draws)))
    return found


def _uncut(draws: Iterable[Drawn]) -> list[Drawn]:
    """Those in which chance did not cut the text into more sequences than it has to."""
    found = list(draws)
    fewest = min(_sequences(drawn.after) for drawn in found)
    return [drawn for drawn in found if _sequences(drawn.after) == fewest]


def _sequences(example: Example) -> int:
    return sum(len(stream.lengths) for stream in example.streams.values())


def _outcome(example: Example, painter: Painter) -> Outcome:
    """Of several sequences chance decides about each by itself, and one picture shows enough of it."""
    if any(len(stream.lengths) > 1 for stream in example.streams.values()):
        return (), (), ()
    labels = [(head, int(example.targets[head].labels[0])) for head in painter.wholes(example)]
    streams = [stream for name, stream in example.streams.items() if name != seeing.QUERY]
    ways = [list(seeing.WAYS).index(way) for stream in streams for way in seeing.ways(stream, painter.reading)]
    tokens = example.streams["encoder"].tokens
    said = painter.spelling.tokens(tokens) if painter.modes else []
    return tuple(labels), tuple(ways), tuple(mode for mode in painter.modes if mode in said)


def _in_words(outcome: Outcome, others: Collection[Outcome], painter: Painter, picture: Picture) -> str:
    """What tells an outcome from others."""
    labels, ways, modes = outcome
    told = [painter.answer(head, label) for head, label in labels if any((head, label) not in o[0] for o in others)]
    told += [mode for mode in modes if any(mode not in o[2] for o in others)]
    return "; ".join(told + [picture.seeing] * any(o[1] != ways for o in others))


def _best(group: list[Drawn], painter: Painter) -> int:
    """The seed that shows the most kinds of change and of answer, without asking for much more than others do."""
    asked = np.array([sum(len(targets.index) for targets in drawn.after.targets.values()) for drawn in group])
    usual = [drawn for drawn, count in zip(group, asked, strict=True) if count <= asked.mean() + 1.5 * asked.std()]

    def merit(drawn: Drawn) -> tuple[int, int, bool, int]:
        kinds = set(_kinds(drawn, painter))
        answered = sum(len(targets.index) > 0 for targets in drawn.after.targets.values())
        happened = {(state, part) for state, part, _ in kinds if state not in ("seen", "special")}
        states = {state for state, _ in happened}
        # a word of several tokens in which something happens is worth a kind of its own
        return answered, len(states) + any(part for _, part in happened), "hidden" in states, len(kinds)

    return max(usual, key=merit).seed


def _kinds(drawn: Drawn, painter: Painter) -> Iterator[tuple[State, bool, bool]]:
    """What became of each token; whether it is one of several of a word; whether the one before it fared alike."""
    for name, view in painter.paint(drawn).views.items():
        parts = _parts(drawn.after.streams[name])
        for sequence in view.sequences:
            for before, token in pairwise([None, *sequence]):
                assert token is not None
                alike = before is not None and before.state == token.state
                yield token.state, token.place is not None and bool(parts[token.place]), alike


def _parts(stream: Stream) -> Array:
    """[T] bool: one of several tokens of a word."""
    if stream.units is None:
        return np.zeros(len(stream.tokens), bool)
    numbers = stream.units + 1  # special ones are 0
    return (numbers > 0) & (np.bincount(numbers)[numbers] > 1)
