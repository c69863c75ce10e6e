"""Pieces of documents to tokens and their boundaries, in as many processes as there are cores.

`tokenizers` has threads of its own, but sentences, words and the making of arrays would wait in one of them. Processes
that each do everything for a batch keep all cores busy.

T tokens, P pieces, S sentences.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread

import numpy as np

from unmask.errors import UserError
from unmask.text.borders import LARGER, merge
from unmask.text.corpus import articles
from unmask.text.corpus.shards import smallest_type
from unmask.text.example import Array
from unmask.text.sources.documents import Piece
from unmask.text.sources.sentences import sentences
from unmask.text.sources.tagged import Sentence, Tagged
from unmask.text.tokens.lexicon import Lexicon
from unmask.text.tokens.tokenizer import Tokenizer

BATCH = 1 << 18
"""Characters that travel to a process at once, about."""


@dataclass(frozen=True)
class Encoded:
    """A batch of pieces, laid end to end."""

    tokens: Array  # [T]
    words: Array  # [T] not 0: this token begins a word, and what else the flags of `text.borders` say
    sentences: Array  # [T] bool: … a sentence
    lengths: Array  # [P] tokens of each piece
    first: list[bool]  # [P] this piece begins a document


@dataclass(frozen=True)
class Manner:
    """How text is encoded, by files, which each process loads for itself."""

    tokenizer: Path
    language: str
    lexicons: tuple[tuple[str, Path], ...] = ()  # what to find (phrases, entities), and the file that holds them


def encode(
    pieces: Sequence[Piece | Tagged], tokenizer: Tokenizer, language: str, lexicons: Mapping[str, Lexicon] | None = None
) -> Encoded:
    """Cut pieces of documents into sentences and those into tokens. Text that looks like [MASK] stays text.

    Args:
        pieces: all of text, all with the same fields, or all of words that a tagger has marked.
        tokenizer: cuts sentences.
        language: whose rules cut text.
        lexicons: by what they hold, phrases or entities; those found count as such.
    """
    if isinstance(pieces[0], Tagged):
        found = _tagged([piece.sentences for piece in pieces if isinstance(piece, Tagged)], tokenizer)
    elif pieces[0].fields:
        found = articles.cut([piece for piece in pieces if isinstance(piece, Piece)], tokenizer, language)
    else:
        found = _cut([sentences(piece.text, language) for piece in pieces], tokenizer)
    ids, words, begins, lengths = found
    for name, lexicon in (lexicons or {}).items():
        flagged = merge(words, *lexicon.find(ids, words, begins))
        words = words | flagged * np.uint8(LARGER[name])
    return Encoded(ids.astype(smallest_type(tokenizer.size)), words, begins, lengths, [p.first for p in pieces])


def _cut(pieces: list[list[str]], tokenizer: Tokenizer) -> tuple[Array, Array, Array, Array]:
    """[T] tokens, [T] where words begin, [T] where sentences begin, [P] tokens of each piece."""
    ids, lengths = tokenizer.encode_flat([sentence for piece in pieces for sentence in piece], specials=False)
    starts = np.cumsum(lengths) - lengths
    begins = np.zeros(len(ids), bool)
    begins[starts[lengths > 0]] = True
    words = tokenizer.word_starts(ids, starts)
    return ids, words, begins, _per_piece(lengths, pieces)


def _tagged(pieces: list[list[Sentence]], tokenizer: Tokenizer) -> tuple[Array, Array, Array, Array]:
    """The same of sentences whose words, and what begins at them, are given."""
    cut = [sentence for piece in pieces for sentence in piece]
    encoded = tokenizer.encode_words([sentence.words for sentence in cut])
    lengths = np.array([len(sentence.ids) for sentence in encoded])
    ids = np.concatenate([sentence.ids for sentence in encoded])
    words = np.concatenate([sentence.word_starts for sentence in encoded]).astype(np.uint8)
    words[words > 0] = [flags for sentence in cut for flags in sentence.begins]
    begins = np.zeros(len(ids), bool)
    begins[np.cumsum(lengths) - lengths] = True
    return ids, words, begins, _per_piece(lengths, pieces)


def _per_piece(lengths: Array, pieces: Sequence[Sized]) -> Array:
    """[P] tokens of each piece, from those of its sentences."""
    ends = np.append(0, np.cumsum(lengths))[np.cumsum([len(piece) for piece in pieces])]
    return np.diff(ends, prepend=0)


def encode_all(pieces: Iterable[Piece | Tagged], manner: Manner, processes: int) -> Iterator[Encoded]:
    """Encode a stream, in order, keeping no more than a few batches in memory.

    Args:
        pieces: of documents.
        manner: how.
        processes: 1: no others than this one.
    """
    if processes == 1:
        yield from (_encode(batch, manner) for batch in _batches(pieces))
        return
    from joblib import Parallel, delayed

    pool = Parallel(
        processes, return_as="generator", pre_dispatch=3 * processes, idle_worker_timeout=5,
        initializer=_end_with, initargs=(os.getpid(),),
    )  # fmt: skip
    yield from pool(delayed(_alone)(batch, manner) for batch in _batches(pieces))


def _batches(pieces: Iterable[Piece | Tagged]) -> Iterator[list[Piece | Tagged]]:
    batch: list[Piece | Tagged] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _alone(pieces: list[Piece | Tagged], manner: Manner) -> Encoded:
    """`_encode` in a process among others, which therefore starts no threads."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return _encode(pieces, manner)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which may be killed and can then tell nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _encode(pieces: list[Piece | Tagged], manner: Manner) -> Encoded:
    files = (manner.tokenizer, *(path for _, path in manner.lexicons))
    tokenizer, lexicons = _loaded(manner, tuple(path.stat().st_mtime_ns for path in files))
    return encode(pieces, tokenizer, manner.language, lexicons)


@lru_cache(maxsize=1)
def _loaded(manner: Manner, times: tuple[int, ...]) -> tuple[Tokenizer, dict[str, Lexicon]]:
    """Kept by each process. ``times``: when the files were written."""
    tokenizer = Tokenizer.load(manner.tokenizer)
    return tokenizer, {name: lexicon(path, tokenizer) for name, path in manner.lexicons}


def lexicon(path: Path, tokenizer: Tokenizer) -> Lexicon:
    """A file's lexicon: an entry a line; what follows a tab is not looked at.

    Raises:
        UserError: there is none that the tokenizer can write.
    """
    lines = path.read_text("utf-8-sig").splitlines()
    entries = [entry for line in lines if (entry := line.split("\t")[0].strip())]
    found = Lexicon(entries, tokenizer)
    if not found.entries:
        raise UserError(f"{path}: holds {len(entries)} entries, none of which can be found; one a line is wanted")
    return found
