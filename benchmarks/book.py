"""What a memory is worth to a reader of novels (Dai 2019, Transformer-XL, 1901.02860): perplexity on one it never saw.

A Transformer-XL that looks back on the segment before is trained on all novels of a file but one, beside one that does
not and a GPT-2 of the same size, on the same text for as many steps. Then each reads the novel that was left out in
segments, and is asked for every token once; the states that a memory holds are carried from segment to segment.

    python benchmarks/book.py NOVELS                              text, an empty line between novels; .xz, too
    python benchmarks/book.py NOVELS --steps 4000 --size mini     longer, and a larger model
    python benchmarks/book.py NOVELS --novel 3 --out FOLDER       another novel; runs are kept, and gone on with
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unmask
from unmask.errors import UserError
from unmask.text.sources.documents import Sources

PLAIN = "transformer-xl, trained without memory"


@dataclass(frozen=True)
class Reader:
    """A model, how it is trained, and the memories with which it reads, in segments."""

    name: str
    preset: str
    objective: Any
    memories: tuple[int, ...]


READERS = (
    Reader("gpt2", "gpt2", "causal_lm", (0,)),
    Reader(PLAIN, "transformer-xl", {"causal_lm": {"memory": 0.0}}, (0,)),
    Reader("transformer-xl, trained with memory", "transformer-xl", {"causal_lm": {"memory": 1.0}}, (0, 1, 2, 4, 8)),
)


def parted(novels: Path, number: int, home: Path) -> tuple[Path, Path]:
    """A file of all novels but one, and a file of that one."""
    rest, one = home / "novels.txt", home / "novel.txt"
    texts = list(_texts(novels))
    if not 0 <= number < len(texts) or len(texts) < 2:
        raise UserError(f"--novel {number}: {novels} holds {len(texts)} novels, counted from 0, and one is left out")
    one.write_text(texts.pop(number), encoding="utf-8")
    rest.write_text("\n\n".join(texts), encoding="utf-8")
    return rest, one


def _texts(novels: Path) -> Iterator[str]:
    parts: list[str] = []
    for piece in Sources([str(novels)]).pieces():
        if piece.first and parts:
            yield "\n".join(parts)
            parts = []
        parts.append(piece.text)
    yield "\n".join(parts)


def trained(reader: Reader, corpus: Path, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Its run's result."""
    out = home / reader.name.replace(" ", "-").replace(",", "")
    result: dict[str, Any] = unmask.pretrain(
        corpus, out=out, model=f"{reader.preset}-{options.size}", objective=reader.objective, length=options.length,
        batch_size=options.batch_size, steps=options.steps, lr=2e-3, device="cpu", precision="float32",
    )  # fmt: skip
    return {**result, "out": out}


def table(rows: list[tuple[str, int, float, float]], length: int) -> str:
    """Reader, memory, perplexity and minutes of training as rows of Markdown."""
    plain = next(perplexity for name, _, perplexity, _ in rows if name == PLAIN)
    lines = [
        f"| segments of {length} tokens | memory | perplexity | to that without | minutes of training |",
        "|---|---|---|---|---|",
    ]
    for name, memory, perplexity, minutes in rows:
        lines.append(f"| {name} | {memory} | {perplexity:.2f} | {perplexity / plain:.3f} | {minutes:.1f} |")
    return "\n".join(lines)


def compared(options: argparse.Namespace, home: Path) -> str:
    """Train all of them, and let them read."""
    rest, novel = parted(options.novels, options.novel, home)
    if not (home / "corpus" / "corpus.json").exists():
        unmask.prepare([str(rest)], out=home / "corpus", vocab_size=8192, valid=0)
    rows = []
    for reader in READERS:
        run = trained(reader, home / "corpus", home, options)
        for times in reader.memories:
            asked = {"memory": times * options.length} if reader.preset != "gpt2" else {}
            scores = unmask.evaluate(run["out"], novel, length=options.length, device="cpu", **asked)
            rows.append((reader.name, times * options.length, scores["perplexity"], run["seconds"] / 60))
    return table(rows, options.length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("novels", type=Path, help="text, an empty line between novels")
    parser.add_argument("--novel", type=int, default=8, help="the number, from 0, of the one that is left out")
    parser.add_argument("--size", default="tiny", help="tiny or mini")
    parser.add_argument("--length", type=int, default=32, help="tokens of a segment")
    parser.add_argument("--batch-size", type=int, default=32, help="rows of a step")
    parser.add_argument("--steps", type=int, default=500, help="of each training")
    parser.add_argument("--out", type=Path, help="where to keep the runs; none: nowhere")
    options = parser.parse_args()
    try:
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            print(compared(options, options.out))
            return
        with tempfile.TemporaryDirectory() as home:
            print(compared(options, Path(home)))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
