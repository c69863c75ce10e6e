"""What a user can set of a training run, whatever is trained. Reads without torch."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Literal, Self

from pydantic import Field, model_validator

from unmask.config import Config

LENGTHS = ("steps", "minutes", "epochs")
# what may differ between two calls that mean the same run
NOT_OF_THE_RUN = ("out", "overwrite", "dry_run", "device", "similarity", "analogies")


class Course(Config):
    """How long, how fast, and on what: what every kind of training lets people set."""

    steps: int | None = Field(None, ge=1, description="Train for this many steps")
    minutes: float | None = Field(
        None,
        gt=0,
        description="Train for about this long; steps are planned by timing some, as busy as the machine is then",
    )
    epochs: float | None = Field(None, gt=0, description="Train for this many passes over the data")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="After the warm-up: down to zero in a line or a cosine, or constant with a final decay"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises")
    decay: float = Field(0.2, ge=0, le=1, description="Share of the steps in which a constant schedule falls to zero")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decay of matrices; biases and norms have none")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's memory of the gradient")
    beta2: float = Field(0.98, ge=0, lt=1, description="AdamW's memory of its square (0.98 as RoBERTa, 2019)")
    eps: float = Field(1e-6, gt=0, description="AdamW's epsilon")
    clip: float | None = Field(1.0, gt=0, description="Longest gradient; longer ones are scaled down")
    accumulate: int = Field(1, ge=1, description="Parts a step is computed in, to save memory; the result is the same")

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Numbers of the model's arithmetic; auto: bfloat16 where the processor multiplies it"
    )
    log_every: int = Field(10, ge=1, description="Steps between lines of metrics")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"choose one of steps, minutes and epochs; given are {' and '.join(given)}")
        return self

    @property
    def hash(self) -> str:
        """Of all settings that make a run what it is; a new setting changes it only where it is used."""
        chosen = self.model_dump(mode="json", exclude=set(NOT_OF_THE_RUN), exclude_defaults=True)
        return hashlib.blake2b(json.dumps(chosen, sort_keys=True).encode(), digest_size=16).hexdigest()


class Training(Course):
    """Everything that a run of one seed needs."""

    steps: int | None = Field(None, ge=1, description="Train for this many steps (2000 if no other length is given)")
    seed: int = Field(1, ge=0, lt=2**32, description="Decides initial weights, order, corruption and dropout")
    lr: float = Field(5e-4, gt=0, description="Highest learning rate")
    eval_every: int = Field(200, ge=1, description="Steps between evaluations on held-out text")
    save_every: int = Field(500, ge=1, description="Steps between checkpoints")
    keep: int = Field(2, ge=1, description="Checkpoints kept, the best one not counted")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step (counted from 0) of so many."""
        warm = round(self.warmup * steps)
        if step < warm:
            return self.lr * (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        if self.schedule == "linear":
            return self.lr * (1 - done)
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * done)) / 2
        falling = max(1, round(self.decay * steps))
        return self.lr * min(1.0, (steps - step) / falling)
