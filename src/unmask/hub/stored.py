"""Which files of a Hugging Face folder hold its tensors: one, or shards that an index names; none outside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from unmask.errors import UserError
from unmask.training import weights


def stored_tensors(folder: Path, pickled: bool) -> tuple[Path, dict[str, Tensor]]:
    """The tensors of ``model.safetensors`` or ``pytorch_model.bin``, or of its shards; and its path.

    Args:
        folder: what `save_pretrained` wrote.
        pickled: whether a ``pytorch_model.bin`` may be read.

    Raises:
        UserError: Names the file that is missing, broken, outside the folder, or a pickle.
    """
    for name, read_file in (("model.safetensors", weights.read), ("pytorch_model.bin", weights.read_pickled)):
        whole, index = folder / name, folder / f"{name}.index.json"
        there = next((path for path in (whole, index) if path.exists() or path.is_symlink()), None)
        if there and read_file is weights.read_pickled and not pickled:
            raise UserError(f"{there}: a pickle, which could run code; unmask convert reads its numbers alone")
        if there:
            read_one = partial(_read_inside, folder, read_file)
            return there, read_one(name) if there == whole else _sharded(folder, index, read_one)
    raise UserError(f"{folder}: holds no model.safetensors; a folder written by save_pretrained would fit")


def _read_inside(folder: Path, read_file: Callable[[Path], dict[str, Tensor]], name: str) -> dict[str, Tensor]:
    return read_file(weights.inside(folder, name))


def _sharded(folder: Path, index: Path, read_one: Callable[[str], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all files that an index names."""
    places = weights.read_json(weights.inside(folder, index.name)).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise UserError(f"{index}: must map tensors to files under weight_map")
    tensors: dict[str, Tensor] = {}
    for file in dict.fromkeys(places.values()):
        tensors |= {name: tensor for name, tensor in read_one(file).items() if places.get(name) == file}
    if lost := [name for name in places if name not in tensors]:
        raise UserError(f"{index}: {lost[0]} is not in {places[lost[0]]}, where it should be")
    return tensors
