"""Checkpoints that survive a kill at any instant: written beside, then renamed.

A checkpoint is ``checkpoints/step-N/`` with ``model.safetensors``, ``optimizer.safetensors`` and ``state.json``.
Nothing of it is ever unpickled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from unmask.disk import sync_folder, write_file
from unmask.errors import UserError
from unmask.training.tensors import write_tensors


@dataclass
class State:
    """Where a training run stands."""

    step: int  # steps done
    steps: int  # steps planned
    tokens: int = 0  # real tokens read, over all ranks
    seconds: float = 0.0
    score: float | None = None  # held-out loss or negated task score; the lower the better
    best: float | None = None  # the lowest score so far
    data: str = ""  # hash of what is trained on
    settings: str = ""  # hash of what it is trained with
    sums: dict[str, float] = field(default_factory=dict)  # of losses since the last line of metrics, by head
    counts: dict[str, float] = field(default_factory=dict)  # of answers since then
    asked: dict[str, int] = field(default_factory=dict)  # steps since then in which each head was asked
    window: int = 0  # all steps since then
    grad_norm: float = 0.0


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run: Path, keep: int = 2):
        self.folder, self.keep = run / "checkpoints", keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        found = [p for p in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
        return sorted(found, key=lambda p: int(p.name[5:]))

    @property
    def latest(self) -> Path | None:
        """The newest checkpoint."""
        return found[-1] if (found := self.all()) else None

    @property
    def best(self) -> Path | None:
        """The checkpoint with the lowest score; the newest where none was scored."""
        scored = [(score, -int(p.name[5:]), p) for p in self.all() if (score := read_state(p).score) is not None]
        return min(scored)[2] if scored else self.latest

    def save(self, state: State, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> Path:
        """Write a checkpoint; then forget old ones. A full disk leaves the ones there were."""
        target = self.folder / f"step-{state.step}"
        beside = self.folder / f".step-{state.step}.partial"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            write_tensors(beside / "model.safetensors", model)
            write_tensors(beside / "optimizer.safetensors", optimizer)
            write_file(beside / "state.json", json.dumps(asdict(state)).encode())
            shutil.rmtree(target, ignore_errors=True)
            beside.rename(target)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            last = f"the last one, {self.latest}, is whole" if self.latest else "there is none before it"
            raise UserError(f"{target}: the checkpoint could not be written ({error.strerror}); {last}") from None
        sync_folder(self.folder)
        self._forget()
        return target

    def clean(self) -> None:
        """Remove what a killed process left half-written."""
        for leftover in self.folder.glob(".step-*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _forget(self) -> None:
        kept = {*self.all()[-self.keep :], self.best}
        for old in set(self.all()) - kept:
            # renamed first, so that a kill in between leaves no half checkpoint under a good name
            gone = old.with_name(f".{old.name}.partial")
            old.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def read_state(checkpoint: Path) -> State:
    """The ``state.json`` of a checkpoint."""
    path = checkpoint / "state.json"
    try:
        state = TypeAdapter(State).validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:1])
        raise UserError(
            f"{path}: not the state of a checkpoint ({wrong}); delete {checkpoint} to use an older one"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: not the state of a checkpoint ({error.strerror}); delete {checkpoint} to use an older one"
        ) from None
    if checkpoint.name != f"step-{state.step}" or state.step > state.steps:
        raise UserError(
            f"{path}: says step {state.step} of {state.steps}, so it is another checkpoint's; "
            f"delete {checkpoint} to use an older one"
        )
    return state
