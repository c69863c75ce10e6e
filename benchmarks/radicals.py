"""What a Chinese character that a model never saw gets from its image (Meng 2019, Glyce, 1901.10125).

Rare characters are left out of a text, with every line that holds one. An encoder whose tokens have glyph_cnn is
trained on the rest with masked_lm, and the characters are added to it as `unmask convert --add-tokens` does it. Then
each is asked for the ten others whose vectors lie nearest: how many stand under its radical? So it is with what the
CNN reads in an image; with the whole vector that goes into the encoder, which that and the token's own vector make, and
an unseen character has the mean of all for its own; before and after training. Beside: the images' cosines, and chance.

Radicals are Kangxi's. Unicode has its first 20,902 ideographs in that dictionary's order, and Python's unicodedata the
character that each of the 214 radicals is: a character's is the last that does not stand behind it.

    python benchmarks/radicals.py TEXT
    python benchmarks/radicals.py TEXT --steps 4000 --out FOLDER       longer; the run is kept, and gone on with
"""

from __future__ import annotations

import argparse
import tempfile
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

import unmask
from unmask.errors import UserError
from unmask.inference import glyphs
from unmask.inference.building import network_of, spell
from unmask.inference.enlarging import with_tokens
from unmask.inference.model import Model
from unmask.nn.glyphs import GlyphCNN
from unmask.static.vectors import WordVectors
from unmask.text.sources.files import lines
from unmask.text.tokens.glyphs import characters
from vectors import table

RADICALS = [ord(unicodedata.normalize("NFKC", chr(number))) for number in range(0x2F00, 0x2FD6)]
FIRST, LAST = 0x4E00, 0x9FA5
RARE, FAMILY, NEAREST = 5, 10, 10
"""Occurrences that an unseen character has at most before it is left out; others of its radical that a text has at
least; and how many neighbours are looked at."""
IMAGES, READ, WHOLE = "images alone", "what is read in them", "whole vectors"


def radical(character: str) -> str | None:
    """The radical under which a character stands; none, where Unicode has it in no such order."""
    if not FIRST <= ord(character) <= LAST:
        return None
    return chr(RADICALS[bisect_right(RADICALS, ord(character)) - 1])


def left_out(counts: Mapping[str, int], most: int, seed: int = 0) -> list[str]:
    """Rare characters of radicals that many others have; ``most`` of them, drawn."""
    families = Counter(radical(character) for character, count in counts.items() if count > RARE)
    rare = sorted(c for c, n in counts.items() if n <= RARE and radical(c) and families[radical(c)] >= FAMILY)
    return sorted(np.random.default_rng(seed).permutation(rare)[:most].tolist())


def nearest(vectors: WordVectors, unseen: Iterable[str]) -> dict[str, list[str]]:
    """Of each the nearest characters, none of which was left out."""
    unseen = list(unseen)
    seen = [n for n, word in enumerate(vectors.words) if word not in set(unseen)]
    cosines = vectors.units[[vectors.numbers[word] for word in unseen]] @ vectors.units[seen].T
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
    return {word: [vectors.words[seen[n]] for n in row] for word, row in zip(unseen, best.tolist(), strict=True)}


def share(found: Mapping[str, list[str]]) -> float:
    """How many of the neighbours have the same radical."""
    return float(np.mean([radical(other) == radical(word) for word, others in found.items() for other in others]))


def chance(words: Iterable[str], unseen: Iterable[str]) -> float:
    """The same of neighbours drawn from all."""
    seen = [radical(word) for word in set(words) - set(unseen)]
    return float(np.mean([seen.count(radical(word)) / len(seen) for word in unseen]))


def vectors_of(model: Model, unseen: Iterable[str]) -> dict[str, WordVectors]:
    """Of each drawn character, those that are added too: its image, what is read in it, what goes into an encoder."""
    larger = with_tokens(model, list(unseen))
    images, texts = glyphs.of(larger.network), characters(larger.tokenizer)
    assert images is not None
    tokens, embedding = torch.from_numpy(images.tokens), larger.encoder.embeddings.tokens  # type: ignore[union-attr]
    assert isinstance(embedding, GlyphCNN)
    words = [texts[token] for token in images.tokens.tolist()]
    with torch.inference_mode():
        found = {
            IMAGES: torch.from_numpy(images.images).flatten(1).float(),
            READ: embedding.read(tokens),
            WHOLE: embedding(tokens),
        }
    return {name: WordVectors(words, matrix.numpy()) for name, matrix in found.items()}


def shown(found: Mapping[str, list[str]]) -> list[list[str]]:
    """Of the ten commonest radicals the first character each: its radical, its neighbours, how many share it."""
    common = Counter(radical(word) for word in found).most_common(10)
    first = [next(word for word in found if radical(word) == key) for key, _ in common]
    same = [sum(radical(other) == radical(word) for other in found[word]) for word in first]
    return [[w, str(radical(w)), "".join(found[w]), str(n)] for w, n in zip(first, same, strict=True)]


def trained(given: argparse.Namespace, unseen: Iterable[str], text: list[str], home: Path) -> Model:
    """An encoder that never saw the characters."""
    if not (home / "corpus" / "corpus.json").exists():
        kept = [line for line in text if set(unseen).isdisjoint(line)]
        print(f"left out: {len(list(unseen))} characters with {1 - len(kept) / len(text):.1%} of the lines", flush=True)
        (home / "text.txt").write_text("\n".join(kept), encoding="utf-8")
        unmask.prepare([str(home / "text.txt")], out=home / "corpus", vocab_size=8192, language="zh")
    model = {"name": "bert-tiny", "dropout": 0.0, "embedding": "glyph_cnn", "glyph_size": given.size, "tied": False}
    unmask.pretrain(
        home / "corpus", out=home / "run", model=model, objective="masked_lm", length=64, batch_size=32,
        steps=given.steps, lr=1e-3, device="cpu", precision="float32",
    )  # fmt: skip
    return unmask.load(home / "run", device="cpu")


def untrained(model: Model) -> Model:
    """Another of the same shape, as it begins."""
    torch.manual_seed(1)
    network = network_of(model.shape, []).eval()
    spell(network, model.tokenizer, glyphs.of(model.network))
    return Model(model.source, model.shape, network, model.tokenizer)


def compared(given: argparse.Namespace, home: Path) -> str:
    """Leave characters out, train, ask."""
    text = list(lines(given.text))
    counts = Counter(character for line in text for character in line if radical(character))
    unseen = left_out(counts, given.characters)
    after = trained(given, unseen, text, home)
    begun, learned, steps = vectors_of(untrained(after), unseen), vectors_of(after, unseen), f"{given.steps:,} steps"
    unseen = [word for word in unseen if word in begun[IMAGES]]
    found = {IMAGES: nearest(begun[IMAGES], unseen)}
    for name in (READ, WHOLE):
        found |= {
            f"{name}, untrained": nearest(begun[name], unseen),
            f"{name}, {steps}": nearest(learned[name], unseen),
        }
    return told(found, begun[IMAGES].words, f"{READ}, {steps}")


def told(found: Mapping[str, Mapping[str, list[str]]], words: list[str], best: str) -> str:
    """How many neighbours share a radical by each kind of vector, and ten characters with theirs by one."""
    unseen = list(found[best])
    print(f"{len(unseen)} unseen characters, {NEAREST} neighbours each, among {len(words) - len(unseen):,}")
    shares = [["chance", f"{chance(words, unseen):.1%}"], *([name, f"{share(f):.1%}"] for name, f in found.items())]
    some = ["unseen", "radical", f"nearest by {best}", "with its radical"]
    return f"{table(['neighbours by', 'with its radical'], shares)}\n\n{table(some, shown(found[best]))}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="Chinese text; .gz and .xz, too")
    parser.add_argument("--characters", type=int, default=200, help="how many are left out")
    parser.add_argument("--size", type=int, default=12, help="places of a side of the images")
    parser.add_argument("--steps", type=int, default=400, help="of the training")
    parser.add_argument("--out", type=Path, help="where to keep the run; none: nowhere")
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
