"""What is reached by giving answers as often as they occur, without reading: the least that a model has to beat.

M answers of one batch, K kinds of answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from unmask.nn.batch import Answers, Batch
from unmask.text.example import Array

SPARE = 0.05
"""What an answer counts that was never seen; a whole one would take too much from those that were."""


@dataclass
class Tally:
    """How often each answer is right, and what its loss counts in all."""

    times: Array = field(default_factory=lambda: np.zeros(0))  # [K]
    costs: Array = field(default_factory=lambda: np.zeros(0))  # [K]
    among: int = 0  # what the sum of losses is divided by

    def add(self, answers: Answers) -> None:
        """Those of one batch."""
        labels = answers.labels.cpu().numpy()
        costs = None if answers.costs is None else answers.costs.cpu().numpy()
        self.times = _sum(self.times, np.bincount(labels))
        self.costs = _sum(self.costs, np.bincount(labels, costs))
        self.among += answers.count

    def figures(self, known: Array) -> dict[str, float]:
        """What is reached by whoever knows how often each answer was right before [K]."""
        known = _sum(known, np.zeros(len(self.times)))
        kinds = np.count_nonzero(known + _sum(self.times, np.zeros(len(known))))
        loss = np.log(known.sum() + SPARE * kinds) - np.log(known + SPARE)
        usual = int(known.argmax())
        right = self.times[usual] if known.any() and usual < len(self.times) else 0.0
        return {"loss": float(loss[: len(self.costs)] @ self.costs) / self.among, "accuracy": right / self.times.sum()}


def by_frequency(seen: Iterable[Batch], asked: Iterable[Batch]) -> dict[str, float]:
    """Losses and accuracies by head on what is asked, by how often each answer is right in what is seen.

    Answers cost what they cost a model (`Answers.costs`). A head that is asked nothing has no figures.
    """
    known, wanted = _tallies(seen), _tallies(asked)
    found = {head: tally.figures(known.get(head, Tally()).times) for head, tally in wanted.items() if tally.times.any()}
    return {f"{what}/{head}": float(value) for head, figures in found.items() for what, value in figures.items()}


def _tallies(batches: Iterable[Batch]) -> dict[str, Tally]:
    found: dict[str, Tally] = {}
    for batch in batches:
        for head, answers in batch.targets.items():
            found.setdefault(head, Tally()).add(answers)
    return found


def _sum(a: Array, b: Array) -> Array:
    """Of two that may differ in length."""
    total = np.zeros(max(len(a), len(b)))
    total[: len(a)] += a
    total[: len(b)] += b
    return total
