"""What pre-training buys: from raw text to scores on test files, by the README's commands, beside random weights.

Labels are few: 500 rows of the tables, 1,000 sentences with tags; SST-2 is learned a second time from all of its
rows. For each start
(pre-trained, random) the learning rate is chosen on the valid file with seed 1; three seeds are trained with it, and
only then is the test file read. All else is equal: every training keeps the state that is best on the valid file, and
is long enough for random weights to get there. Commands that are done already are not done again.

    python benchmarks/road.py DATA --out runs/road          DATA/wikitext-2/, DATA/sst-2/, … as published
    python benchmarks/road.py DATA --roads chinese
"""

from __future__ import annotations

import argparse
import gzip
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RATES = ("5e-4", "1e-3", "2e-3")
INITS = ("pretrained", "random")
SPLITS = ("train", "valid", "test")
THEIRS = ("train", "dev", "test")
ROWS = {"train": 500, "valid": 1000}
SENTENCES = {"train": 1000, "valid": 500}


@dataclass(frozen=True)
class Task:
    """A data set: its files by split, and what `unmask finetune` is told besides."""

    title: str
    kind: str
    files: dict[str, Path]
    options: dict[str, str]


@dataclass(frozen=True)
class Road:
    """A corpus and the tasks that are learned from it."""

    sources: list[Path]
    prepare: dict[str, str]
    tasks: dict[str, Callable[[Path, Path], Task]] = field(default_factory=dict)


def sst2_few(data: Path, out: Path) -> Task:
    files = sst2(data, out).files
    few = _heads({split: files[split] for split in ROWS}, out) | {"test": files["test"]}
    return Task("SST-2, sentiment, 500 phrases", "classify", few, {"epochs": "20", "task.pool": "mean"})


def sst2(data: Path, out: Path) -> Task:
    home = data / "sst-2"
    files = {"train": home / "train.tsv.gz", "valid": home / "dev.tsv", "test": home / "test.tsv"}
    return Task("SST-2, sentiment, all 60,614 phrases", "classify", files, {"epochs": "3", "task.pool": "mean"})


def conll2000(data: Path, out: Path) -> Task:
    """There is no valid file: every tenth sentence of the training file is held out for it."""
    home = data / "conll2000"
    sentences = _read(home / "train.txt.gz").strip().split("\n\n")
    files = {
        "train": _write(out / "train.conll", [s for n, s in enumerate(sentences) if n % 10][: SENTENCES["train"]]),
        "valid": _write(out / "valid.conll", sentences[::10][: SENTENCES["valid"]]),
        "test": _write(out / "test.conll", _read(home / "test.txt").strip().split("\n\n")),
    }
    return Task("CoNLL-2000, chunks, 1,000 sentences", "tag", files, {"epochs": "12"})


def book_review(data: Path, out: Path) -> Task:
    home = data / "zh_book_review"
    files = _heads({"train": home / "train.tsv.gz", "valid": home / "dev.tsv.gz"}, out) | {"test": home / "test.tsv"}
    return Task("Chinese book reviews, sentiment, 500 reviews", "classify", files, {"epochs": "8", "task.pool": "mean"})


def weibo(data: Path, out: Path) -> Task:
    """As published: what carries its place in its word (``科0``) is read as it is meant."""
    home = data / "zh_weibo_ner"
    files = {split: home / f"weiboNER_2nd_conll.{theirs}" for split, theirs in zip(SPLITS, THEIRS, strict=True)}
    return Task("Weibo, named entities, 1,350 messages", "tag", files, {"epochs": "12"})


ROADS = {
    "english": Road(
        [Path("wikitext-2/train.txt.gz")],
        {"vocab-size": "8192"},
        {"sst2_few": sst2_few, "sst2": sst2, "conll2000": conll2000},
    ),
    "chinese": Road(
        [Path("zh_wikipedia")],
        {"vocab-size": "8192", "language": "zh"},
        {"book_review": book_review, "weibo": weibo},
    ),
}


def _heads(files: dict[str, Path], out: Path) -> dict[str, Path]:
    """The first rows of tables, under their header: few enough for two cores and an hour."""
    cut = {}
    for split, path in files.items():
        cut[split] = out / f"{split}.tsv"
        cut[split].parent.mkdir(parents=True, exist_ok=True)
        cut[split].write_text("\n".join(_read(path).split("\n")[: ROWS[split] + 1]) + "\n", encoding="utf-8")
    return cut


def _read(path: Path) -> str:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return file.read()


def _write(path: Path, sentences: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
    return path


def unmask(command: str, *places: Path, **options: object) -> Path:
    """Run a command of the README; returns the folder it leaves."""
    words = [command, *map(str, places)]
    words += [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    print(f"$ unmask {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "unmask", *words], check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"unmask {command} failed; its error stands above")
    return Path(str(options["out"]))


def scores(base: Path, task: Task, init: str, out: Path) -> tuple[str, dict[str, object]]:
    """The learning rate that is best on the valid file, and the result of three seeds with it."""
    given = {
        "task": task.kind,
        "init": init,
        "train": task.files["train"],
        "valid": task.files["valid"],
        **task.options,
    }
    found = {}
    for rate in RATES:
        run = unmask("finetune", base, **given, lr=rate, out=out / f"{init}-{rate}")
        result = json.loads((run / "result.json").read_text())
        found[rate] = result["figures"][result["main"]]
    print(f"valid: {found}", flush=True)
    best = max(found, key=lambda rate: found[rate])
    run = unmask("finetune", base, **given, test=task.files["test"], lr=best, seeds="1,2,3", out=out / init)
    return best, json.loads((run / "result.json").read_text())


def word_counts(task: Task) -> str:
    """Accuracy of TF-IDF (words, or one to three characters of Chinese) with logistic regression."""
    if task.kind != "classify":
        return ""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    columns = {split: _columns(task.files[split]) for split in ("train", "test")}
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in columns["train"][0][0])
    kind = {"analyzer": "char", "ngram_range": (1, 3)} if chinese else {"ngram_range": (1, 2)}
    model = make_pipeline(TfidfVectorizer(**kind), LogisticRegression(max_iter=1000))
    return f"{model.fit(*columns['train']).score(*columns['test']):.3f}"


def _columns(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of a table with a header."""
    header, *rows = (line.split("\t") for line in _read(path).splitlines())
    label = header.index("label")
    return [row[1 - label] for row in rows], [row[label] for row in rows]


def row(title: str, found: dict[str, tuple[str, dict[str, Any]]], counts: str) -> str:
    """A line of the table."""
    cells = []
    for init in INITS:
        rate, result = found[init]
        main = result["main"]
        cells.append(f"{result['figures'][main]:.3f} ± {result['spread'][main]:.3f} | {rate}")
    return f"| {title} | {main} | {' | '.join(cells)} | {counts or '–'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/road"))
    parser.add_argument("--roads", default=",".join(ROADS), help=f"some of {', '.join(ROADS)}")
    parser.add_argument("--model", default="modernbert-tiny")
    parser.add_argument("--epochs", type=int, default=5, help="of pre-training")
    options = parser.parse_args()
    rows = []
    for name in options.roads.split(","):
        road, out = ROADS[name], options.out / name
        corpus = unmask("prepare", *(options.data / s for s in road.sources), **road.prepare, out=out / "corpus")
        base = unmask("pretrain", corpus, model=options.model, epochs=options.epochs, lr="2e-3", out=out / "base")
        for short, make in road.tasks.items():
            task = make(options.data, out / short / "data")
            found = {init: scores(base, task, init, out / short) for init in INITS}
            rows.append(row(task.title, found, word_counts(task)))
    print("\n| task | score | pre-trained | lr | random | lr | TF-IDF |\n|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
