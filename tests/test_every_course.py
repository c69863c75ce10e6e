"""What training must be with any objective: the same run after a break, and the same on two processes as on one."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from unmask.commands.pretrain import Pretrain
from unmask.config import folder
from unmask.presets import PRESETS, USUAL
from unmask.runs.pretrain import trainer_of
from unmask.text.corpus.corpus import Corpus
from unmask.training.loop import Trainer, train
from unmask.training.placement import leave

OBJECTIVES = folder("unmask.objectives")
STEPS = 4
HARDLY = 1e-9
"""Of dropout: what is dropped differs between processes, so nothing may be; but some objectives want it possible."""
CASES = [*sorted(OBJECTIVES), "causal_lm of transformer-xl-tiny"]
"""Each objective with the model that it usually trains, and others that bring more into a step: here a memory."""
each = pytest.mark.parametrize("name", CASES)


def settings_of(name: str, corpus: Path, out: Path, dropout: float | None) -> Pretrain:
    """Few steps of a small model of the kind that an objective usually trains, or of the one that is named."""
    name, _, named = name.partition(" of ")
    kind = USUAL[OBJECTIVES[name].flows[0]].rpartition("-")[0]
    preset = named or f"{'bert' if kind == 'modernbert' else kind}-tiny"
    drops = [field for field, value in PRESETS[preset] if field.endswith("dropout") and value]
    model = {"name": preset, "width": 32, **({} if dropout is None else dict.fromkeys(drops, dropout))}
    few = {"group": 8} if "group" in OBJECTIVES[name].model_fields else {}  # so that a step has several groups
    return Pretrain(
        corpus=corpus, out=out, model=model, objective={**OBJECTIVES[name].needs, name: few}, length=32, batch_size=12,
        steps=STEPS, save_every=2, keep=STEPS, device="cpu", precision="float32",
    )  # type: ignore[arg-type]  # fmt: skip


def trainer_for(name: str, corpus: Path, out: Path, dropout: float | None = None) -> Trainer:
    settings = settings_of(name, corpus, out, dropout)
    opened = Corpus.open(corpus).plus(settings.extra_tokens)
    trainer = trainer_of(settings.resolved(opened.tokenizer.size), opened)
    trainer.begin()
    return trainer


def losses(name: str, corpus: Path, out: Path) -> Iterator[dict[str, float]]:
    """Of each step by head, over all processes."""
    trainer = trainer_for(name, corpus, out, HARDLY)
    for _ in range(STEPS):
        step = trainer.step()
        sums = trainer.placement.sum([total.item() for total in step.sums.values()])
        yield {head: total / max(1.0, step.counts[head]) for head, total in zip(step.sums, sums, strict=True)}


@each
def test_a_run_that_goes_on_has_the_bits_of_one_that_was_never_stopped(name: str, corpus: Path, tmp_path: Path) -> None:
    whole = trainer_for(name, corpus, tmp_path)
    train(whole, lambda line: None)
    shutil.rmtree(tmp_path / "checkpoints" / f"step-{STEPS}")
    again = trainer_for(name, corpus, tmp_path)
    assert again.state.step == STEPS // 2
    train(again, lambda line: None)
    assert [n for n, w in whole.weights.masters.items() if not torch.equal(w, again.weights.masters[n])] == []


def as_one_of_two(rank: int, port: int, corpus: Path, home: Path) -> None:
    """What one of two processes does; the first writes down the losses of both."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    found = {name: list(losses(name, corpus, home / name)) for name in CASES}
    leave()
    if rank == 0:
        (home / "losses.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def of_two(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, float]]]:
    home = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(as_one_of_two, (port, corpus, home), nprocs=2)
    found: dict[str, list[dict[str, float]]] = json.loads((home / "losses.json").read_text())
    return found


@each
def test_two_processes_have_the_losses_of_one(
    name: str, corpus: Path, tmp_path: Path, of_two: dict[str, list[dict[str, float]]]
) -> None:
    one, two = list(losses(name, corpus, tmp_path)), of_two[name]
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        np.testing.assert_allclose(list(theirs.values()), list(mine.values()), rtol=1e-5)
