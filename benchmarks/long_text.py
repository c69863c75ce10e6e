"""What long texts cost: local attention, buckets, full attention in a model of the same size, and Hugging Face.

Every turn is the same number of tokens, as many sequences as these make: of 512 tokens or of 16,384. Tokens a second,
and the most memory the process held, forward and backward or (`--encode`) forward alone, without heads, in float32.
What would need more memory than the machine has is left out. The peer needs `pip install unmask[benchmark]`.

    python benchmarks/long_text.py [--lengths 512,1024,4096,16384] [--models mini] [--encode] [--rounds 3]
    python benchmarks/long_text.py --depths 2,6,12 [--lengths 4096]

With `--depths` it is memory by layers: of a Reformer, whose states are rebuilt, of the same with all of them kept, of
Hugging Face's, and of full attention.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from turns import Measured, Program, Run, compare, serve

TOKENS = 16384  # a turn
VOCABULARY = 8192
SIZES = {"tiny": (2, 128), "mini": (4, 256), "base": (12, 768)}  # layers, width; heads are 64 wide
WINDOW, LOCAL = 512, 128  # of a Longformer, and of ModernBERT's layers
CHUNK, HASHES = 64, 4  # of a Reformer
KINDS = {
    "full attention": "every token sees its whole text",
    "longformer": f"a window of {WINDOW}, and the first token global",
    f"window {LOCAL}": f"a window of {LOCAL} alone, as in most of ModernBERT's layers",
    "Hugging Face's Longformer": f"a window of {WINDOW}, and the first token global",
    "reformer": f"chunks of {CHUNK} tokens, near or alike in one of {HASHES} rounds, in turn; states rebuilt",
    "Hugging Face's Reformer": "the same",
}
KEPT = "reformer, states kept"
OF_DEPTHS = ("reformer", KEPT, "Hugging Face's Reformer", "full attention")


def ours(kind: str, model: str, length: int, backward: bool, layers: int | None = None) -> Run:
    """An encoder over packed texts of this length."""
    import torch

    from unmask.models.backbone import backbone_of
    from unmask.models.shape import Shape
    from unmask.nn.batch import collate
    from unmask.text.example import Example, Stream

    usual, width = SIZES[model]
    like_reformer: dict[str, Any] = {
        "family": "reformer", "width": 2 * width, "norm": "before", "embedding_norm": False, "tied": False,
        "segments": 0, "head_width": 64, "reformer": {"local_chunk": CHUNK, "lsh_chunk": CHUNK, "hashes": HASHES},
    }  # fmt: skip
    seen: dict[str, dict[str, Any]] = {
        "full attention": {},
        "longformer": {"family": "longformer", "window": WINDOW, "global_every": 0, "global_tokens": "first"},
        f"window {LOCAL}": {"window": LOCAL, "global_every": 0},
        "reformer": like_reformer,
        KEPT: like_reformer,
    }
    shape = Shape(
        **{"vocab_size": VOCABULARY, "layers": layers or usual, "width": width, "heads": width // 64,
           "feed_forward": 4 * width, "max_length": length, "dropout": 0, "attention_dropout": 0, **seen[kind]},
    )  # fmt: skip
    encoder = backbone_of(shape)
    stream = Stream(tokens(), np.full(TOKENS // length, length))

    def run() -> float:
        with torch.set_grad_enabled(backward):
            sequences = collate(Example({"encoder": stream})).streams["encoder"]
            states = encoder.layers(sequences)[-1] if kind == KEPT else encoder(sequences)
            if backward:
                encoder.zero_grad()
                states.square().mean().backward()
        return float(TOKENS)

    return run


def hugging_face(kind: str, model: str, length: int, backward: bool) -> Run:
    """LongformerModel over the same texts, which need no padding."""
    import torch
    from transformers import LongformerConfig, LongformerModel

    layers, width = SIZES[model]
    config = LongformerConfig(
        vocab_size=VOCABULARY, num_hidden_layers=layers, hidden_size=width, num_attention_heads=width // 64,
        intermediate_size=4 * width, max_position_embeddings=length + 2, attention_window=WINDOW, hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )  # fmt: skip
    longformer = LongformerModel(config, add_pooling_layer=False)
    ids = torch.from_numpy(tokens()).long().view(-1, length)
    far = torch.zeros_like(ids)
    far[:, 0] = 1

    def run() -> float:
        with torch.set_grad_enabled(backward):
            states = longformer(ids, global_attention_mask=far).last_hidden_state
            if backward:
                longformer.zero_grad()
                states.square().mean().backward()
        return float(TOKENS)

    return run


def reformer_of_hugging_face(model: str, length: int, backward: bool, layers: int | None = None) -> Run:
    """ReformerModel over the same texts, which are of whole chunks."""
    import torch
    from transformers import ReformerConfig, ReformerModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # it tells how many buckets it takes
    usual, width = SIZES[model]
    config = ReformerConfig(
        vocab_size=VOCABULARY, attn_layers=[("local", "lsh")[n % 2] for n in range(layers or usual)], hidden_size=width,
        num_attention_heads=width // 64, attention_head_size=64, feed_forward_size=4 * width, hidden_act="gelu",
        max_position_embeddings=length, axial_pos_embds=False, local_attn_chunk_length=CHUNK,
        lsh_attn_chunk_length=CHUNK, num_hashes=HASHES, hidden_dropout_prob=0, local_attention_probs_dropout_prob=0,
    )  # fmt: skip
    reformer = ReformerModel(config)
    ids = torch.from_numpy(tokens()).long().view(-1, length)

    def run() -> float:
        with torch.set_grad_enabled(backward):
            states = reformer(ids, use_cache=False).last_hidden_state
            if backward:
                reformer.zero_grad()
                states.square().mean().backward()
        return float(TOKENS)

    return run


def tokens() -> np.ndarray:
    """The same in every program; none is the peer's padding."""
    return np.random.default_rng(0).integers(5, VOCABULARY, TOKENS)


def build(kind: str, **settings: Any) -> Run:
    """The program that a process of this benchmark runs."""
    if kind == "Hugging Face's Reformer":
        return reformer_of_hugging_face(**settings)
    return (hugging_face if kind.startswith("Hugging Face") else ours)(kind, **settings)


def gigabytes(kind: str, model: str, length: int, backward: bool, layers: int | None = None) -> float:
    """Of all scores of full attention at once: what a layer keeps for its gradients, or the two that are there at once
    without them. Others need far less."""
    usual, width = SIZES[model]
    layers = layers or usual
    return (2 * layers + 4 if backward else 2) * (width // 64) * 4 * TOKENS * length / 1e9 * (kind == "full attention")


def fits(program: Program) -> bool:
    """Whether it needs less memory than is free."""
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return gigabytes(**program.settings) < int(rows["MemAvailable"].split()[0]) / 1e6


def measured(model: str, length: int, backward: bool, rounds: int) -> dict[str, Measured | float]:
    """By kind what was measured, or the gigabytes it would need."""
    asked = [Program(kind, {"kind": kind, "model": model, "length": length, "backward": backward}) for kind in KINDS]
    found: dict[str, Measured | float] = {p.name: gigabytes(**p.settings) for p in asked}
    return found | compare(__file__, [program for program in asked if fits(program)], rounds)


def held(settings: dict[str, Any]) -> tuple[float, float]:
    """Gigabytes of the tensors of a turn that were there at once, at most, and those that the process held.

    These are more: memory that was given back to the allocator lies between what is in use.
    """
    from torch.profiler import profile

    from unmask import allocator

    allocator.tune()
    run = build(**settings)
    run()
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # before the profiler keeps its notes there
    with profile(profile_memory=True) as seen:
        run()
    assert seen.profiler is not None and seen.profiler.kineto_results is not None
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(itertools.accumulate(changes)) / 1e9, process


def by_depth(model: str, length: int, depths: list[int]) -> str:
    """What training with so many layers held in memory; a column for each."""
    lines = [
        f"\n**{model}**, texts of {length:,} tokens: GB of tensors at once (GB the process held)\n",
        f"| layers | {' | '.join(map(str, depths))} |",
    ]
    lines.append("|---" * (len(depths) + 1) + "|")
    rest = {"model": model, "length": length, "backward": True}
    for kind in OF_DEPTHS:
        cells = []
        for n in depths:
            program = Program(f"{kind}, {n}", {"kind": kind, "layers": n, **rest})
            cells.append("{:.2f} ({:.2f})".format(*_alone(program)) if fits(program) else "does not fit")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _alone(program: Program) -> tuple[float, float]:
    """In a process of its own, for memory that one held is seldom given back."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(held, program.settings).result()


def table(model: str, by_length: dict[int, dict[str, Measured | float]]) -> str:
    """A column for each length: tokens a second, and the ratio to full attention."""
    lines = [f"\n**{model}**, tokens/s (GB)\n", f"| | {' | '.join(f'{length:,}' for length in by_length)} |"]
    lines.append("|---" * (len(by_length) + 1) + "|")
    for kind in KINDS:
        lines.append(f"| {kind} | {' | '.join(_cell(found[kind]) for found in by_length.values())} |")
    ratios = [_ratio(found["longformer"], found["full attention"]) for found in by_length.values()]
    lines.append(f"| longformer over full attention | {' | '.join(ratios)} |")
    return "\n".join(lines)


def _cell(figures: Measured | float) -> str:
    if isinstance(figures, float):
        return f"does not fit ({figures:,.0f} GB)"
    return f"{figures.speed:,.0f} ({figures.gigabytes:.2f})"


def _ratio(one: Measured | float, other: Measured | float) -> str:
    return "–" if isinstance(one, float) or isinstance(other, float) else f"{one.over(other):.2f}×"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", help="layers, as 2,6,12: memory by depth, at each of the lengths")
    parser.add_argument("--lengths", default="512,1024,4096,16384", help=f"tokens of a text; each divides {TOKENS:,}")
    parser.add_argument("--models", default="mini", help=f"some of {', '.join(SIZES)}")
    parser.add_argument("--encode", action="store_true", help="forward alone")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of turns")
    options = parser.parse_args()
    lengths = [int(length) for length in options.lengths.split(",")]
    if wrong := [length for length in lengths if length < 1 or TOKENS % length]:
        sys.exit(f"--lengths {wrong[0]}: does not divide {TOKENS:,}")
    for model in options.models.split(","):
        if model not in SIZES:
            sys.exit(f"--models {model}: no such model; choose of {', '.join(SIZES)}")
        if options.depths:
            depths = [int(depth) for depth in options.depths.split(",")]
            for length in lengths:
                print(by_depth(model, length, depths), flush=True)
            continue
        by_length = {length: measured(model, length, not options.encode, options.rounds) for length in lengths}
        print(table(model, by_length), flush=True)


if __name__ == "__main__" and not serve(build):
    main()
