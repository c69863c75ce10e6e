"""A run is a folder: opened, continued, or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from unmask.config import Config, difference, from_yaml, to_yaml
from unmask.disk import alone, empty, replace_file
from unmask.errors import UserError
from unmask.training.settings import LENGTHS, NOT_OF_THE_RUN

Settings = TypeVar("Settings", bound=Config)


@contextmanager
def opened(folder: Path, config: Config, overwrite: bool, further: str) -> Iterator[Path]:
    """Hold a run's folder alone, with this configuration written in it.

    ``further`` is what people type to go on from the end of a run, which cannot be lengthened itself.

    Raises UserError if another process holds it, if it cannot be written, or if what is there was made with other
    settings. Of several processes that train as one, only the first touches the folder. A new run that is refused
    before its first line of metrics or its result leaves nothing.
    """
    if os.environ.get("RANK", "0") != "0":
        yield folder
        return
    with alone(folder):
        if overwrite:
            _empty(folder)
        there = folder / "config.yaml"
        if there.exists():
            _refuse_other(folder, from_yaml(type(config), there), config, further)
        elif any(p.name != ".lock" for p in folder.iterdir()):
            raise UserError(f"--out {folder}: is not empty and not a run; name a new folder")
        else:
            replace_file(there, to_yaml(config).encode())
            with _gone_if_refused(folder):
                yield folder
            return
        yield folder


@contextmanager
def _gone_if_refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        kept = (folder / name for name in ("metrics.jsonl", "result.json"))
        told = any(file.exists() and file.stat().st_size for file in kept)
        if not told and not any(folder.rglob("checkpoints/step-*")):
            _empty(folder)
        raise


def _empty(folder: Path) -> None:
    there = [p for p in folder.iterdir() if p.name != ".lock"]
    if there and not (folder / "config.yaml").exists():
        raise UserError(f"--out {folder}: is not empty and not a run; it will not be overwritten")
    empty(folder, last="config.yaml")


def _refuse_other(folder: Path, before: Config, now: Config, further: str) -> None:
    names = [(line.split(":")[0].split(".")[0], line) for line in difference(before, now)]
    changed = {name: line for name, line in names if name not in NOT_OF_THE_RUN}
    if not changed:
        return
    how = "repeat them to continue it, name another folder, or use --overwrite"
    if changed.keys() <= set(LENGTHS):
        how = f"a run keeps its length; to go on from its end, {further} --out NEW; to train it anew, --overwrite"
    lines = [line for name, line in names if name in changed]
    raise UserError(f"--out {folder}: holds a run with other settings ({'; '.join(lines)}); {how}")
