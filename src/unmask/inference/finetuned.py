"""A fine-tuned model: predicts, and lies on disk as what changed and the address of what did not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask.config import Config, build, folder
from unmask.disk import replace_file
from unmask.errors import UserError, as_list
from unmask.hub.remote import HUB, fetch
from unmask.inference import glyphs
from unmask.inference.building import spell
from unmask.inference.model import Model
from unmask.inference.source import Source
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.network import Network
from unmask.static.vectors import FILE as VECTORS
from unmask.tasks.base import Encoded, Prediction, Rows, Task
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.training import weights
from unmask.training.checkpoint import Checkpoints

BASE, WEIGHTS = "base.json", "model.safetensors"


class Base(Config):
    """``base.json``: what a fine-tuned run stands on."""

    address: str  # of the base: a path, from the run's folder if that is possible, or hf:owner/name
    files: dict[str, str]  # the base's weights: file to sha256
    model: Shape
    task: dict[str, dict[str, Any]]  # its name and settings, labels included


@dataclass(kw_only=True, repr=False)
class Finetuned(Model):
    """A model that does a task."""

    task: Task
    result: dict[str, Any] = field(default_factory=dict)  # `result.json` of its run

    def predict(self, inputs: Sequence[Any]) -> list[Prediction]:
        """What it says of texts (classify), pairs of texts (classify with two), or lists of words (tag).

        Raises:
            UserError: names the first that is something else.
        """
        given = as_list(inputs, f"each {self.task.fits}")
        return self.predict_rows(self.task.rows(given))[0] if given else []

    def predict_rows(self, rows: Rows) -> tuple[list[Prediction], Encoded]:
        """What it says of rows that were read, and how they were encoded."""
        encoded = self.task.encode(rows, self.tokenizer)
        logits, _ = Source(encoded, self.task).answer(self.network, self.device)
        self.network.eval()
        said = self.task.predictions(logits, encoded, rows)
        return [replace(p, cut=int(cut)) for p, cut in zip(said, encoded.cut, strict=True)], encoded

    def evaluate(self, path: str | Path) -> dict[str, float]:
        """Scores on a file of labelled rows."""
        rows = self.task.read(Path(path))
        return self.task.scores(self.predict_rows(rows)[0], rows)


def write(run: Path, base: str, shape: Shape, task: Task) -> None:
    """Write ``base.json`` beside the weights that changed."""
    name = type(task).__module__.rpartition(".")[2]
    about = Base(address=_address(run, base), files=_hashes(_home(base)), model=shape, task={name: task.model_dump()})
    replace_file(run / BASE, about.model_dump_json(indent=2).encode())


def changed(network: Network, tensors: Mapping[str, Tensor], everything: bool) -> dict[str, Tensor]:
    """Of these tensors those that training moved, or all."""
    return {
        name: tensors[name] for name, parameter in network.named_parameters() if everything or parameter.requires_grad
    }


def open_run(run: Path, open_model: Callable[[Path], Model]) -> Finetuned:
    """A fine-tuned run; its base is opened only if some of its weights are needed, and must be what it was.

    Raises:
        UserError: names the file that is missing, is not whole, or differs from what was fine-tuned.
    """
    about = build(Base, weights.read_json(run / BASE))
    task = _task(run / BASE, about.task)
    with torch.device("meta"):
        network = Network(backbone_of(about.model), task.heads(about.model))
    sizes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    tensors = weights.read(run / WEIGHTS)
    if lacking := [name for name in sizes if name not in tensors]:
        found = dict(_open_base(run, about, open_model).network.named_parameters())
        tensors |= {name: found[name].detach() for name in lacking if name in found}
    weights.check(run / WEIGHTS, tensors, sizes)
    network.fill(tensors)
    result = weights.read_json(run / "result.json") if (run / "result.json").exists() else {}
    tokenizer = Tokenizer.load(run)
    spell(network, tokenizer, glyphs.read(run, about.model))
    return Finetuned(run / WEIGHTS, about.model, network, tokenizer, task=task, result=result)


def _task(path: Path, settings: Mapping[str, Mapping[str, Any]]) -> Task:
    known = folder("unmask.tasks")
    for name, given in settings.items():
        if name in known:
            task = build(known[name], given)
            assert isinstance(task, Task)
            return task
    raise UserError(
        f"{path}: the task {', '.join(settings) or '(none)'} is not known here; known are {', '.join(known)}"
    )


def _open_base(run: Path, about: Base, open_model: Callable[[Path], Model]) -> Model:
    home = _home(about.address, run)
    if not home.exists():
        raise UserError(
            f"{run / BASE}: stands on {about.address}, which is not there; put it back or correct the address"
        )
    now = _hashes(home)
    for file, was in about.files.items():
        if now.get(file) != was:
            what = "is missing" if not (home / file).exists() else "is not what was fine-tuned (its sha256 differs)"
            raise UserError(f"{home / file}: {what}; {run} stands on it: put the old file back, or fine-tune again")
    return open_model(home)


def _home(address: str, run: Path = Path()) -> Path:
    """Where a base lies."""
    return fetch(address) if address.startswith(HUB) else run / address


def _address(run: Path, base: str) -> str:
    """A base's path from the run's folder, so that both can be moved together."""
    if base.startswith(HUB):
        return base
    try:
        return Path(os.path.relpath(Path(base).resolve(), run.resolve())).as_posix()
    except ValueError:  # another drive
        return str(Path(base).resolve())


def _hashes(home: Path) -> dict[str, str]:
    """The files that decide a base's weights, with their sha256."""
    if (home / BASE).is_file():
        files = [home / BASE, home / WEIGHTS]
    elif (home / VECTORS).is_file():
        files = [home / VECTORS]
    elif (home / "config.yaml").is_file():
        best = Checkpoints(home).best
        files = [best / WEIGHTS] if best else []
    else:
        files = sorted(home.glob("*.safetensors"))
    return {file.relative_to(home).as_posix(): _sha256(file) for file in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
