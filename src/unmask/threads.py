"""Let threads that wait for each other sleep early, instead of spinning.

torch's threads meet after every product. By default (GNU OpenMP) one that arrives first spins for milliseconds, which
on a processor with other work to do keeps the very thread from running that it waits for. `benchmarks/waiting.py`
measures what that costs. The command line calls `tune` first of all; ``GOMP_SPINCOUNT`` and ``OMP_WAIT_POLICY`` win.
"""

from __future__ import annotations

import os

SPINS = "2000"  # some microseconds


def tune() -> bool:
    """Say so to OpenMP, which reads it when torch is imported. Returns whether it was said: not over a user's word."""
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return False
    os.environ["GOMP_SPINCOUNT"] = SPINS
    return True
