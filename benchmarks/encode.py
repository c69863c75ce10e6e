"""Encoding sentences of mixed length against Hugging Face, in sentences per second.

The peer is given the sentences as they come, 32 at a time, padded to the longest of them; and, for what sorting alone
brings, once more sorted. Ours are sorted, laid side by side, and never padded. Needs `pip install unmask[benchmark]`.

    python benchmarks/encode.py [--models mini,base] [--rounds 5]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from turns import Measured, Program, Run, compare, multiplies_bfloat16, serve

VOCABULARY = 30522
BATCH = 32  # sentences at a time, for the peer
SIZES = {"mini": (4, 256, 4, 128), "base": (12, 768, 12, 64)}  # layers, width, heads, sentences a turn


def sentences(n: int) -> list[np.ndarray]:
    """Log-normal lengths, 60 tokens in the mean and 128 at most."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(np.log(60) - 0.18, 0.6, n).round().astype(int), 8, 128)
    return [generator.integers(1000, VOCABULARY, length) for length in lengths]


def hugging_face(model: str, precision: str, in_order: bool) -> Run:
    """BertModel over padded batches."""
    import torch
    from transformers import BertConfig, BertModel

    layers, width, heads, n = SIZES[model]
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    bert = BertModel(config).eval().to(getattr(torch, precision))
    texts = sentences(n)
    if in_order:
        texts = sorted(texts, key=len)

    @torch.inference_mode()
    def run() -> float:
        for start in range(0, n, BATCH):
            some = texts[start : start + BATCH]
            tokens = np.zeros((len(some), max(map(len, some))), np.int64)
            for row, text in zip(tokens, some, strict=True):
                row[: len(text)] = text
            ids = torch.from_numpy(tokens)
            bert(input_ids=ids, attention_mask=(ids != 0).long())
        return float(n)

    return run


def unmask(model: str, precision: str, in_order: bool) -> Run:
    """The encoder over packed batches, as `unmask.load(...).hidden` gathers them."""
    import torch

    from unmask.inference.model import TOKENS_AT_ONCE
    from unmask.models.encoder import Encoder
    from unmask.models.shape import Shape
    from unmask.nn.batch import collate
    from unmask.text.example import Example, Stream
    from unmask.text.sampling.batches import by_length

    layers, width, heads, n = SIZES[model]
    shape = Shape(layers=layers, width=width, heads=heads, feed_forward=4 * width)
    encoder = Encoder(shape).eval().to(getattr(torch, precision))
    texts = sentences(n)

    @torch.inference_mode()
    def run() -> float:
        for group in by_length([len(text) for text in texts], TOKENS_AT_ONCE):
            some = [texts[i] for i in group]
            stream = Stream(np.concatenate(some), np.array([len(text) for text in some]))
            encoder(collate(Example({"encoder": stream})).streams["encoder"])
        return float(n)

    return run


def build(kind: str, **settings: Any) -> Run:
    """The program that a process of this benchmark runs."""
    return {"unmask": unmask, "Hugging Face": hugging_face}[kind](**settings)


def programs(model: str) -> list[Program]:
    """The peer as it is mostly used comes first."""
    settings = {"model": model, "precision": "float32", "in_order": False}
    first = [
        Program("Hugging Face float32", {"kind": "Hugging Face", **settings}),
        Program("Hugging Face float32, sorted", {"kind": "Hugging Face", **settings, "in_order": True}),
        Program("unmask float32", {"kind": "unmask", **settings}),
    ]
    rounded = {**settings, "precision": "bfloat16"}
    if multiplies_bfloat16():
        first.append(Program("Hugging Face bfloat16, sorted", {"kind": "Hugging Face", **rounded, "in_order": True}))
        first.append(Program("unmask bfloat16", {"kind": "unmask", **rounded}))
    return first


def table(model: str, measured: dict[str, Measured]) -> str:
    """One model as rows of Markdown."""
    lines = [f"\n**{model}**\n", "| program | sentences/s | GB | against the first |", "|---|---|---|---|"]
    peer = next(iter(measured.values()))
    for name, figures in measured.items():
        lines.append(f"| {name} | {figures.speed:,.1f} | {figures.gigabytes:.2f} | {figures.over(peer):.2f}× |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mini,base", help="mini, base or both")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of turns")
    options = parser.parse_args()
    if not multiplies_bfloat16():
        print("This processor does not multiply bfloat16: only float32 is measured, and no goal of ours in bfloat16.")
    for model in options.models.split(","):
        if model not in SIZES:
            sys.exit(f"--models {model}: no such model; choose of {', '.join(SIZES)}")
        print(table(model, compare(__file__, programs(model), options.rounds)), flush=True)


if __name__ == "__main__" and not serve(build):
    main()
