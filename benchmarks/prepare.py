"""Preparing a corpus against a bare loop of the tokenizer and against `datasets.map` with grouping; masking too.

All read the same paragraphs of the same text and use the same vocabulary, trained on it. Needs
`pip install unmask[benchmark]`.

    python benchmarks/prepare.py TEXT [--chinese TEXT]          the table
    python benchmarks/prepare.py TEXT --memory 60 600           peak memory for so many megabytes of text
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from grouping import grouped
from turns import Program, Run, compare, serve
from unmask.text.corpus.preparation import prepare
from unmask.text.corruption.masking import Unit, mask_tokens
from unmask.text.sources.documents import Sources
from unmask.text.tokens.tokenizer import Tokenizer

MEGABYTES = 20
"""Text that is prepared in a turn."""

UNITS, ROWS = ("token", "whole_word", "span"), (32, 512)
"""What is masked, and in batches of how many rows: a processor's step and a GPU's."""


def ours(text: str, vocabulary: str, language: str) -> Run:
    out = Path(tempfile.mkdtemp())
    tokenizer = Tokenizer.load(vocabulary)

    def run() -> float:
        corpus = prepare(Sources([text]), out, tokenizer, language=language, overwrite=True).corpus
        return corpus.tokens + (corpus.valid.tokens if corpus.valid else 0)

    return run


def bare(text: str, vocabulary: str, language: str) -> Run:
    """What the tokenizer alone takes: paragraphs in, arrays of identifiers out."""
    backend = Tokenizer.load(vocabulary).backend

    def run() -> float:
        tokens = 0
        with Path(text).open(encoding="utf-8") as file:
            while batch := list(itertools.islice(file, 1000)):
                encodings = backend.encode_batch(batch, add_special_tokens=False)
                tokens += sum(len(np.array(encoding.ids, np.uint16)) for encoding in encodings)
        return tokens

    return run


def mapped(text: str, vocabulary: str, language: str) -> Run:
    """`run_mlm.py`'s way, with rows of 512."""
    import datasets

    datasets.disable_caching()
    datasets.disable_progress_bars()

    def run() -> float:
        cache = tempfile.mkdtemp()
        tokens = 512.0 * len(grouped(text, vocabulary, 512, cache))
        shutil.rmtree(cache)
        return tokens

    return run


def masking(text: str, vocabulary: str, language: str, unit: Unit, rows: int) -> Run:
    """A batch of so many rows of 128 tokens of a corpus, masked."""
    from unmask.text.chance import Chance
    from unmask.text.example import Stream

    out = Path(tempfile.mkdtemp())
    tokenizer = Tokenizer.load(vocabulary)
    shard = prepare(Sources([text]), out, tokenizer, language=language).corpus.shard(0)
    tokens = rows * 128
    stream = Stream(
        np.array(shard.tokens[:tokens], np.int32), np.full(rows, 128), units=np.cumsum(shard.words[:tokens])
    )
    repeats = 16_000 // rows

    def run() -> float:
        for step in range(repeats):
            mask_tokens(stream, tokenizer, Chance.of(0, step, np.arange(rows)), unit=unit)
        return float(repeats * tokens)

    return run


PROGRAMS: dict[str, Callable[..., Run]] = {"ours": ours, "bare": bare, "mapped": mapped, "masking": masking}


def build(program: str, **settings: Any) -> Run:
    return PROGRAMS[program](**settings)


def table(text: Path, language: str, rounds: int, peer: bool) -> None:
    """Prepare, and print tokens per second, ratios and bytes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        part, vocabulary = Path(folder) / "text.txt", Path(folder) / "vocabulary"
        _excerpt(text, part, MEGABYTES)
        Tokenizer.train(part.open(encoding="utf-8"), vocab_size=30_522 if language == "en" else 21_128).save(vocabulary)
        settings = {"text": str(part), "vocabulary": str(vocabulary), "language": language}
        names = ["ours", "bare", *(["mapped"] if peer else [])]
        measured = compare(__file__, [Program(n, {**settings, "program": n}) for n in names], rounds)
        corpus = prepare(Sources([str(part)]), Path(folder) / "c", Tokenizer.load(vocabulary), language=language).corpus
        stored = sum(file.stat().st_size for file in (Path(folder) / "c").rglob("*.safetensors"))
        size = part.stat().st_size
        print(f"\n{text.name}: {size / 1e6:.1f} MB, {corpus.tokens / 1e6:.2f} M tokens, language {language}\n")
        print("| program | tokens/s | ours over it |\n|---|---|---|")
        titles = {
            "ours": "unmask prepare",
            "bare": "encode_batch alone",
            "mapped": "datasets.map and grouping",
        }
        for name in names:
            print(f"| {titles[name]} | {measured[name].speed:,.0f} | {measured['ours'].over(measured[name]):.2f} |")
        print(f"\non disk: {stored / size:.0%} of the text")


def masks(text: Path, rounds: int) -> None:
    """Print how fast a batch is masked."""
    with tempfile.TemporaryDirectory() as folder:
        part, vocabulary = Path(folder) / "text.txt", Path(folder) / "vocabulary"
        _excerpt(text, part, 1)
        Tokenizer.train(part.open(encoding="utf-8")).save(vocabulary)
        settings = {"text": str(part), "vocabulary": str(vocabulary), "language": "en", "program": "masking"}
        cases = {f"{unit}, {n} rows": {"unit": unit, "rows": n} for unit in UNITS for n in ROWS}
        measured = compare(__file__, [Program(name, {**settings, **case}) for name, case in cases.items()], rounds)
        print("\n| masking, rows of 128 | tokens/s |\n|---|---|")
        for name in cases:
            print(f"| {name} | {measured[name].speed:,.0f} |")


def memory(text: Path, sizes: list[int]) -> None:
    """Print the most memory that preparing texts of these sizes takes, over all processes."""
    print("\n| text MB | peak MB, this process | peak MB, all processes |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        part, vocabulary = Path(folder) / "text.txt", Path(folder) / "vocabulary"
        _excerpt(text, part, 4)
        Tokenizer.train(part.open(encoding="utf-8")).save(vocabulary)
        for size in sizes:
            _excerpt(text, part, size)
            command = [
                "-m",
                "unmask",
                "prepare",
                str(part),
                "--out",
                f"{folder}/{size}",
                "--tokenizer",
                str(vocabulary),
            ]
            own, whole = _peak([sys.executable, *command])
            print(f"| {size} | {own / 1e6:.0f} | {whole / 1e6:.0f} |", flush=True)
            shutil.rmtree(f"{folder}/{size}")


def _peak(command: list[str]) -> tuple[int, int]:
    """The most resident memory of a process, and of it with all it started."""
    import psutil

    process = subprocess.Popen(command)
    parent, own, whole = psutil.Process(process.pid), 0, 0
    while process.poll() is None:
        try:
            mine = parent.memory_info().rss
            own = max(own, mine)
            whole = max(whole, mine + sum(child.memory_info().rss for child in parent.children(recursive=True)))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.1)
    if process.returncode:
        sys.exit(process.returncode)
    return own, whole


def _excerpt(text: Path, to: Path, megabytes: int) -> None:
    """So many megabytes of a text, which is repeated where it is too short."""
    sources = Sources([str(text)])
    with to.open("w", encoding="utf-8") as file:
        for piece in itertools.chain.from_iterable(sources.pieces() for _ in itertools.count()):
            file.write(("\n\n" if piece.first else "\n") + piece.text)
            if file.tell() >= megabytes * 1e6:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--chinese", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="+", metavar="MB")
    options = parser.parse_args()
    if options.memory:
        memory(options.text, options.memory)
        return
    table(options.text, "en", options.rounds, peer=True)
    if options.chinese:
        table(options.chinese, "zh", options.rounds, peer=False)
    masks(options.text, options.rounds)


if __name__ == "__main__" and not serve(build):
    main()
