"""A prepared corpus: a folder of shards, read through memory maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.text.corpus import shards
from unmask.text.corpus.shards import FORMAT, Shard
from unmask.text.tokens.tokenizer import Tokenizer

INDEX = "corpus.json"
HELD_OUT = "valid"
_COUNTS = ("documents", "sentences", "words", "tokens")


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk. ``unmask prepare`` makes one."""

    folder: Path
    index: dict[str, Any]  # what corpus.json says
    documents: int
    sentences: int
    words: int
    tokens: int
    hash: str  # of its tokens and boundaries and of the tokenizer
    files: tuple[Path, ...]
    first_documents: tuple[int, ...]  # by shard
    extra: tuple[str, ...] = ()  # special tokens that its tokenizer is to know besides

    @classmethod
    def open(cls, folder: str | Path) -> Corpus:
        """Open a prepared corpus.

        Raises:
            UserError: nothing there, half prepared, of another format, or files missing.
        """
        folder = Path(folder)
        index = _index(folder)
        files = tuple(folder / "shards" / Path(entry["file"]).name for entry in index["shards"])
        for file, entry in zip(files, index["shards"], strict=True):
            if not file.is_file() or file.stat().st_size != entry["bytes"]:
                raise UserError(f"{file}: missing or not whole; prepare the corpus again with --overwrite")
        firsts = np.cumsum([0, *(entry["documents"] for entry in index["shards"])])[:-1]
        counts = {name: index[name] for name in _COUNTS}
        return cls(folder, index, hash=index["hash"], files=files, first_documents=tuple(firsts.tolist()), **counts)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.files)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that cut the text. Raises `UserError` if it has been changed since."""
        found = Tokenizer.load(self.folder / "tokenizer.json")
        if found.hash != self.index["tokenizer"]["hash"]:
            raise UserError(f"{self.folder}: tokenizer.json is not the one the corpus was prepared with")
        return found.plus(self.extra)

    def plus(self, extra: Sequence[str]) -> Corpus:
        """The same corpus with a tokenizer that knows these special tokens too. No text has them."""
        return replace(self, extra=tuple(dict.fromkeys([*self.extra, *extra])))

    @cached_property
    def valid(self) -> Corpus | None:
        """The documents that were held out."""
        return Corpus.open(self.folder / HELD_OUT).plus(self.extra) if self.index.get(HELD_OUT) else None

    def shard(self, i: int) -> Shard:
        """The i-th shard. The last few are kept open."""
        return _open(self.files[i], self.first_documents[i], self.hash)


@lru_cache(maxsize=8)
def _open(file: Path, first_document: int, corpus: str) -> Shard:
    """``corpus``: its hash, so that a corpus that was prepared again is read again."""
    return shards.read(file, first_document)


def _index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        why = "was never finished; repeat `unmask prepare`" if (folder / "shards").is_dir() else "holds no corpus"
        raise UserError(f"{folder}: {why} (no {INDEX})") from None
    except NotADirectoryError:
        raise UserError(f"{folder}: is a file; give the folder that `unmask prepare` made of it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / INDEX}: cannot be read ({error})") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise UserError(f"{folder / INDEX}: of another format than {FORMAT}; prepare the corpus again")
    if missing := [name for name in (*_COUNTS, "hash", "shards", "tokenizer") if name not in index]:
        raise UserError(f"{folder / INDEX}: does not say {', '.join(missing)}; prepare the corpus again")
    return index
