"""What a word that a model never saw gets from its letters (Kim 2015, 1508.06615; Bojanowski 2016, 1607.04606).

Words are left out of a text, with every line that holds one of them: rare ones with a common relative in a section of
Google's analogies (widest, wide), and rare ones that people compared with others. Encoders that differ in how a token
gets its vector are trained on the rest with masked_lm, and words that are no tokens added to each as `unmask convert
--add-tokens` does it. Then the vectors that go into the encoders are asked: where among all words of the vocabulary is
the nearest relative of an unseen one? and do cosines of pairs with an unseen word follow people's judgement?

    python benchmarks/letters.py TEXT --analogies DATA/google_analogies --similarity DATA/word_similarity
    python benchmarks/letters.py TEXT … --steps 4000 --out FOLDER       longer; runs are kept, and gone on with
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import unmask
from unmask.errors import UserError
from unmask.inference.building import network_of, spell
from unmask.inference.enlarging import with_tokens
from unmask.inference.model import Model
from unmask.static.scores import files, read_analogies, read_pairs
from unmask.static.vectors import WordVectors
from unmask.text.sources.files import lines
from vectors import table

EMBEDDINGS: dict[str, dict[str, Any]] = {
    "subword": {},
    "char_cnn": {"filters": 256},
    "fasttext_ngrams": {},
}
COMMON, RARE = 50, 10
"""Occurrences that a relative has at least, and an unseen word has at most before it is left out."""


@dataclass(frozen=True)
class Asked:
    """What is asked of vectors."""

    relatives: dict[str, set[str]]  # of words that were left out
    pairs: dict[str, list[tuple[str, str, float]]]  # by file: two words and people's score
    unseen: set[str]  # all words that were left out

    @property
    def words(self) -> list[str]:
        """Every word that needs a vector."""
        return sorted(self.unseen.union(*(pair[:2] for pairs in self.pairs.values() for pair in pairs)))


def questions(counts: Counter[str], analogies: Iterable[Path], similarity: Iterable[Path]) -> Asked:
    """Those about words that are rare in a text, or not in it. Raises `UserError` where a file cannot be read."""
    forms = {
        (row[n].lower(), row[n + 1].lower())
        for path in analogies
        for name, rows in read_analogies(path).items()
        for row in rows
        for n in (0, 2)
        if name.startswith("gram")
    }
    relatives: dict[str, set[str]] = {}
    for one, other in sorted(forms):
        rarer, common = sorted((one, other), key=counts.__getitem__)
        if counts[rarer] <= RARE and counts[common] >= COMMON:
            relatives.setdefault(rarer, set()).add(common)
    pairs = {path.stem: [(a.lower(), b.lower(), score) for a, b, score in read_pairs(path)] for path in similarity}
    compared = {word for rows in pairs.values() for pair in rows for word in pair[:2]}
    unseen = {word for word in compared if counts[word] <= RARE and word.isalpha()} | relatives.keys()
    about = {name: [row for row in rows if unseen & set(row[:2])] for name, rows in pairs.items()}
    return Asked(relatives, about, unseen)


def without(text: Iterable[str], unseen: set[str]) -> list[str]:
    """The lines that hold none of these words."""
    return [line for line in text if unseen.isdisjoint(_words(line))]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def vectors_of(model: Model, words: Sequence[str]) -> WordVectors:
    """What goes into an encoder for each word of its vocabulary and for these, which are added."""
    larger = with_tokens(model, words)
    surfaces = larger.tokenizer.alphabet.surface
    known = {text.decode(errors="replace")[1:]: n for n, text in enumerate(surfaces) if text.startswith(b" ")}
    known = {word: n for word, n in known.items() if word.isalpha()}
    with torch.inference_mode():
        matrix = larger.encoder.embeddings.tokens(torch.tensor([*known.values()]))  # type: ignore[operator, union-attr]
    return WordVectors([*known], matrix.numpy())


def ranks(vectors: WordVectors, relatives: dict[str, set[str]], candidates: set[str]) -> list[int]:
    """Of each word's relatives the nearest one's place among the candidates, by cosine; 1 is the first."""
    words = sorted(candidates)
    units = np.stack([unit(vectors.vector(word)) for word in words])
    found = []
    for word, others in relatives.items():
        if known := [words.index(other) for other in others & candidates]:
            cosines = units @ unit(vectors.vector(word))
            found.append(1 + int((cosines > cosines[known].max()).sum()))
    return found


def unit(vector: Any) -> Any:
    """With length 1."""
    return vector / np.linalg.norm(vector)


def row(name: str, vectors: WordVectors, asked: Asked, candidates: set[str]) -> list[str]:
    """Its figures."""
    places = np.array(ranks(vectors, asked.relatives, candidates))
    told = [f"{(places == 1).mean():.0%}", f"{(places <= 10).mean():.0%}", f"{np.median(places):,.0f}"]
    for pairs in asked.pairs.values():
        cosines = [vectors.similarity(a, b) for a, b, _ in pairs]
        told.append(f"{spearmanr(cosines, [score for _, _, score in pairs]).statistic:.3f}")
    return [name, *told]


def trained(embedding: str, corpus: Path, home: Path, steps: int) -> tuple[Model, Model]:
    """An encoder before and after its training."""
    model = {"name": "bert-tiny", "dropout": 0.0, "embedding": embedding, "tied": False, **EMBEDDINGS[embedding]}
    unmask.pretrain(
        corpus, out=home / embedding, model=model, objective="masked_lm", length=64, batch_size=32, steps=steps,
        lr=2e-3, device="cpu", precision="float32",
    )  # fmt: skip
    after = unmask.load(home / embedding, device="cpu")
    torch.manual_seed(1)
    network = network_of(after.shape, []).eval()
    spell(network, after.tokenizer)
    return Model(after.source, after.shape, network, after.tokenizer), after


def compared(given: argparse.Namespace, home: Path) -> str:
    """Leave words out, train, ask."""
    text = [line for path in given.text for line in lines(path)]
    counts = Counter(word for line in text for word in _words(line))
    asked = questions(counts, files(given.analogies), files(given.similarity))
    if not (home / "corpus" / "corpus.json").exists():
        kept = without(text, asked.unseen)
        print(f"left out: {len(asked.unseen)} words with {1 - len(kept) / len(text):.1%} of the lines", flush=True)
        (home / "text.txt").write_text("\n".join(kept), encoding="utf-8")
        unmask.prepare([str(home / "text.txt")], out=home / "corpus", vocab_size=8192)
    found: dict[str, WordVectors] = {}
    for embedding in EMBEDDINGS:
        for model, steps in zip(trained(embedding, home / "corpus", home, given.steps), (0, given.steps), strict=True):
            found[f"{embedding}, {steps:,} steps"] = vectors_of(model, asked.words)
    candidates = set(next(iter(found.values())).words) - asked.unseen
    columns = ["vectors", "a relative is the nearest", "among ten", "median place", *asked.pairs]
    words = sum(bool(others & candidates) for others in asked.relatives.values())
    pairs = ", ".join(f"{len(rows)} of {name}" for name, rows in asked.pairs.items())
    print(f"{words} words with relatives among {len(candidates):,}; pairs: {pairs}")
    return table(columns, [row(name, vectors, asked, candidates) for name, vectors in found.items()])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, nargs="+", help="text files; .gz and .xz, too")
    parser.add_argument("--analogies", type=Path, nargs="+", required=True)
    parser.add_argument("--similarity", type=Path, nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    parser.add_argument("--out", type=Path, help="where to keep the runs; none: nowhere")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            home = given.out or Path(folder)
            home.mkdir(parents=True, exist_ok=True)
            print(compared(given, home))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
