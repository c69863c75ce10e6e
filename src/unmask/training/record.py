"""What a run leaves to read: ``metrics.jsonl``, the same numbers as TensorBoard events, and ``result.json``.

`unmask.report` says which keys they hold.
"""

from __future__ import annotations

import json
import math
import platform
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from unmask.disk import replace_file
from unmask.errors import UserError

VERSIONS_OF = ("unmask", "torch", "numpy", "tokenizers")


class Record:
    """Appends lines of metrics to a run, each a JSON object and a few TensorBoard scalars.

    A run that continues at ``step`` loses its lines of later steps first, for these will be run again: neither file
    ever holds a step twice. Where lines of earlier steps are gone, one of ``every`` so many, that is told on standard
    error. ``facts`` (``seed=2``) go into every line; lines with other facts are left alone.

    Raises:
        UserError: ``metrics.jsonl`` holds something else than a run writes there.
    """

    def __init__(self, run: Path, step: int = 0, every: int = 0, **facts: int | str):
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.facts = run / "metrics.jsonl", facts
        run.mkdir(parents=True, exist_ok=True)
        lines = read_lines(self.path)
        mine = [line for line in lines if self._is_mine(line)]
        kept = [line for line in lines if not self._is_mine(line) or line["step"] <= step]
        self.dropped = len(lines) - len(kept)
        replace_file(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        events = run.joinpath("events", *(f"{name}-{value}" for name, value in facts.items()))
        # a killed process took its unwritten events along: all are written anew
        shutil.rmtree(events, ignore_errors=True)
        self._events = SummaryWriter(str(events))
        self._file = self.path.open("a", encoding="utf-8")
        self._tokens, self._seconds = (
            0.0,
            math.nan if tell_lost(run, step, every, **facts) else 0.0,
        )  # at the line before
        for line in mine:
            if line["step"] <= step:
                self._mirror(line)
                self._pace(line)

    def log(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Append one line; it must have ``step`` and ``split``. Returns it as written, with ``tokens_per_second``."""
        whole = {**self.facts, **line}
        if (pace := self._pace(whole)) is not None:
            whole["tokens_per_second"] = pace
        whole = finite(whole)
        self._file.write(json.dumps(whole, allow_nan=False) + "\n")
        self._file.flush()
        self._mirror(whole)
        return whole

    def close(self) -> None:
        """Finish both files."""
        self._file.close()
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_mine(self, line: Mapping[str, Any]) -> bool:
        return _has(line, self.facts)

    def _pace(self, line: Mapping[str, Any]) -> float | None:
        """Real tokens a second since the train line before."""
        if line["split"] != "train" or "tokens" not in line or "seconds" not in line:
            return None
        tokens, seconds = line["tokens"] - self._tokens, line["seconds"] - self._seconds
        self._tokens, self._seconds = line["tokens"], line["seconds"]
        return round(tokens / seconds, 1) if seconds > 0 else None

    def _mirror(self, line: Mapping[str, Any]) -> None:
        for name, value in line.items():
            if name not in ("step", "split", *self.facts) and isinstance(value, int | float):
                self._events.add_scalar(f"{line['split']}/{name}", value, line["step"])


def tell_lost(run: Path, step: int, every: int, **facts: int | str) -> int:
    """How many lines of the steps up to this one are gone; told on standard error if there are any."""
    path, wanted = run / "metrics.jsonl", step // every if every else 0
    there = {line["step"] for line in read_lines(path) if line["split"] == "train" and _has(line, facts)}
    lost = sum(number * every not in there for number in range(1, wanted + 1))
    if lost:
        of = "".join(f" of {name} {value}" for name, value in facts.items())
        told = f"lacks {lost:,} of {wanted:,} lines{of} up to step {step:,}"
        print(f"{path}: {told}; they cannot be made again, and curves will lack them", file=sys.stderr)
    return lost


def _has(line: Mapping[str, Any], facts: Mapping[str, int | str]) -> bool:
    return all(line.get(name) == value for name, value in facts.items())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics there are; the last one may have been cut off by a kill."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    *whole, _cut_off = text.split("\n")
    return [_line(path, number, line) for number, line in enumerate(whole, 1)]


def _line(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("step"), int) or "split" not in line:
        wanted = "a JSON object with step and split"
        raise UserError(f"{path}, line {number}: not a line of metrics ({wanted}); delete the line")
    return line


def finite(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same in plain JSON: numbers that are not finite become null, and ``not_finite`` says which they were."""
    lost: list[str] = []
    plain: dict[str, Any] = _plain(value, "", lost)
    return {**plain, "not_finite": lost} if lost else plain


def _plain(value: Any, path: str, lost: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{path}.{name}", lost) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}.{place}", lost) for place, item in enumerate(value)]
    if hasattr(value, "tolist"):  # numpy and torch, numbers and arrays
        return _plain(value.tolist(), path, lost)
    if isinstance(value, float) and not math.isfinite(value):
        lost.append(path.removeprefix("."))
        return None
    return str(value) if isinstance(value, Path) else value


def over_seeds(by_seed: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """``figures`` (means), ``spread`` (standard deviations, n - 1) and ``by_seed`` of a result, from the latter."""
    return {
        "figures": {name: statistics.fmean(values) for name, values in by_seed.items()},
        "spread": {name: statistics.stdev(values) for name, values in by_seed.items() if len(values) > 1},
        "by_seed": {name: list(values) for name, values in by_seed.items()},
    }


def write_result(run: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``result.json`` whole or not at all: the facts, and the process's peak memory, versions and the time."""
    result = finite(
        {
            **facts,
            "peak_memory": peak_memory(),
            "versions": versions(),
            "finished": time.strftime("%Y-%m-%d %H:%M"),
        }
    )
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(run / "result.json", text.encode())
    return result


def peak_memory() -> int:
    """Most bytes this process ever held; on a GPU, most bytes of it that tensors held."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Of Python, this package and what its numbers hang on."""
    found = {"python": platform.python_version()}
    for name in VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"  # run from its sources
    return found
