"""The training loop. It knows batches, losses and weights; no objective and no model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from unmask.errors import UserError
from unmask.nn import dropout
from unmask.nn.batch import Batch
from unmask.nn.losses import Loss
from unmask.training import optim
from unmask.training.checkpoint import Checkpoints, State, read_state
from unmask.training.placement import Placement, Weights
from unmask.training.settings import Training
from unmask.training.tensors import read_tensors

REHEARSALS = 8  # steps timed to plan a run by minutes, after one that is not


class Work(Protocol):
    """What is trained: the loop asks it for batches and losses."""

    @property
    def network(self) -> nn.Module:
        """What computes."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Of each loss in the sum."""

    @property
    def steps_per_epoch(self) -> float:
        """Steps in a pass over the data."""

    @property
    def data(self) -> str:
        """Hash of what is trained on."""

    def batches(self, step: int, done: float = 0.0) -> list[Batch]:
        """This rank's part of a step, in as many pieces as are accumulated; a share ``done`` of all steps is behind."""

    def losses(self, batch: Batch) -> dict[str, Loss]:
        """Sums and counts by head."""

    def evaluate(self) -> dict[str, float]:
        """Held-out figures; ``loss`` or ``score`` among them decides which checkpoint is best. Empty: none held out."""

    def origin(self, step: int) -> str:
        """Where a step's texts came from, to be named when its loss is not a number."""


@dataclass
class Step:
    """What one step came to."""

    number: int
    sums: dict[str, Tensor]  # of the losses by head, this rank's
    counts: dict[str, float]  # of the answers by head, all ranks'
    grad_norm: Tensor


@dataclass
class Trainer:
    """Everything that changes while training, and the verbs that change it."""

    work: Work
    settings: Training
    placement: Placement
    checkpoints: Checkpoints

    def __post_init__(self) -> None:
        self.weights = Weights(self.work.network, self.placement)
        self.optimizer = optim.AdamW(self.weights, self.settings)
        self.state = State(step=0, steps=0, data=self.work.data, settings=self.settings.hash)

    def begin(self) -> int:
        """Continue from the newest checkpoint, or plan a new run. Returns the number of steps already done."""
        self.checkpoints.clean()
        if self.checkpoints.latest is None:
            self.plan()
        else:
            self._restore(self.checkpoints.latest)
        return self.state.step

    def _restore(self, latest: Path) -> None:
        self.state = read_state(latest)
        if self.state.data != self.work.data:
            raise UserError(f"{latest}: was trained on other data; give back the old data or use --overwrite")
        steps = self.settings.steps or self.state.steps
        # what was saved before there was a hash has none
        if self.state.steps != steps or self.state.settings not in ("", self.settings.hash):
            raise UserError(
                f"{latest / 'state.json'}: is of a run with other settings; put the right one back, delete {latest} to "
                "go on from an older checkpoint, or use --overwrite"
            )
        self.weights.load(read_tensors(latest / "model.safetensors"))
        self.optimizer.load(read_tensors(latest / "optimizer.safetensors"))

    def save(self, score: float | None = None) -> None:
        """Write a checkpoint."""
        if self.placement.main:
            self.checkpoints.save(replace(self.state, score=score), self.weights.trained, self.optimizer.state())

    def plan(self) -> None:
        """Decide the number of steps."""
        settings = self.settings
        if settings.minutes is not None:
            each = self.seconds_per_step() + self.seconds_per_evaluation() / settings.eval_every
            self.state.steps = max(1, int(settings.minutes * 60 / each))
        elif settings.epochs is not None:
            self.state.steps = max(1, round(settings.epochs * self.work.steps_per_epoch))
        else:
            self.state.steps = settings.steps or 2000

    def step(self) -> Step:
        """One step: forward, backward, update."""
        step = self.state.step
        batches = self.work.batches(step, step / self.state.steps)
        sums, counts = self._gradients(step, batches)
        length = optim.length_of(self.weights.gradients())
        done = Step(step, sums, counts, length)
        if self.placement.device.type == "cpu":
            self.check(done)  # on a GPU this would wait for it; there a whole window is checked at once
        self.optimizer.step(self.settings.rate(step, self.state.steps), optim.clipping(length, self.settings.clip))
        self.weights.clear()
        self.state.step += 1
        self.state.tokens += int(self.placement.sum([float(sum(b.tokens for b in batches))])[0])
        return done

    def check(self, step: Step) -> None:
        """Stop where a loss or a gradient is not a number."""
        bad = [name for name, total in step.sums.items() if not math.isfinite(total.item())]
        if not bad and math.isfinite(step.grad_norm.item()):
            return
        what = f"the loss of {bad[0]}" if bad else "the gradient"
        good = self.checkpoints.latest or "none; nothing was saved yet"
        raise UserError(
            f"step {step.number}: {what} is not a finite number; its texts: {self.work.origin(step.number)}; "
            f"last good checkpoint: {good}; a lower --lr or --precision float32 may help"
        )

    def _gradients(self, step: int, batches: list[Batch]) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Add up the gradients of the mean losses over all batches and ranks."""
        counts = self._counts(batches)
        sums: dict[str, Tensor] = {}
        for part, batch in enumerate(batches):
            dropout.seed(self.settings.seed, step, part * self.placement.world + self.placement.rank)
            losses = self.work.losses(batch.to(self.placement.device))
            total = sum(self.work.weights[n] * loss.total / max(1.0, counts[n]) for n, loss in losses.items())
            if isinstance(total, Tensor) and total.requires_grad:
                total.backward()  # type: ignore[no-untyped-call]
            if len(batches) > 1 or self.placement.world > 1:
                self.weights.gather()
            for name, loss in losses.items():
                sums[name] = sums[name] + loss.total.detach() if name in sums else loss.total.detach()
        if self.placement.world > 1:
            self.placement.sum_gradients(list(self.weights.gradients().values()))
        return sums, counts

    def _counts(self, batches: list[Batch]) -> dict[str, float]:
        """Answers by head over all batches and ranks, known before anything is computed."""
        names = list(self.work.weights)
        here = [float(sum(batch.counts.get(name, 0) for batch in batches)) for name in names]
        return dict(zip(names, self.placement.sum(here), strict=True))

    def seconds_per_step(self) -> float:
        """Time some steps without moving anything."""
        for rehearsal in range(REHEARSALS + 1):
            if rehearsal == 1:
                self.placement.wait()
                begin = time.monotonic()
            self._gradients(rehearsal, self.work.batches(rehearsal))
            self.weights.clear()
        return self._since(begin) / REHEARSALS

    def seconds_per_evaluation(self) -> float:
        """Time one evaluation."""
        begin = time.monotonic()
        self.work.evaluate()
        return self._since(begin)

    def _since(self, begin: float) -> float:
        """Seconds until the device is done, the mean over the ranks."""
        self.placement.wait()
        return self.placement.sum([time.monotonic() - begin])[0] / self.placement.world


class Window:
    """The steps since the last line of metrics. Its sums live in the state, so that a resumed run logs alike."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.steps: list[Step] = []
        self.since, self.tokens = time.monotonic(), trainer.state.tokens

    def add(self, step: Step) -> None:
        """Take a step in, without waiting for the device."""
        self.steps.append(step)

    def settle(self) -> None:
        """Bring what the steps came to into the state."""
        state, placement = self.trainer.state, self.trainer.placement
        for step in self.steps:
            self.trainer.check(step)
            totals = placement.sum([total.item() for total in step.sums.values()])
            for name, total in zip(step.sums, totals, strict=True):
                state.sums[name] = state.sums.get(name, 0.0) + total
                state.counts[name] = state.counts.get(name, 0.0) + step.counts[name]
                state.asked[name] = state.asked.get(name, 0) + 1
            state.window += 1
            state.grad_norm = step.grad_norm.item()
        now = time.monotonic()
        state.seconds += now - self.since
        self.since = now
        self.steps.clear()

    def close(self) -> dict[str, object]:
        """One line of metrics: mean losses per answer, and a new window."""
        self.settle()
        state, weights = self.trainer.state, self.trainer.work.weights
        means = {name: total / max(1.0, state.counts[name]) for name, total in state.sums.items()}
        line: dict[str, object] = {
            "step": state.step,
            "split": "train",
            # a step's on average: where each asks one of several objectives, each counts as often as it was asked
            "loss": sum(weights[name] * mean * state.asked[name] / state.window for name, mean in means.items()),
            **{f"loss/{name}": mean for name, mean in means.items()},
            "lr": self.trainer.settings.rate(state.step - 1, state.steps),
            "grad_norm": state.grad_norm,
            "tokens": state.tokens,
            "seconds": round(state.seconds, 3),
        }
        state.window = 0
        for sums in (state.sums, state.counts, state.asked):
            sums.clear()
        return line


def train(trainer: Trainer, log: Callable[[dict[str, object]], None]) -> State:
    """Train to the planned end, from where ``trainer.begin()`` found the run. ``log`` gets each line of metrics."""
    settings, state = trainer.settings, trainer.state
    window = Window(trainer)
    while state.step < state.steps:
        window.add(trainer.step())
        last = state.step == state.steps
        if state.step % settings.log_every == 0 or last:
            log(window.close())
        score = None
        if state.step % settings.eval_every == 0 or last:
            score = _evaluate(trainer, window, log)
        improved = score is not None and (state.best is None or score < state.best)
        if improved:
            state.best = score
        if state.step % settings.save_every == 0 or last or improved:
            window.settle()
            trainer.save(score)
    return state


def _evaluate(trainer: Trainer, window: Window, log: Callable[[dict[str, object]], None]) -> float | None:
    """Held-out figures into the metrics; their score, the lower the better. Its time is not the training's."""
    window.settle()
    held_out = trainer.work.evaluate()
    window.since = time.monotonic()
    if not held_out:
        return None
    log({"step": trainer.state.step, "split": "valid", **held_out})
    return -held_out["score"] if "score" in held_out else held_out["loss"]
