"""A run is a folder: opened, continued, or refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from unmask.config import Config, difference, from_yaml, to_yaml
from unmask.disk import alone, replace_file
from unmask.errors import UserError

# what may differ between two calls that mean the same run
NOT_OF_THE_RUN = ("out", "overwrite", "dry_run", "device")

Settings = TypeVar("Settings", bound=Config)


@contextmanager
def opened(folder: Path, config: Config, overwrite: bool) -> Iterator[Path]:
    """Hold a run's folder alone, with this configuration written in it.

    Raises UserError if another process holds it, if it cannot be written, or if what is there was made with other
    settings. Of several processes that train as one, only the first touches the folder.
    """
    if os.environ.get("RANK", "0") != "0":
        yield folder
        return
    with alone(folder):
        if overwrite:
            _empty(folder)
        there = folder / "config.yaml"
        if there.exists():
            _refuse_other(folder, from_yaml(type(config), there), config)
        elif any(p.name != ".lock" for p in folder.iterdir()):
            raise UserError(f"--out {folder}: is not empty and not a run; name a new folder")
        else:
            replace_file(there, to_yaml(config).encode())
        yield folder


def _empty(folder: Path) -> None:
    there = [p for p in folder.iterdir() if p.name != ".lock"]
    if there and not (folder / "config.yaml").exists():
        raise UserError(f"--out {folder}: is not empty and not a run; it will not be overwritten")
    for path in there:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _refuse_other(folder: Path, before: Config, now: Config) -> None:
    changed = [line for line in difference(before, now) if line.split(":")[0].split(".")[0] not in NOT_OF_THE_RUN]
    if changed:
        raise UserError(
            f"--out {folder}: holds a run with other settings ({'; '.join(changed)}); "
            "repeat them to continue it, name another folder, or use --overwrite"
        )
