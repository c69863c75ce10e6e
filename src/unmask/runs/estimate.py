"""What a training run would take, before it is run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from unmask.training.loop import Trainer
from unmask.training.progress import duration
from unmask.training.record import peak_memory

BYTES_PER_WEIGHT = 12  # in a checkpoint: the weight and AdamW's two memories, float32


def estimate(trainer: Trainer) -> dict[str, Any]:
    """Plan a run, rehearse some of its steps without moving a weight, and say what all of it would take."""
    begin = time.monotonic()
    trainer.plan()
    each = trainer.seconds_per_step() + trainer.seconds_per_evaluation() / trainer.settings.eval_every
    parameters = sum(p.numel() for p in trainer.work.network.parameters())
    kept = trainer.checkpoints.keep + 2  # the best one, and one being written
    return {
        "parameters": parameters,
        "steps": trainer.state.steps,
        "tokens_per_step": sum(batch.tokens for batch in trainer.work.batches(0)) * trainer.placement.world,
        "seconds": each * trainer.state.steps,
        # the optimizer's memories come with the first step
        "memory": peak_memory() + 8 * parameters,
        "disk": kept * BYTES_PER_WEIGHT * parameters,
        "rehearsed": time.monotonic() - begin,
    }


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
