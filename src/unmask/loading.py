"""A model to use: from a run, or from a Hugging Face folder.

T tokens, N sequences, L length, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from unmask import hub
from unmask.config import build, folder
from unmask.errors import UserError
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import Batch, collate
from unmask.nn.network import Network
from unmask.objectives.base import Objective
from unmask.text.example import Array, Example, Stream
from unmask.text.tokenizer import Tokenizer
from unmask.training import weights
from unmask.training.checkpoint import Checkpoints
from unmask.training.placement import Placement
from unmask.training.settings import Training

TOKENS_AT_ONCE = 4096  # what is computed together: enough to keep a processor busy, little to hold
HUB = "hf:"


@dataclass
class Model:
    """An encoder with its tokenizer and whatever heads came with it."""

    source: Path  # the file its weights came from
    shape: Shape
    network: Network
    tokenizer: Tokenizer
    notes: list[str] = field(default_factory=list)  # what was absent there or left out, a line each
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def encoder(self) -> Encoder:
        """The backbone."""
        assert isinstance(self.network.backbone, Encoder)
        return self.network.backbone

    @property
    def heads(self) -> list[str]:
        """Names of the heads it has."""
        return list(self.network.heads)

    def hidden(self, texts: Sequence[str] | Sequence[Sequence[int]], layer: int = -1) -> list[Array]:
        """States of every token, one float32 array [L, D] per sequence; nothing is padded and nothing cut.

        Args:
            texts: Texts, which get the special tokens, or lists of token ids, which are taken as they are.
            layer: 0 for the embeddings, 1 … for the layers, -1 for the last, normed.

        Raises:
            UserError: A sequence is empty or longer than the model reads, an id is outside the vocabulary, or there is
                no such layer.
        """
        if not -self.shape.layers - 1 <= layer <= self.shape.layers:
            raise UserError(
                f"layer {layer}: the model has layers 0 (the embeddings) to {self.shape.layers}, or -1"
            )
        sequences = self._sequences(texts)
        found: list[Array] = [np.empty(0)] * len(sequences)
        for group in by_length([len(ids) for ids in sequences], TOKENS_AT_ONCE):
            batch = self._batch([sequences[n] for n in group])
            with torch.inference_mode():
                states_TD = self.encoder.layers(batch.streams["encoder"])[layer].float().cpu().numpy()
            ends = np.cumsum([len(sequences[n]) for n in group])
            for n, states_LD in zip(group, np.split(states_TD, ends[:-1]), strict=True):
                found[n] = states_LD.copy()
        return found

    def fill(self, text: str, k: int = 5) -> list[list[tuple[str, float]]]:
        """For every mask in the text, the k likeliest tokens with their probabilities.

        Raises:
            UserError: The text has no mask, or the model no masked-LM head.
        """
        if "masked_lm" not in self.network.heads:
            raise UserError(
                f"{self.source}: has no masked_lm head; pre-train with --objective masked_lm to fill masks"
            )
        mask = self.tokenizer.tokens([self.tokenizer.mask])[0]
        (ids,) = self._sequences([text])
        places = np.flatnonzero(ids == self.tokenizer.mask)
        if not len(places):
            raise UserError(f"{text!r}: holds no mask; write {mask} where a token is wanted")
        with torch.inference_mode():
            states_MD = self.network.states(self._batch([ids]))[torch.from_numpy(places).to(self.device)]
            # the matrix may have more rows than the tokenizer has tokens
            logits_MV = self.network.heads["masked_lm"](states_MD).float()[:, : self.tokenizer.size]
            best = logits_MV.softmax(-1).topk(min(k, self.tokenizer.size))
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [list(zip(self.tokenizer.tokens(tokens), chances, strict=True)) for tokens, chances in rows]

    def _sequences(self, texts: Sequence[str] | Sequence[Sequence[int]]) -> list[Array]:
        """Checked token ids [L] of each."""
        if isinstance(texts, str):
            raise UserError("texts must be a list of texts or of lists of ids; put the one text in a list")
        encoded: dict[int, Array] = {}
        if words := {n: text for n, text in enumerate(texts) if isinstance(text, str)}:
            pieces = self.tokenizer.encode(list(words.values()))
            around = self.tokenizer.cls, self.tokenizer.sep
            encoded = {
                n: np.array([around[0], *p.ids, around[1]]) for n, p in zip(words, pieces, strict=True)
            }
        found = [encoded[n] if n in encoded else np.asarray(text) for n, text in enumerate(texts)]
        for n, ids in enumerate(found):
            self._check(n, ids)
        return found

    def _check(self, n: int, ids: Array) -> None:
        if ids.ndim != 1 or not len(ids) or ids.dtype.kind not in "iu":
            raise UserError(f"sequence {n}: must be a text or a list of one or more token ids")
        if len(ids) > self.shape.max_length:
            raise UserError(
                f"sequence {n}: has {len(ids)} tokens; the model reads up to {self.shape.max_length}"
            )
        if ids.min() < 0 or ids.max() >= self.shape.vocab_size:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise UserError(
                f"sequence {n}: {wrong} is no token; ids go from 0 to {self.shape.vocab_size - 1}"
            )

    def _batch(self, sequences: list[Array]) -> Batch:
        stream = Stream(np.concatenate(sequences), np.array([len(ids) for ids in sequences]))
        return collate(Example({"encoder": stream})).to(self.device)


def by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Numbers of sequences in groups of about equal length and at most ``budget`` tokens, the longest first.

    >>> list(by_length([2, 9, 3, 4], 10))
    [[1], [3, 2, 0]]
    """
    group: list[int] = []
    tokens = 0
    for n in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        if group and tokens + lengths[n] > budget:
            yield group
            group, tokens = [], 0
        group.append(n)
        tokens += lengths[n]
    if group:
        yield group


def load(path: str | Path, device: str = "auto", precision: str = "float32") -> Model:
    """Load a model to use it.

    Args:
        path: A run's folder, a Hugging Face folder, or ``hf:owner/name`` to fetch one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32``, ``bfloat16``, or ``auto`` for the faster one here.

    Raises:
        UserError: There is no model, or it is not whole; nothing missing is ever made up.
    """
    place = Placement.of(build(Training, {"device": device, "precision": precision}))
    model = _open(fetch(path) if str(path).startswith(HUB) else Path(path))
    model.network.to(place.device, place.dtype).eval()
    model.device = place.device
    return model


def fetch(name: str | Path) -> Path:
    """The local copy of ``hf:owner/name``: what is no weights, and weights in safetensors."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{name}: fetching needs huggingface_hub; pip install huggingface_hub, or name a folder"
        ) from None
    wanted = ["*.json", "*.txt", "*.safetensors"]
    try:
        return Path(snapshot_download(str(name).removeprefix(HUB), allow_patterns=wanted))
    except (
        Exception
    ) as error:  # its errors have no common class, and each means that there is nothing to load
        raise UserError(f"{name}: could not be fetched ({str(error).splitlines()[0]})") from None


def _open(path: Path) -> Model:
    if (path / "config.yaml").is_file():
        return _open_run(path)
    if (path / "config.json").is_file():
        found = hub.read(path)
        with torch.device("meta"):
            network = Network(
                Encoder(found.shape), {name: hub.heads_of(found.shape)[name]() for name in found.heads}
            )
        return _fill_in(network, found.shape, found.tensors, found.path, path, found.notes)
    wanted = "a run's folder (config.yaml), a Hugging Face folder (config.json), or hf:owner/name"
    raise UserError(f"{path}: {'holds no model' if path.exists() else 'does not exist'}; {wanted} would fit")


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
    with torch.device("meta"):
        heads = [o.heads(shape) for o in _objectives(path, settings["objective"])]
        network = Network(Encoder(shape), {name: head for several in heads for name, head in several.items()})
    return _fill_in(network, shape, weights.read(file), file, run, [])


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
    network.load_state_dict({name: tensors[name].float() for name in sizes}, strict=False, assign=True)
    network.tie()
    tokenizer = Tokenizer.load(home)
    if tokenizer.size > shape.vocab_size:
        raise UserError(
            f"{home}: its tokenizer has {tokenizer.size} tokens, its model {shape.vocab_size}; give it its own tokenizer"
        )
    return Model(source, shape, network, tokenizer, notes)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a run as they stand in its ``config.yaml``."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: must hold settings, one `name: value` a line")
    return settings
