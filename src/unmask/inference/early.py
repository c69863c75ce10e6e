"""What can be refused at once, before torch is imported, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from unmask.errors import UserError
from unmask.text.sources.files import head
from unmask.text.sources.rows import HUB

FITS = "a run's folder (config.yaml), a Hugging Face folder (config.json), or hf:owner/name would fit"


def refuse_device(device: str) -> None:
    """Refuse a GPU where torch was built without any. Raises `UserError`."""
    if device.startswith("cuda") and version("torch").endswith("+cpu"):
        raise UserError(f"--device {device}: torch is here for processors only; cpu would fit")


def refuse_absent(model: str | Path, files: Iterable[Path | None] = ()) -> None:
    """Refuse a model that is not there, and files that cannot be read. Raises `UserError` naming the first."""
    if not str(model).startswith(HUB) and not Path(model).exists():
        raise UserError(f"{model}: does not exist; {FITS}")
    for file in files:
        if file:
            head(file, 1)
