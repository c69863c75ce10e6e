"""What moves and what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from small_base import EXACT, base, classified
from unmask.commands.finetune import Finetune
from unmask.config import build
from unmask.errors import UserError
from unmask.nn.batch import collate
from unmask.runs.finetune import Job
from unmask.tasks.base import HEAD

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return {
        "model": str(base(folder / "base")),
        "train": classified(folder / "train.tsv", 60, 1),
        "valid": classified(folder / "dev.tsv", 20, 2),
    }


def job_of(files, folder: Path, **settings) -> Job:
    given = {**files, "task": "classify", "out": folder / "run", "steps": 12, **EXACT, **settings}
    return Job.of(build(Finetune, given))


@pytest.mark.parametrize(
    ("tuning", "moves"),
    [
        ({"tuning": "full"}, lambda name: True),
        ({"tuning": "frozen"}, lambda name: name.startswith("heads.")),
        ({"tuning": "freeze_first", "tuning.n": 0}, lambda name: ".embeddings." not in name),
        (
            {"tuning": "freeze_first", "tuning.n": 1},
            lambda name: ".embeddings." not in name and ".blocks.0." not in name,
        ),
        ({"tuning": "freeze_first", "tuning.n": 2}, lambda name: name.startswith("heads.")),
    ],
)
def test_exactly_what_should_move_moves(files, tmp_path, tuning, moves):
    trainer = job_of(files, tmp_path, **tuning).trainer(1)
    network = trainer.work.network
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    trainer.plan()
    for _ in range(3):
        trainer.step()
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    # positions beyond the longest text are only decayed, so that they move too
    assert moved == {name for name in before if moves(name)}


def test_the_backward_pass_stops_where_nothing_below_moves(files, tmp_path):
    job = job_of(files, tmp_path, tuning="freeze_first", **{"tuning.n": 1})
    network = job.trainer(1).work.network
    batch = collate(job.sources["train"].encoded.data.pick(np.arange(4)))
    states = network.backbone.layers(batch.streams["encoder"])
    assert [layer.requires_grad for layer in states] == [False, False, True]


def test_more_layers_than_there_are_cannot_be_frozen(files, tmp_path):
    with pytest.raises(UserError, match=r"--tuning\.n 3: the model has 2 layers; 0 to 2 would fit"):
        job_of(files, tmp_path, tuning="freeze_first", **{"tuning.n": 3})


def _tokens(layout):
    """Without those that make their number even."""
    return len((layout.whole or layout).places)


@pytest.mark.parametrize("pool", ["cls", "attention"])
def test_a_frozen_backbone_runs_once_over_the_data_and_stays_as_it_is(files, tmp_path, pool):
    job = job_of(files, tmp_path, tuning="frozen", **{"task.pool": pool, "batch_size": 10})
    trainer = job.trainer(1)
    network, source = trainer.work.network, job.sources["train"]
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    seen = []
    network.backbone.embeddings.register_forward_pre_hook(lambda _, given: seen.append(_tokens(given[0].layout)))
    once = sum(len(job.sources[split].encoded.data.stream.tokens) for split in ("train", "valid"))
    trainer.plan()
    trainer.step()
    assert sum(seen) == once
    for _ in range(11):  # two epochs
        trainer.step()
    trainer.work.evaluate()
    assert sum(seen) == once
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.backbone.state_dict().items())
    kept = len(source.encoded.data.stream.tokens) if pool == "attention" else len(source.encoded.rows)
    assert len(source.states) == kept
    numbers = np.array([7, 3, 30])
    network.eval()
    remembered = job.task.loss(network, source.batch(numbers))[HEAD]
    computed = job.task.loss(network, collate(source.encoded.data.pick(numbers)))[HEAD]
    torch.testing.assert_close(remembered.total, computed.total)
