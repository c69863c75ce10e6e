"""Weights as files, from anybody: read without trust, of pickles their numbers alone; written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask.disk import replacing
from unmask.errors import UserError, found, is_text
from unmask.training.tensors import read_tensors, write_tensors

MOST_JSON = 16 * 2**20  # bytes; the longest honest index or configuration stays far below
LONGEST_NAME = 255  # bytes, as file systems have it
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")  # how they begin, bare and zipped
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
Sizes = Mapping[str, tuple[int, ...]]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file by name, as stored.

    Raises:
        UserError: The file is missing, truncated, or something else under that name, such as a pickle.
    """
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(9)
        # eight bytes for the header's length can look like a pickle's first two; behind them a header begins
        if begin[8:] != b"{" and begin.startswith(PICKLES):
            raise UserError(f"{path}: a pickle, which could run code and is never opened; save it as safetensors")
    return read_tensors(path)


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickle such as ``pytorch_model.bin``: torch builds them alone of all that it could ask for.

    Raises:
        UserError: The file is missing or damaged, or holds anything else.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception:  # a pickle can fail in every way; what torch says of it tells how to run its code
        raise UserError(f"{path}: holds more than weights, or is damaged; not opened") from None
    if not isinstance(loaded, dict) or not all(isinstance(name, str) and _whole(x) for name, x in loaded.items()):
        raise UserError(f"{path}: must hold tensors by name and nothing else; save it as safetensors")
    return {name: tensor.detach() for name, tensor in loaded.items()}


def _whole(value: Any) -> bool:
    """Whether it is a tensor whose every number is in the file: a view can claim more than there is."""
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file in a folder beside and move it. A full disk leaves the old file as it was."""
    try:
        with replacing(path) as beside:
            write_tensors(beside, tensors, {"format": "pt"})
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error.strerror}); free space or name another folder") from None


def check(path: Path, tensors: Mapping[str, Tensor], sizes: Sizes) -> None:
    """Refuse tensors that are not exactly those wanted: missing, unexpected, of another shape, or no numbers.

    Raises:
        UserError: Names the file and the first tensor that is wrong, and how many more there are.
    """
    wrong = [f"{name} is missing" for name in sizes if name not in tensors]
    wrong += [f"{name} is not part of this model" for name in tensors if name not in sizes]
    for name in (name for name in sizes if name in tensors):
        if tuple(tensors[name].shape) != tuple(sizes[name]):
            wrong.append(f"{name} has shape {list(tensors[name].shape)} instead of {list(sizes[name])}")
        elif tensors[name].dtype not in FLOATS:
            wrong.append(f"{name} holds {str(tensors[name].dtype)[6:]} instead of floats")
    if wrong:
        more = f" (and {len(wrong) - 1} more such)" if len(wrong) > 1 else ""
        raise UserError(f"{path}: does not match its configuration: {wrong[0]}{more}")


def refuse_not_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that hold NaN or infinity. Raises `UserError` that names the file and the first of them."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"{path}: {name} holds numbers that are not finite; the file is damaged, or training failed"
            )


def inside(folder: Path, name: str) -> Path:
    """The path of a folder's file; refuses names and links that lead out of it.

    In Hugging Face's download cache files link to ``blobs`` beside ``snapshots``; that counts as inside.
    """
    if "\0" in name or not is_text(name) or len(name.encode()) > LONGEST_NAME:
        raise UserError(f"{folder}: {found(name)} is no name of a file")
    path = folder / name
    homes = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        homes.append(folder.resolve().parent.parent / "blobs")
    if Path(name).name != name or not any(path.resolve().is_relative_to(home) for home in homes):
        raise UserError(f"{folder}: the file {name!r} lies outside the folder; only files inside it are opened")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size."""
    try:
        if path.stat().st_size > MOST_JSON:
            raise UserError(f"{path}: larger than {MOST_JSON >> 20} MB, which no configuration is")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: must hold a JSON object, not a {type(value).__name__}")
    return value
