"""Pieces of documents to tokens and their boundaries, in as many processes as there are cores.

`tokenizers` has threads of its own, but sentences, words and the making of arrays would wait in one of them. Processes
that each do everything for a batch keep all cores busy.

T tokens, P pieces, S sentences.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread

import numpy as np

from unmask.text.corpus.shards import smallest_type
from unmask.text.example import Array
from unmask.text.sources.documents import Piece
from unmask.text.sources.sentences import sentences
from unmask.text.tokens.tokenizer import Tokenizer

BATCH = 1 << 18
"""Characters that travel to a process at once, about."""


@dataclass(frozen=True)
class Encoded:
    """A batch of pieces, laid end to end."""

    tokens: Array  # [T]
    words: Array  # [T] bool: this token begins a word
    sentences: Array  # [T] bool: … a sentence
    lengths: Array  # [P] tokens of each piece
    first: list[bool]  # [P] this piece begins a document


def encode(pieces: list[Piece], tokenizer: Tokenizer, language: str) -> Encoded:
    """Cut pieces of documents into sentences and those into tokens. Text that looks like [MASK] stays text."""
    cut = [sentences(piece.text, language) for piece in pieces]
    ids, lengths = tokenizer.encode_flat([sentence for piece in cut for sentence in piece], specials=False)
    starts = np.cumsum(lengths) - lengths
    begins = np.zeros(len(ids), bool)
    begins[starts[lengths > 0]] = True
    ends = np.append(0, np.cumsum(lengths))[np.cumsum([len(piece) for piece in cut])]
    words = tokenizer.word_starts(ids, starts)
    tokens = ids.astype(smallest_type(tokenizer.size))
    return Encoded(tokens, words, begins, np.diff(ends, prepend=0), [piece.first for piece in pieces])


def encode_all(pieces: Iterable[Piece], tokenizer: Path, language: str, processes: int) -> Iterator[Encoded]:
    """Encode a stream, in order, keeping no more than a few batches in memory.

    Args:
        pieces: of documents.
        tokenizer: the file that each process loads.
        language: of the text.
        processes: 1: no others than this one.
    """
    if processes == 1:
        yield from (_encode(batch, tokenizer, language) for batch in _batches(pieces))
        return
    from joblib import Parallel, delayed

    pool = Parallel(
        processes, return_as="generator", pre_dispatch=3 * processes, idle_worker_timeout=5,
        initializer=_end_with, initargs=(os.getpid(),),
    )  # fmt: skip
    yield from pool(delayed(_alone)(batch, tokenizer, language) for batch in _batches(pieces))


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _alone(pieces: list[Piece], tokenizer: Path, language: str) -> Encoded:
    """`_encode` in a process among others, which therefore starts no threads."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return _encode(pieces, tokenizer, language)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which may be killed and can then tell nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _encode(pieces: list[Piece], tokenizer: Path, language: str) -> Encoded:
    return encode(pieces, _loaded(tokenizer, tokenizer.stat().st_mtime_ns), language)


@lru_cache(maxsize=1)
def _loaded(tokenizer: Path, time: int) -> Tokenizer:
    """Kept by each process. ``time``: when the file was written."""
    return Tokenizer.load(tokenizer)
