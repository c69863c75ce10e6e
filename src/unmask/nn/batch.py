"""Examples on a device: N sequences end to end, T tokens, M answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.nn.asked import Asked
from unmask.nn.layout import Layout
from unmask.text.example import Array, Example, Stream, Targets


@dataclass
class Sequences:
    """What a model reads."""

    tokens: Tensor  # [T] int64
    positions: Tensor  # [T] int64
    segments: Tensor | None  # [T] int64
    layout: Layout
    reads: str | None = None  # the stream whose states a decoder looks at

    def evened(self) -> Sequences:
        """On a processor with a few tokens more, that nobody sees, if their number is not even."""
        layout = None if self.tokens.is_cuda else self.layout.evened()
        if layout is None:
            return self
        more = layout.lengths[-1]
        tokens, positions = (F.pad(x, (0, more)) for x in (self.tokens, self.positions))
        return Sequences(tokens, positions, None if self.segments is None else F.pad(self.segments, (0, more)), layout)

    def to(self, device: torch.device) -> Sequences:
        """The same sequences on a device."""
        segments = None if self.segments is None else self.segments.to(device, non_blocking=True)
        tokens, positions = (x.to(device, non_blocking=True) for x in (self.tokens, self.positions))
        return Sequences(tokens, positions, segments, self.layout.to(device), self.reads)


@dataclass
class Answers:
    """What a head has to say, and where."""

    index: Tensor  # [M] int64, or [M, 2] where an answer is read off two tokens
    labels: Tensor  # [M] int64, or [M, K] float where several labels may hold
    stream: str
    places: Tensor | None = None  # [M] int64, for heads that have to be told where the answer stands
    lots: Tensor | None = None  # [M] float32 in [0, 1), for objectives that draw from what the head says
    costs: Tensor | None = None  # [M] float32: what each answer's loss counts, if not 1
    among: int | None = None  # what the sum of losses is divided by, if not the number of answers

    @property
    def count(self) -> int:
        """What the sum of losses is divided by."""
        return len(self.index) if self.among is None else self.among

    def to(self, device: torch.device) -> Answers:
        """The same answers on a device."""
        index, labels = (x.to(device, non_blocking=True) for x in (self.index, self.labels))
        places, lots, costs = (
            None if x is None else x.to(device, non_blocking=True) for x in (self.places, self.lots, self.costs)
        )
        return Answers(index, labels, self.stream, places, lots, costs, self.among)


@dataclass
class Batch:
    """Streams by name, answers by head, and the hidden states once somebody asked for them."""

    streams: dict[str, Sequences]
    targets: dict[str, Answers]
    states: dict[str, Tensor] = field(default_factory=dict, repr=False)
    lot: int = 0  # which objectives ask, where not all batches are asked the same
    asked: dict[str, Asked] = field(default_factory=dict, repr=False)
    """By stream the tokens that answers are read off, where that is not nearly all and no other stream looks at it."""

    @property
    def counts(self) -> dict[str, int]:
        """What sums of losses are divided by: the number of answers of each head, unless told otherwise."""
        return {name: answers.count for name, answers in self.targets.items()}

    @property
    def tokens(self) -> int:
        """Tokens in all streams."""
        return sum(len(stream.tokens) for stream in self.streams.values())

    def forget(self) -> None:
        """What was computed of it."""
        self.states.clear()
        for asked in self.asked.values():
            asked.states = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            {name: stream.to(device) for name, stream in self.streams.items()},
            {name: answers.to(device) for name, answers in self.targets.items()},
            {name: states.to(device, non_blocking=True) for name, states in self.states.items()},
            self.lot,
            {name: asked.to(device) for name, asked in self.asked.items()},
        )


def collate(example: Example, row_length: int | None = None) -> Batch:
    """Examples to tensors; rows are about as long as the longest sequence unless said otherwise."""
    streams = {name: _sequences(stream, row_length) for name, stream in example.streams.items()}
    targets = {name: _answers(targets) for name, targets in example.targets.items()}
    looked_at = {stream.reads for stream in streams.values()}
    alone = {name: stream for name, stream in streams.items() if stream.reads is None and name not in looked_at}
    asked = {name: Asked.of(_places(example, name), stream.layout) for name, stream in alone.items()}
    return Batch(streams, targets, asked={name: some for name, some in asked.items() if some is not None})


def _places(example: Example, stream: str) -> list[Array]:
    """Where answers are read off a stream, head by head."""
    return [targets.index for targets in example.targets.values() if targets.stream == stream]


def _sequences(stream: Stream, row_length: int | None) -> Sequences:
    segments = None if stream.segments is None else torch.from_numpy(stream.segments).long()
    tokens = torch.from_numpy(stream.tokens).long()
    layout = Layout.of(stream.lengths, row_length, stream.order)
    return Sequences(tokens, torch.from_numpy(stream.position), segments, layout, stream.reads)


def _answers(targets: Targets) -> Answers:
    labels = torch.from_numpy(targets.labels)
    return Answers(
        torch.from_numpy(targets.index).long(),
        labels if labels.is_floating_point() else labels.long(),
        targets.stream,
        None if targets.places is None else torch.from_numpy(targets.places).long(),
        None if targets.lots is None else torch.from_numpy(targets.lots).float(),
        None if targets.costs is None else torch.from_numpy(targets.costs).float(),
        targets.among,
    )
