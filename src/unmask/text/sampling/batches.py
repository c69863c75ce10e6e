"""Picking sequences out of a whole data set, which is one `Example` of all its rows. N sequences, M answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unmask.text.example import Array, Example, Stream, Targets
from unmask.text.ranges import stretches


@dataclass(frozen=True)
class Dataset:
    """Sequences with answers, in memory; any of them make a batch.

    The answers stand in the order of the tokens; if they are read off two, in the order of the first.
    """

    example: Example

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def stream(self) -> Stream:
        """All sequences end to end."""
        return self.example.streams["encoder"]

    @property
    def lengths(self) -> Array:
        """[N] tokens of each sequence."""
        return self.stream.lengths

    @cached_property
    def starts(self) -> Array:
        """[N] where each sequence begins."""
        return self.stream.starts

    def tokens(self, numbers: Array) -> Array:
        """Places of the tokens of these sequences."""
        return stretches(self.starts[numbers], self.lengths[numbers])

    @cached_property
    def _answers(self) -> dict[str, tuple[Array, Array]]:
        """By head: [N] the first answer of each sequence, [N] how many it has."""
        found = {}
        for head, targets in self.example.targets.items():
            first = targets.index.reshape(len(targets.index), -1)[:, 0]
            edges = np.searchsorted(first, np.append(self.starts, len(self.stream.tokens)))
            found[head] = (edges[:-1], np.diff(edges))
        return found

    def answers(self, head: str, numbers: Array) -> Array:
        """Places of the answers of these sequences among all M."""
        first, count = self._answers[head]
        return stretches(first[numbers], count[numbers])

    def pick(self, numbers: Array) -> Example:
        """The sequences with these numbers, in this order, as a batch."""
        place, lengths = self.tokens(numbers), self.lengths[numbers]
        segments = None if self.stream.segments is None else self.stream.segments[place]
        shift = np.cumsum(lengths) - lengths - self.starts[numbers]
        targets = {}
        for head, wanted in self.example.targets.items():
            answers = self.answers(head, numbers)
            index = wanted.index[answers].T + np.repeat(shift, self._answers[head][1][numbers])
            targets[head] = Targets(index.T, wanted.labels[answers])
        return Example({"encoder": Stream(self.stream.tokens[place], lengths, segments)}, targets)


def by_length(lengths: Sequence[int] | Array, budget: int) -> Iterator[list[int]]:
    """Numbers of sequences in groups of about equal length and at most ``budget`` tokens, the longest first.

    >>> list(by_length([2, 9, 3, 4], 10))
    [[1], [3, 2, 0]]
    """
    lengths = np.asarray(lengths)
    order: list[int] = np.argsort(-lengths, kind="stable").tolist()
    begin, tokens = 0, 0
    for end, n in enumerate(order):
        if end > begin and tokens + int(lengths[n]) > budget:
            yield order[begin:end]
            begin, tokens = end, 0
        tokens += int(lengths[n])
    if order:
        yield order[begin:]
