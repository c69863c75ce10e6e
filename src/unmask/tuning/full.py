"""Everything moves (Devlin 2018, 1810.04805)."""

from __future__ import annotations

from unmask.tuning.base import Tuning


class Full(Tuning):
    """Train everything."""

    def trains(self, name: str) -> bool:
        """Always."""
        return True
