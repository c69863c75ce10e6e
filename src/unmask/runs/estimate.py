"""What a training run would take, before it is run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError
from unmask.models.counting import of_tokens, parameters
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.training.loop import Trainer
from unmask.training.progress import duration
from unmask.training.record import peak_memory

GROWTH, STEADY = 2.5, 1.4
"""Of what the first steps hold: batches differ in size a little, and over thousands of steps the heap gets holes. The
smaller is measured, of encoders; the larger, of all others, is from before they held less (`benchmarks/held.py`)."""
BYTES_PER_WEIGHT = 12  # in a checkpoint: the weight and AdamW's two memories, float32

LARGEST = {
    "subword": "rows in its vocabulary",
    "glyph_cnn": "rows in its vocabulary",
    "char_cnn": "--model.filters",
    "fasttext_ngrams": "--model.ngram-buckets",
}
"""What most weights of tokens hang on, by how they get their vectors."""
MEMORY = Path("/proc/meminfo")


def refuse_too_large(trainer: Trainer, shape: Shape, length: int) -> None:
    """Refuse a step that cannot fit into this machine's memory, before the system kills the process for it.

    Raises:
        UserError: a rough count of what a step holds is more than twice what is free.
    """
    free = _free_memory()
    if free is None or trainer.placement.device.type != "cpu":
        return
    tokens, narrow = max(batch.tokens for batch in trainer.work.batches(0)), trainer.placement.dtype.itemsize
    wanted = tokens * _numbers_per_token(shape, length) * narrow
    if wanted > 2 * free:
        pieces = 2 ** math.ceil(math.log2(wanted / free)) * trainer.settings.accumulate
        raise UserError(
            f"{tokens:,} tokens at once take about {wanted / 1e9:,.0f} GB of memory, and {free / 1e9:,.0f} are free; "
            f"--accumulate {pieces} would fit, or a smaller --batch-size or --length"
        )


def refuse_too_many_weights(shape: Shape) -> None:
    """Refuse a model that cannot fit into this machine's memory, before it is made.

    Raises:
        UserError: its weights, their gradients and AdamW's memories are more than twice what is free.
    """
    count = parameters(shape)
    free, wanted = _free_memory(), 16 * count
    if free is not None and not torch.cuda.is_available() and wanted > 2 * free:
        mostly_tokens = of_tokens(shape) > count / 2
        which = LARGEST[shape.embedding] if mostly_tokens else "--model.layers or --model.width"
        raise UserError(
            f"a model of {count:,} parameters takes about {wanted / 1e9:,.0f} GB of memory to train, and "
            f"{free / 1e9:,.0f} are free; a smaller --model, or fewer {which}, would fit"
        )


def _numbers_per_token(shape: Shape, length: int) -> int:
    """Roughly what is kept for the backward pass, counted off the blocks' operations and confirmed by measuring."""
    inner = shape.feed_forward * (2 if shape.gated else 1)
    seen = sum(min(length, 3 * (shape.window_of(i) or length) // 2) for i in range(shape.layers))
    if shape.reformer is not None:  # one layer's, the rest being rebuilt, and the order of tokens in each
        parts, rounds = shape.reformer, shape.reformer.hashes
        wide = max(4 * chunk * (rounds if kind == "lsh" else 1) for kind, chunk in parts.chunks.items())
        across = shape.heads * shape.width_per_head
        return 12 * shape.width + 4 * inner + rounds * (8 * across + shape.heads * (shape.layers + 3 * wide))
    encoder = shape.layers * (12 * shape.width + 4 * inner) + 3 * shape.heads * seen
    return encoder + shape.decoder_layers * (20 * shape.width + 4 * inner + 6 * shape.heads * length)


def _free_memory() -> int | None:
    """Bytes that a process may still have; none where the system does not say."""
    if not MEMORY.is_file():
        return None
    rows = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines() if ":" in line)
    return int(rows["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in rows else None


def estimate(trainer: Trainer) -> dict[str, Any]:
    """Plan a run, rehearse some of its steps without moving a weight, and say what all of it would take."""
    begin, before = time.monotonic(), peak_memory()
    trainer.plan()
    each = trainer.seconds_per_step() + trainer.seconds_per_evaluation() / trainer.settings.eval_every
    parameters = sum(p.numel() for p in trainer.work.network.parameters())
    kept = trainer.checkpoints.keep + 2  # the best one, and one being written
    return {
        "parameters": parameters,
        "steps": trainer.state.steps,
        "tokens_per_step": sum(batch.tokens for batch in trainer.work.batches(0)) * trainer.placement.world,
        "seconds": each * trainer.state.steps,
        "memory": _memory(trainer, before, parameters),
        "disk": kept * BYTES_PER_WEIGHT * parameters,
        "rehearsed": time.monotonic() - begin,
    }


def _memory(trainer: Trainer, before: int, parameters: int) -> float:
    """Bytes at the most: gradients, AdamW's memories, which come with the first step, and what steps hold."""
    gradients = 4 * parameters
    held = max(0, peak_memory() - before - gradients)
    return before + gradients + 8 * parameters + held * _growth(trainer)


def _growth(trainer: Trainer) -> float:
    if trainer.placement.device.type != "cpu":
        return 1.0
    return STEADY if isinstance(trainer.work.network.get_submodule("backbone"), Encoder) else GROWTH


def in_words(estimated: Mapping[str, Any]) -> str:
    """An estimate as lines of text."""
    gigabytes = {name: f"{estimated[name] / 1e9:.2f} GB" for name in ("memory", "disk")}
    rows = {
        "parameters": f"{estimated['parameters']:,}",
        "steps": f"{estimated['steps']:,}",
        "tokens per step": f"{estimated['tokens_per_step']:,}",
        "estimated time": f"{duration(estimated['seconds'])}, saving not counted",
        "estimated memory": gigabytes["memory"],
        "estimated disk": gigabytes["disk"],
    }
    return "\n".join(f"{name:<17} {value}" for name, value in rows.items())
