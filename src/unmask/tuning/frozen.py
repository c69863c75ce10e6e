"""The backbone is a feature extractor: only the head moves (Peters 2019, 1903.05987)."""

from __future__ import annotations

from typing import ClassVar

from unmask.tuning.base import Tuning


class Frozen(Tuning):
    """Train the head alone: the model is a feature extractor, whose states are computed once."""

    cached: ClassVar[bool] = True

    def trains(self, name: str) -> bool:
        """Never."""
        return False
