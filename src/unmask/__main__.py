"""``unmask`` and ``python -m unmask``."""

from __future__ import annotations

import sys

from unmask import allocator


def main() -> int:
    """The console script."""
    allocator.tune()  # before numpy and torch take their first memory
    from unmask.commandline.program import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
