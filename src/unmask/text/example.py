"""What a model reads and what it has to answer.

T tokens in all, N sequences, M answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Stream:
    """N sequences laid end to end, without padding. What each of them sees ends at its own borders."""

    tokens: Array  # [T]
    lengths: Array  # [N], their sum is T
    segments: Array | None = None  # [T] 0 for text A, 1 for text B
    units: Array | None = None  # [T] tokens with one number are corrupted together; -1 = special, never touched
    order: Array | None = None  # [T] a token sees those of its sequence with a number not above its own; None: all
    places: Array | None = None  # [T] where each token stands, if not at its place in its own sequence
    reads: str | None = None  # the stream whose states it looks at, sequence by sequence
    begins: Array | None = None  # [T] what begins here (`text.borders`), where phrases or entities are known
    sentences: Array | None = None  # [T] bool: this token begins a sentence; for objectives that ask for them

    @property
    def starts(self) -> Array:
        """[N] where each sequence begins."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def sequence(self) -> Array:
        """[T] which sequence each token belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def position(self) -> Array:
        """[T] each token's place in its own sequence, or where it is said to stand."""
        if self.places is not None:
            return self.places
        return np.arange(len(self.tokens)) - np.repeat(self.starts, self.lengths)

    def pick(self, places: Array) -> Stream:
        """The tokens at these places, in this order; those of a sequence come together, and no sequence is left out."""
        owner = self.sequence[places]
        each = {name: getattr(self, name) for name in ("segments", "units", "order", "places", "begins", "sentences")}
        taken = {name: values[places] for name, values in each.items() if values is not None}
        return replace(
            self, tokens=self.tokens[places], lengths=np.bincount(owner, minlength=len(self.lengths)), **taken
        )


@dataclass(frozen=True)
class Targets:
    """At these positions, these answers."""

    index: Array  # [M] into the stream's T tokens; [M, 2] where an answer is read off two of them
    labels: Array  # [M]; [M, K] where several labels may hold
    stream: str = "encoder"
    places: Array | None = None
    """[M] where the answer stands, for heads that have to be told; or [M, S] the sequences that it is chosen from, with
    -1 for none, of which the label is one. Of answers read off two tokens, the second ones are chosen from."""
    lots: Array | None = None  # [M] chance in [0, 1), for objectives that draw from what a head says
    costs: Array | None = None  # [M] what each answer's loss counts, if not 1
    among: int | None = None  # what the sum of losses is divided by, if not the number of answers


@dataclass(frozen=True)
class Example:
    """N sequences (one is enough), by stream, and the answers wanted of each head.

    One sequence and a whole batch are the same thing, so that a corruption can be written for arrays.
    """

    streams: dict[str, Stream]
    targets: dict[str, Targets] = field(default_factory=dict)
    documents: Array | None = None  # [N] where each sequence came from, to name it in an error

    def with_stream(self, stream: Stream, name: str = "encoder") -> Example:
        """The same example with one stream replaced."""
        return replace(self, streams={**self.streams, name: stream})

    def with_targets(self, **targets: Targets) -> Example:
        """The same example with answers added, by head."""
        return replace(self, targets={**self.targets, **targets})
