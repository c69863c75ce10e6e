"""What a vector for each word is worth: every method on one corpus, beside people's judgements.

    python benchmarks/vectors.py CORPUS --similarity DATA/word_similarity --analogies DATA/google_analogies

CORPUS is a folder that `unmask prepare` made. Each method has its defaults, and the same words in the same sentences;
word2vec has both of its forms. A pair or question with a word that is not in the text often enough is left out and
counted. ``--out`` keeps the vectors and their pages; what is there already is not learned again.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import unmask

METHODS: dict[str, dict[str, Any]] = {
    "word2vec, skip-gram": {"name": "word2vec", "architecture": "skip_gram"},
    "word2vec, CBOW": {"name": "word2vec", "architecture": "cbow"},
    "fasttext": {"name": "fasttext"},
    "glove": {"name": "glove"},
}


def results(given: argparse.Namespace, out: Path) -> dict[str, dict[str, Any]]:
    """``result.json`` of each method."""
    return {
        title: unmask.vectors(
            given.corpus,
            method={**method, "epochs": given.passes} if title == "glove" and given.passes else method,
            out=out / title.replace(", ", "-"),
            similarity=given.similarity,
            analogies=given.analogies,
            workers=given.workers,
        ).result
        for title, method in METHODS.items()
        if given.only in title
    }


def similarity_rows(found: dict[str, dict[str, Any]], files: list[str]) -> list[list[str]]:
    """A row for each file: its pairs, and of each method the correlation and how many pairs it is of."""
    rows = []
    for file in files:
        scores = [result["similarity"][file] for result in found.values()]
        rows.append([file, f"{scores[0]['pairs']:,}", *(f"{s['spearman']:.3f} ({s['scored']:,})" for s in scores)])
    return rows


def analogy_rows(found: dict[str, dict[str, Any]], file: str) -> list[list[str]]:
    """A row for each section: its questions, and of each method the share it answers and of how many."""
    sections: dict[str, Any] = next(iter(found.values()))["analogies"][file]
    rows = []
    for name, first in sections.items():
        scores = [result["analogies"][file][name] for result in found.values()]
        rows.append([name, f"{first['asked'] + first['unknown']:,}", *(_accuracy(score) for score in scores)])
    return rows


def _accuracy(score: dict[str, Any]) -> str:
    return f"{score['accuracy']:.1%} ({score['asked']:,})" if score["asked"] else "none (0)"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--similarity", type=Path, nargs="+", default=[])
    parser.add_argument("--analogies", type=Path, nargs="+", default=[])
    parser.add_argument("--workers", type=int, default=1, help="threads of gensim's")
    parser.add_argument("--passes", type=int, help="of GloVe, whose 50 take longest")
    parser.add_argument("--only", default="", help="methods with this in their name")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = results(given, given.out or Path(folder))
    about = [[title, f"{r['words']:,}", f"{r['seconds']:,.0f}"] for title, r in found.items()]
    print(table(["method", "words with a vector", "seconds"], about), "\n")
    first = next(iter(found.values()))
    rows = similarity_rows(found, list(first["similarity"]))
    print(table(["Spearman's ρ (pairs scored)", "pairs", *found], rows), "\n")
    for file in first["analogies"]:
        print(table([f"{file}: accuracy (asked)", "questions", *found], analogy_rows(found, file)), "\n")


if __name__ == "__main__":
    main()
