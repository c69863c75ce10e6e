"""What trees are worth: sentiment of sentences and of all their parts (Socher 2013), with a Tree-LSTM and without.

    python benchmarks/trees.py MODEL DATA/sst_trees

MODEL is any encoder. Its vectors of words alone, which train along, are composed by a Tree-LSTM up the tree (binary, or
child-sum), by an LSTM over each part's words from the left, or are averaged; all of these learn from every node. Then
the whole encoder is fine-tuned, with a Tree-LSTM on its states, or as usual: on sentences and their labels, without
those of any part. Of the test file: the share of roots given the right one of five labels; of the roots that are not
neutral, the share that is given the right side by the same five probabilities; and the share of all nodes that are
right. ``--out`` keeps the runs; finished ones are not repeated.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import unmask
from unmask.inference.finetuned import Finetuned
from unmask.text.sources import trees

ROWS: dict[str, dict[str, str]] = {
    "vectors: mean": {"name": "label_trees", "reads": "embeddings", "composition": "mean"},
    "vectors: LSTM": {"name": "label_trees", "reads": "embeddings", "composition": "lstm"},
    "vectors: child-sum Tree-LSTM": {"name": "label_trees", "reads": "embeddings", "composition": "child_sum"},
    "vectors: binary Tree-LSTM": {"name": "label_trees", "reads": "embeddings", "composition": "binary"},
    "encoder: sentences": {"name": "classify", "pool": "mean"},
    "encoder: binary Tree-LSTM": {"name": "label_trees", "reads": "states", "composition": "binary"},
}
FILES = {"train": "train.txt.gz", "valid": "dev.txt", "test": "test.txt"}
NEUTRAL = "2"


def trained(given: argparse.Namespace, out: Path, title: str, seed: int) -> Finetuned:
    """A run of one seed; the one that is there if it is finished."""
    how = {"epochs": given.epochs, "lr": given.lr} if title.startswith("vectors") else {"epochs": given.encoder_epochs}
    return unmask.finetune(
        given.model,
        task=ROWS[title],
        **files(given.data, out, title),
        **how,
        batch_size=25,  # Tai 2015, §5.3
        precision="float32",
        seeds=[seed],
        out=out / f"{title.replace(': ', '-').replace(' ', '-')}-{seed}",
    )


def files(data: Path, out: Path, title: str) -> dict[str, Path]:
    """The files of a row: trees, or tables of whole sentences and their labels."""
    if ROWS[title]["name"] == "label_trees":
        return {split: data / name for split, name in FILES.items()}
    tables = {split: out / f"{split}.tsv" for split in FILES}
    for split, table in tables.items():
        lines = [f"{' '.join(tree.plain)}\t{tree.labels[0]}" for tree in trees.read(data / FILES[split]).trees]
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("\n".join(["text\tlabel", *lines]) + "\n", encoding="utf-8")
    return tables


def sides(model: Finetuned, path: Path) -> float:
    """Of roots that are not neutral, the share whose two labels on the right side are likelier than the others."""
    rows = model.task.read(path)
    said, _ = model.predict_rows(rows)
    right = [
        (sum(p for label, p in one.every.items() if label > NEUTRAL) > sum(
            p for label, p in one.every.items() if label < NEUTRAL)) == (labels[0] > NEUTRAL)
        for one, labels in zip(said, rows.labels or [], strict=True) if labels[0] != NEUTRAL
    ]  # fmt: skip
    return statistics.mean(right)


def figures(model: Finetuned, test: Path) -> dict[str, float]:
    """What is told of one run."""
    result: dict[str, Any] = model.result
    scores = result["figures"]
    return {
        "root, of 5": 100 * scores["accuracy"],
        "root, of 2": 100 * sides(model, test),
        "all nodes": 100 * scores.get("node_accuracy", math.nan),
        "on valid": 100 * result["splits"]["valid"]["figures"]["accuracy"],
        "minutes": result["seconds"] / 60,
    }


def cell(values: list[float]) -> str:
    """The mean, and the spread of several; nothing of what was not asked."""
    if math.isnan(values[0]):
        return "–"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=float, default=5.0, help="of the rows that read vectors")
    parser.add_argument("--lr", type=float, default=1e-3, help="of those too")
    parser.add_argument("--encoder-epochs", type=float, default=3.0)
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for title in (title for title in ROWS if given.only in title):
            out = given.out or Path(folder)
            test = files(given.data, out, title)["test"]
            found = [figures(trained(given, out, title, seed), test) for seed in given.seeds]
            lines.append([title, *(cell([one[name] for one in found]) for name in found[0])])
    print("|", " | ".join(["", *found[0]]), "|\n|", " | ".join(["---"] * (len(found[0]) + 1)), "|")
    for line in lines:
        print("|", " | ".join(line), "|")


if __name__ == "__main__":
    main()
