"""How far long work is: a live bar in a terminal, one line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

NAMES = {"tokens_per_second": "tokens/s"}
LARGE = 1000  # from here on no digits after the point


class Progress:
    """Shows progress on standard error while it is used as a context.

    Args:
        what: the work's name, "pretrain".
        total: steps in all; none if nobody knows.
        start: steps already done when a run is resumed; they do not count for the time left.
        unit: what is counted.
        quiet: show nothing (every process but the first of several).
        stream, every, clock: for tests; ``every`` is in seconds.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        start: int = 0,
        unit: str = "step",
        quiet: bool = False,
        stream: TextIO | None = None,
        every: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.what, self.total, self.start, self.unit, self.quiet = what, total, start, unit, quiet
        self.stream, self.every, self.clock = stream or sys.stderr, every, clock
        self.done, self.figures = start, dict[str, float]()
        self._said: tuple[float, int] | None = None  # when the last line was printed, and at which step
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        self._begin = self.clock()
        if self.stream.isatty() and not self.quiet:
            self._bar = Bar(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=Console(file=self.stream),
            )
            self._task = self._bar.add_task(self.what, total=self.total, completed=self.start, figures="")
            self._bar.start()
        return self

    def update(self, done: int, **figures: float) -> None:
        """``done`` steps in all are done; ``figures`` (``loss``, ``tokens_per_second``) stay until the next ones."""
        self.done = done
        self.figures |= figures
        if self._bar is not None:
            self._bar.update(self._task, completed=done, figures=_shown(self.figures))
        elif self._said is None or self.clock() - self._said[0] >= self.every:
            self._say()

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._said is not None and self._said[1] != self.done:
            self._say()

    def _say(self) -> None:
        self._said = (self.clock(), self.done)
        if self.quiet:
            return
        of = "" if self.total is None else f"/{self.total:,}"
        parts = [f"{self.what}: {self.unit} {self.done:,}{of}", _shown(self.figures), self._left()]
        print("  ".join(part for part in parts if part), file=self.stream, flush=True)

    def _left(self) -> str:
        new, spent = self.done - self.start, self.clock() - self._begin
        if self.total is None or new <= 0 or self.done >= self.total:
            return f"{duration(spent)} spent" if new > 0 else ""
        return f"{duration(spent / new * (self.total - self.done))} left"


def _shown(figures: dict[str, float]) -> str:
    return "  ".join(
        f"{value:,.0f} {NAMES[name]}" if name in NAMES else f"{name} {_number(value)}"
        for name, value in figures.items()
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds in words: "12 s", "5 min", "2 h 05 min"."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
