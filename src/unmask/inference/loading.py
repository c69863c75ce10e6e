"""A model to use: from a run, or from a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from unmask import hub
from unmask.config import build, folder
from unmask.errors import UserError, first_line
from unmask.hub.remote import HUB, fetch
from unmask.inference import finetuned, glyphs
from unmask.inference.building import alone, network_of, spell
from unmask.inference.early import FITS
from unmask.inference.finetuned import Finetuned
from unmask.inference.model import Model
from unmask.inference.words import of_vectors
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.network import Network
from unmask.objectives.base import Objective
from unmask.static.vectors import FILE as VECTORS
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.training import weights
from unmask.training.checkpoint import Checkpoints
from unmask.training.placement import Placement
from unmask.training.settings import Training


def load(path: str | Path, device: str = "auto", precision: str = "float32") -> Model:
    """Load a model to use it.

    Args:
        path: A run's folder, one of word vectors, a Hugging Face folder, or ``hf:owner/name`` to fetch one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32``, ``bfloat16``, or ``auto`` for the faster one here.

    Raises:
        UserError: There is no model, or it is not whole; nothing missing is ever made up.
    """
    if not isinstance(path, str | Path):
        raise UserError(f"{path!r}: is no place; give a run's folder, a Hugging Face folder, or hf:owner/name")
    place = Placement.of(build(Training, {"device": device, "precision": precision}))
    model = _open(fetch(path) if str(path).startswith(HUB) else Path(path))
    model.network.to(place.device, place.dtype).eval()
    model.device = place.device
    return model


def load_finetuned(path: str | Path, device: str = "auto", precision: str = "float32") -> Finetuned:
    """Load a model that predicts. Raises `UserError` where there is another one."""
    model = load(path, device, precision)
    if not isinstance(model, Finetuned):
        raise UserError(f"{path}: does no task; the run of a fine-tuning would fit (unmask finetune {path} --task …)")
    return model


def _open(path: Path) -> Model:
    if (path / finetuned.BASE).is_file():
        return finetuned.open_run(path, _open)
    if (path / VECTORS).is_file():
        return of_vectors(path)
    if (path / "config.yaml").is_file():
        return _open_run(path)
    if (path / "config.json").is_file():
        return of_found(hub.read(path), path)
    raise UserError(f"{path}: {'holds no model' if path.exists() else 'does not exist'}; {FITS}")


def of_found(found: hub.Found, home: Path) -> Model:
    """The model of a Hugging Face folder that was read."""
    with torch.device("meta"):
        heads = {name: hub.heads_of(found.shape)[name]() for name in found.heads}
        network = Network(backbone_of(found.shape), heads)
    model = _fill_in(network.eval(), found.shape, found.tensors, found.path, home, found.notes)
    pad, notes = model.tokenizer.pad, model.notes
    if found.pad not in (None, pad):
        notes = [*notes, f"its tokenizer pads with token {pad}, as is done here; its config.json says {found.pad}"]
    return replace(model, begins=found.begins, notes=notes)


def _open_run(run: Path) -> Model:
    """The best checkpoint of a run."""
    path = run / "config.yaml"
    settings = read_settings(path)
    if not isinstance(settings.get("model"), dict) or not isinstance(settings.get("objective"), dict):
        raise UserError(f"{path}: not the run of a pre-training; it must say model and objective")
    if (checkpoint := Checkpoints(run).best) is None:
        raise UserError(f"{run}: has no checkpoint yet; repeat the command that made it")
    file = checkpoint / "model.safetensors"
    shape = build(Shape, settings["model"], spell=lambda key: f"{path}: model.{key}")
    objectives = _objectives(path, settings["objective"])
    with torch.device("meta"):
        network = network_of(shape, objectives)
        if "converted_from" in settings:  # others' folders hold nothing of what was trained beside a model
            network = alone(network)
    model = _fill_in(network, shape, weights.read(file), file, run, [])
    network.settle()
    return replace(model, begins=_begins(path, settings, model, objectives))


def _begins(path: Path, settings: Mapping[str, Any], model: Model, objectives: list[Objective]) -> int | None:
    """The token that a decoder is given first: as it came along with a converted model, or its objective's."""
    if (told := settings.get("begins")) is not None:
        if not isinstance(told, int) or not 0 <= told < model.shape.vocab_size:
            raise UserError(f"{path}: begins {told!r}: a token's id below {model.shape.vocab_size} would fit")
        return told
    roles = [objective.begins for objective in objectives if objective.begins is not None]
    return getattr(model.tokenizer, roles[0]) if roles else None


def _objectives(path: Path, settings: Mapping[str, Any]) -> list[Objective]:
    known = folder("unmask.objectives")
    if unknown := [name for name in settings if name not in known]:
        raise UserError(f"{path}: objective {unknown[0]} is not known here; known are {', '.join(known)}")
    made = [build(known[name], given or {}) for name, given in settings.items()]
    return [objective for objective in made if isinstance(objective, Objective)]


def _fill_in(
    network: Network, shape: Shape, tensors: Mapping[str, Tensor], source: Path, home: Path, notes: list[str]
) -> Model:
    """Give a network without numbers exactly these tensors; its tokenizer lies at home."""
    sizes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    weights.check(source, tensors, sizes)
    weights.refuse_not_finite(source, tensors)
    network.fill(tensors)
    tokenizer = Tokenizer.load(home)
    if tokenizer.size > shape.vocab_size:
        raise UserError(
            f"{home}: its tokenizer has {tokenizer.size} tokens, its model {shape.vocab_size}; give it its own"
        )
    spell(network, tokenizer, glyphs.read(home, shape))
    return Model(source, shape, network, tokenizer, notes)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a run as they stand in its ``config.yaml``."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: must hold settings, one `name: value` a line")
    return settings
