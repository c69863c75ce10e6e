"""``unmask`` and ``python -m unmask``."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from unmask import allocator, threads


def main() -> int:
    """The console script."""
    allocator.tune()  # before numpy and torch take their first memory
    threads.tune()  # and before torch starts its threads
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to fail
    from unmask.commandline.program import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
