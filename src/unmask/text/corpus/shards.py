"""One shard of a corpus on disk: a safetensors file that is written whole and read through a memory map.

T tokens, S sentences, K documents.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.errors import UserError
from unmask.text.borders import LARGER, known
from unmask.text.example import Array

FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """A stretch of a corpus that begins and ends with a document."""

    tokens: Array  # [T] memory-mapped, of the smallest integer type that holds the vocabulary
    words: Array  # [T] not 0: this token begins a word, and what else the flags of `text.borders` say
    sentences: Array  # [S+1] where sentences begin, and T
    documents: Array  # [K+1] where documents begin, and T
    first_document: int  # number of the shard's first document in the corpus


def smallest_type(vocabulary: int) -> type[np.unsignedinteger]:
    """The smallest type that numbers a vocabulary of this size."""
    return next(kind for kind in (np.uint8, np.uint16, np.uint32) if vocabulary <= np.iinfo(kind).max + 1)


def write(path: Path, tokens: Array, words: Array, sentences: Array, documents: Array, span: Array) -> None:
    """Write a shard so that it is there as a whole or not at all.

    Args:
        path: the file.
        tokens: [T], already of the type they are stored in.
        words: [T] flags of what begins at this token, see `text.borders`.
        sentences, documents: [T] bool: this token begins one.
        span: int64 numbers that say which part of the corpus and of the sources this is.
    """
    from safetensors.numpy import save

    arrays = {"tokens": tokens, "span": span}
    bits = {"words": words > 0, "sentences": sentences, "documents": documents}
    bits |= {name: words & flag > 0 for name, flag in LARGER.items() if known(words) & flag}
    arrays |= {name: np.packbits(each, bitorder="little") for name, each in bits.items()}
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        file.write(save(arrays))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def span(path: Path) -> Array:
    """The numbers given to `write`."""
    return np.array(_arrays(path)["span"])


def read(path: Path, first_document: int) -> Shard:
    """Open a shard. Raises `UserError` where the file is none."""
    arrays = _arrays(path)
    tokens = arrays["tokens"]
    bits = {
        name: np.unpackbits(arrays[name], count=len(tokens), bitorder="little").view(bool)
        for name in ("words", "sentences", "documents", *LARGER)
        if name in arrays
    }
    sentences, documents = (np.append(np.flatnonzero(bits[name]), len(tokens)) for name in ("sentences", "documents"))
    words = bits["words"]
    for name in LARGER.keys() & bits.keys():
        words = words | bits[name] * np.uint8(LARGER[name])
    return Shard(tokens, words, sentences, documents, first_document)


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays in a safetensors file, mapped and not read. `safetensors` checks the file but copies what it gives."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: no shard of a corpus ({error}); prepare the corpus again") from None
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    types = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "I64": np.int64}
    return {
        name: np.memmap(path, types[entry["dtype"]], "r", 8 + size + entry["data_offsets"][0], tuple(entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }
