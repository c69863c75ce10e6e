"""Encoded documents to shards, two streams at once: the corpus, and the documents held out of it.

Shards are written in steps, the held-out one of a step first; a step counts once the corpus's own shard is there. Each
notes how much of the stream it ends. So whatever instant a process is killed at, the next one knows where to go on, and
writes the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unmask.text.corpus import shards
from unmask.text.corpus.encoding import Encoded
from unmask.text.example import Array

SHARD = 4_000_000
"""Tokens in a shard, about."""


@dataclass
class Position:
    """How far the stream of pieces has been written."""

    pieces: int = 0
    documents: int = 0  # documents begun, empty ones included
    empty: int = 0  # documents of which the tokenizer leaves nothing
    split: int = 0  # documents cut because they are longer than a shard
    step: int = 0  # shards written


@dataclass
class _Pile:
    """What the next shard of one stream will hold."""

    folder: Path
    parts: list[tuple[Array, Array, Array, Array]] = field(default_factory=list)
    tokens: int = 0

    def add(self, tokens: Array, words: Array, sentences: Array, first: bool) -> None:
        documents = np.zeros(len(tokens), bool)
        documents[0] = first or not self.parts
        self.parts.append((tokens, words, sentences, documents))
        self.tokens += len(tokens)

    def write(self, step: int, span: Array) -> None:
        if self.parts:
            self.folder.mkdir(parents=True, exist_ok=True)
            tokens, words, sentences, documents = (np.concatenate(arrays) for arrays in zip(*self.parts, strict=True))
            shards.write(shard_file(self.folder, step), tokens, words, sentences, documents, span)
        self.parts, self.tokens = [], 0


def shard_file(folder: Path, step: int) -> Path:
    """The shard of a step."""
    return folder / f"{step:05}.safetensors"


class Writer:
    """Writes a stream of pieces.

    Args:
        kept: the folder of the corpus's shards.
        held_out: that of the held-out documents.
        every: one document of so many is held out; 0: none.
        shard: tokens in a shard, about.
    """

    def __init__(self, kept: Path, held_out: Path, every: int, shard: int = SHARD):
        self.kept, self.held_out, self.every, self.shard = _Pile(kept), _Pile(held_out), every, shard
        self.position = _resume(kept, held_out)
        self.tokens = 0  # written by this process
        self._nothing = False  # of the present document there is no token yet

    def write(self, stream: Iterable[Encoded]) -> Iterable[int]:
        """Write everything that comes, and say after each batch how many tokens that were."""
        for batch in stream:
            ends = np.cumsum(batch.lengths)
            for begin, end, first in zip(ends - batch.lengths, ends, batch.first, strict=True):
                self._make_room(first)
                part = slice(begin, end)
                self._add(batch.tokens[part], batch.words[part], batch.sentences[part], first)
            yield self.tokens
        self._end_document()
        self._flush()

    def _make_room(self, first: bool) -> None:
        """Write a shard if it is full: before a new document, or within one that would fill another."""
        fullest = max(self.kept.tokens, self.held_out.tokens)
        if fullest >= (self.shard if first else 2 * self.shard):
            if first:
                self._end_document()
            else:
                self.position.split += 1
            self._flush()

    def _end_document(self) -> None:
        self.position.empty += self._nothing
        self._nothing = False

    def _add(self, tokens: Array, words: Array, sentences: Array, first: bool) -> None:
        position = self.position
        if first:
            self._end_document()
            position.documents += 1
            self._nothing = True
        position.pieces += 1
        if len(tokens):
            begins = first or self._nothing
            self._nothing = False
            self.tokens += len(tokens)
            pile = self.held_out if held_out(position.documents - 1, self.every) else self.kept
            pile.add(tokens, words, sentences, begins)

    def _flush(self) -> None:
        if not (self.kept.parts or self.held_out.parts):
            return
        position = self.position
        span = np.array([position.pieces, position.documents, position.empty, position.split], np.int64)
        self.held_out.write(position.step, span)
        self.kept.write(position.step, span)
        position.step += 1


def held_out(document: int, every: int) -> bool:
    """Whether this document of a stream is held out: one of ``every``; of the first so many the second and the fourth.

    So the smallest corpora have one, and those of four documents two, which is what objectives of pairs need.
    """
    if not every:
        return False
    group, place = divmod(document, every)
    return place == zlib.crc32(b"%d" % group) % every if group else place in (1, 3)


def _resume(kept: Path, held: Path) -> Position:
    """Where the last whole step ended. What lies beyond it is removed."""
    step = 0
    while shard_file(kept, step).is_file():
        step += 1
    for stale in [path for folder in (kept, held) for path in folder.glob("*.*")]:
        if stale.suffix == ".part" or int(stale.stem) >= step:
            stale.unlink()
    if not step:
        return Position()
    pieces, documents, empty, split = shards.span(shard_file(kept, step - 1)).tolist()
    return Position(pieces, documents, empty, split, step)
