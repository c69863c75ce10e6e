"""Tensors in safetensors files, written from where they lie: a large model's are not in memory a second time."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask.errors import UserError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Write a new file and wait until it is on the disk. What the system refuses is an `OSError` that names ``path``.

    Until it is whole, a file of any name may stand beside it.
    """
    path.touch()
    mode = path.stat().st_mode  # as its owner's files are; safetensors lets nobody else read
    try:
        save_file({name: t.detach().to("cpu", copy=False).contiguous() for name, t in tensors.items()}, path, about)
    except SafetensorError as error:
        raise _refused(error, path) from None
    path.chmod(mode)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _refused(error: SafetensorError, path: Path) -> OSError:
    """What the system said, of which safetensors tells the number."""
    number = re.search(r"os error (\d+)", str(error))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code), str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; nothing in it is executed."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a checkpoint holds one") from None
    except (SafetensorError, OSError) as error:
        older = path.parent.name.startswith("step-")
        instead = f"delete {path.parent} to use an older checkpoint" if older else "copy or download it again"
        raise UserError(f"{path}: not a whole safetensors file ({error}); {instead}") from None
