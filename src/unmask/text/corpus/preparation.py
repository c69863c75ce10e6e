"""Text to a corpus on disk: the folder, the tokenizer, the stream, and the index that is written last."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from unmask.disk import alone
from unmask.errors import UserError
from unmask.text.borders import LARGER, known, of_several_words
from unmask.text.corpus import shards
from unmask.text.corpus.corpus import HELD_OUT, INDEX, Corpus
from unmask.text.corpus.encoding import Manner, encode_all
from unmask.text.corpus.excerpt import excerpt, texts
from unmask.text.corpus.folders import begin, claim, clear, write_json
from unmask.text.corpus.larger import Larger
from unmask.text.corpus.shards import FORMAT, smallest_type
from unmask.text.corpus.writing import SHARD, Position, Writer
from unmask.text.sources.documents import Piece, Sources
from unmask.text.sources.tagged import Tagged
from unmask.text.tokens.fields import fields_of, marks
from unmask.text.tokens.learning import some
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.vocabularies import Kind

SMALL = 4_000_000
"""Bytes of sources for which no processes are started."""

NOTHING = Larger()

Progress = Callable[[int, int], object]
"""Is told the bytes read and the tokens written."""


@dataclass(frozen=True)
class Training:
    """A tokenizer that is learned from the sources."""

    kind: Kind = "wordpiece"
    vocab_size: int = 8192
    lowercase: bool = True


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    corpus: Corpus
    seconds: float
    new_tokens: int  # made by this call; 0: the corpus was there already

    @property
    def tokens_per_second(self) -> float:
        """Of this call."""
        return self.new_tokens / self.seconds


def prepare(
    sources: Sources,
    out: Path,
    tokenizer: Training | Tokenizer,
    *,
    language: str = "en",
    valid: float = 0.005,
    larger: Larger = NOTHING,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
    processes: int | None = None,
    shard_tokens: int = SHARD,
    progress: Progress = lambda read, tokens: None,
) -> Prepared:
    """Make a corpus, or finish one that was begun with the same settings; one that is finished is left as it is.

    Args:
        sources: the text.
        out: the corpus's folder.
        tokenizer: one that is there, or how to train one.
        language: whose rules cut sentences.
        valid: share of the documents held out in ``out/valid``, at least one if there are two; 0: none.
        larger: units of several words to be found: phrases and entities.
        settings: what this corpus was made with, to compare with the next call's.
        overwrite: delete what is in the folder, if it is a corpus.
        processes: how many share the work; none: one for each core, and for a small source one.
        shard_tokens: about how many tokens to a shard; memory holds one shard.
        progress: told how far it is.

    Raises:
        UserError: the folder holds something else, or a corpus of other settings; or there is no text.
    """
    began = time.perf_counter()
    wanted = {**(settings or {}), "files": sources.fingerprint()}
    if isinstance(tokenizer, Tokenizer):
        wanted["tokenizer_hash"] = tokenizer.hash
    wanted |= larger.fingerprint()
    with alone(out):
        claim(out)
        if overwrite:
            clear(out)
        if not begin(out, wanted):
            return Prepared(Corpus.open(out), time.perf_counter() - began, 0)
        try:
            path, processes = _tokenizer(out, sources, tokenizer), processes or _processes(sources)
            lexicons = larger.lexicons(out, sources, path, language, processes)
            every = round(1 / valid) if valid else 0
            writer = Writer(out / "shards", out / HELD_OUT / "shards", every, shard_tokens)
            manner = Manner(path, language, tuple(lexicons.items()))
            _write(sources, out, manner, writer, processes, progress)
        except UserError:
            if not (out / "shards").is_dir():  # of hours of work, what is done stays
                clear(out)
            raise
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise UserError(f"{out}: the disk is full; make room and repeat the command, which then goes on") from None
    return Prepared(Corpus.open(out), time.perf_counter() - began, writer.tokens)


def _processes(sources: Sources) -> int:
    if sources.local and sources.unpacked_bytes <= SMALL:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write(sources: Sources, out: Path, manner: Manner, writer: Writer, processes: int, progress: Progress) -> None:
    seen = _Seen()
    stream = islice(seen.count(sources.pieces()), writer.position.pieces, None)
    for tokens in writer.write(encode_all(stream, manner, processes)):
        progress(sources.read, tokens)
    if not writer.position.step:
        raise UserError(_no_text(sources))
    facts = {
        "language": manner.language,
        "text_bytes": seen.bytes,
        "empty_documents": sources.empty + writer.position.empty,
    }
    _finish(out, manner.tokenizer, facts | _left_out(sources), writer.position)


@dataclass
class _Seen:
    """Counts the text as it goes by."""

    bytes: int = 0

    def count(self, pieces: Iterator[Piece | Tagged]) -> Iterator[Piece | Tagged]:
        for piece in pieces:
            self.bytes += len(piece.text.encode())
            yield piece


def _left_out(sources: Sources) -> dict[str, Any]:
    names = [[str(name), size] for name, size, _ in sources.fingerprint()]
    return {"sources": names, "left_out": [str(path) for path in sources.left_out]}


def _finish(out: Path, tokenizer: Path, facts: dict[str, Any], position: Position) -> None:
    """Count what was written, and write the index of the held-out documents and then that of the corpus."""
    loaded = Tokenizer.load(tokenizer)
    facts |= {"tokenizer": {"kind": loaded.kind, "size": loaded.size, "hash": loaded.hash}}
    facts |= {"type": np.dtype(smallest_type(loaded.size)).name, "split_documents": position.split}
    held = out / HELD_OUT
    if any((held / "shards").glob("*.safetensors")):
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(out / file, held / file)
        write_json(held / INDEX, _index(held, loaded.unk, {**facts, HELD_OUT: False}))
    write_json(out / INDEX, _index(out, loaded.unk, {**facts, HELD_OUT: (held / INDEX).is_file()}))


def _index(folder: Path, unk: int, facts: dict[str, Any]) -> dict[str, Any]:
    entries = [_entry(path, unk) for path in sorted((folder / "shards").glob("*.safetensors"))]
    if not entries:
        raise UserError(f"{folder}: every document was held out; give more text, or --valid 0")
    counts = {
        name: sum(entry[name] for entry in entries) for name in ("documents", "sentences", "words", "tokens", "unknown")
    }
    counts["units"] = {
        name: {what: sum(entry["units"][name][what] for entry in entries) for what in ("of_several_words", "tokens")}
        for name in entries[0]["units"]
    }
    parts = json.dumps([FORMAT, facts["tokenizer"]["hash"], [entry["hash"] for entry in entries]])
    key = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
    return {"format": FORMAT, **counts, **facts, "hash": key, "shards": entries}


def _entry(path: Path, unk: int) -> dict[str, Any]:
    shard = shards.read(path, 0)
    with path.open("rb") as file:
        key = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    larger = {
        name: dict(zip(("of_several_words", "tokens"), of_several_words(shard.words, flag), strict=True))
        for name, flag in LARGER.items()
        if known(shard.words) & flag
    }
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "documents": len(shard.documents) - 1,
        "sentences": len(shard.sentences) - 1,
        "words": int(np.count_nonzero(shard.words)),
        "tokens": len(shard.tokens),
        "unknown": int(np.count_nonzero(shard.tokens == unk)),
        "hash": key,
        "units": larger,
    }


def _no_text(sources: Sources) -> str:
    return f"{', '.join(map(str, sources.given))}: no text in {len(sources.files)} files; a corpus needs some"


def _tokenizer(out: Path, sources: Sources, tokenizer: Training | Tokenizer) -> Path:
    """The corpus's tokenizer file, made if it is not there."""
    path = out / "tokenizer.json"
    if path.is_file():
        return path
    fields = [*sources.fields, sources.text_column] if sources.fields else []
    if isinstance(tokenizer, Training):
        size = tokenizer.vocab_size - len(marks(fields))
        found = some(texts(excerpt(sources)), _no_text(sources))
        tokenizer = Tokenizer.train(found, tokenizer.kind, size, tokenizer.lowercase)
    tokenizer = tokenizer.plus(marks(fields))
    if fields and list(known := fields_of(tokenizer)) != fields:
        raise UserError(f"--fields: the tokenizer has {', '.join(known)}, the last of them the text; give the same")
    beside = out / ".tokenizer"
    tokenizer.save(beside)
    (beside / "tokenizer_config.json").replace(out / "tokenizer_config.json")
    (beside / path.name).replace(path)
    beside.rmdir()
    return path
