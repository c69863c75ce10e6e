"""The loop, its checkpoints and its arithmetic, on a task small enough to know the answer."""

from __future__ import annotations

import errno
import json
import os
import resource
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from unmask.disk import alone
from unmask.errors import UserError
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import Batch, collate
from unmask.nn.heads import MaskedLMHead
from unmask.nn.losses import Loss
from unmask.nn.network import Network
from unmask.text.example import Example, Stream, Targets
from unmask.training.checkpoint import Checkpoints, State, read_state
from unmask.training.loop import Trainer, train
from unmask.training.placement import Placement
from unmask.training.settings import Training
from unmask.training.tensors import read_tensors, write_tensors

SHAPE = Shape(vocab_size=50, width=32, layers=2, heads=2, feed_forward=64, max_length=32)


@dataclass
class Copying:
    """Say which token stands at some places: learnable, and different at every step."""

    shape: Shape = SHAPE
    pieces: int = 1
    data: str = "copying"
    weights: dict[str, float] = field(default_factory=lambda: {"masked_lm": 1.0})
    steps_per_epoch: float = 10.0
    poison: int | None = None

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.network = Network(Encoder(self.shape), {"masked_lm": MaskedLMHead(self.shape)})

    def batches(self, step: int, done: float = 0.0) -> list[Batch]:
        rng = np.random.default_rng(step)
        return [collate(self._example(rng, n)) for n in range(self.pieces)]

    def _example(self, rng: np.random.Generator, piece: int) -> Example:
        lengths = np.array([16, 9, 7])
        tokens = rng.integers(0, 50, 32)
        # pieces hold different numbers of answers, so that a mean of means would differ
        index = np.sort(rng.choice(32, 4 + 9 * piece, replace=False))
        return Example({"encoder": Stream(tokens, lengths)}, {"masked_lm": Targets(index, tokens[index])})

    def losses(self, batch: Batch) -> dict[str, Loss]:
        losses = self.network.answer(batch, ["masked_lm"])
        if self.poison == self.calls():
            losses["masked_lm"].total = losses["masked_lm"].total * float("nan")
        return losses

    def calls(self) -> int:
        self.called = getattr(self, "called", -1) + 1
        return self.called

    def evaluate(self) -> dict[str, float]:
        return {"loss": 1.0}

    def origin(self, step: int) -> str:
        return f"document {step}"


def trainer_of(folder: Path, work: Copying | None = None, **settings: object) -> Trainer:
    chosen = Training(**{"steps": 12, "device": "cpu", "precision": "float32", "save_every": 4, **settings})
    return Trainer(work or Copying(), chosen, Placement.of(chosen), Checkpoints(folder, chosen.keep))


def run(folder: Path, work: Copying | None = None, **settings: object) -> tuple[Trainer, list[dict[str, object]]]:
    lines: list[dict[str, object]] = []
    trainer = trainer_of(folder, work, **settings)
    trainer.begin()
    train(trainer, lines.append)
    return trainer, lines


class Killed(BaseException):
    pass


def run_until(folder: Path, step: int, **settings: object) -> list[dict[str, object]]:
    """Train, and die after so many steps, without a word."""
    trainer, lines = trainer_of(folder, **settings), []
    original = trainer.step

    def dying() -> object:
        if trainer.state.step == step:
            raise Killed
        return original()

    trainer.begin()
    trainer.step = dying  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        train(trainer, lines.append)
    return lines


def bits(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trainer.weights.masters.items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("died_at", [1, 5, 7, 11])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path: Path, precision: str, died_at: int) -> None:
    settings = {"precision": precision, "log_every": 3, "eval_every": 6}
    whole, lines = run(tmp_path / "a", **settings)
    before = run_until(tmp_path / "b", died_at, **settings)
    resumed, after = run(tmp_path / "b", **settings)
    assert_same(bits(whole), bits(resumed))
    times = {"seconds"}
    strip = lambda ls: {(l["step"], l["split"]): {k: v for k, v in l.items() if k not in times} for l in ls}  # noqa: E731, E741
    assert strip(lines) == strip([*before, *after])


def test_the_same_seed_gives_the_same_bits_and_another_one_others(tmp_path: Path) -> None:
    a, b, c = (bits(run(tmp_path / str(n), steps=3, seed=seed)[0]) for n, seed in enumerate([1, 1, 2]))
    assert_same(a, b)
    assert not torch.equal(a["backbone.blocks.0.attention.qkv.weight"], c["backbone.blocks.0.attention.qkv.weight"])


def test_a_step_in_pieces_is_the_same_step(tmp_path: Path) -> None:
    """Pieces hold 4 and 13 answers; their mean is over 17 answers, not over two means."""
    still = SHAPE.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0})

    class InOne(Copying):
        def batches(self, step: int, done: float = 0.0) -> list[Batch]:
            rng = np.random.default_rng(step)
            a, b = (self._example(rng, n) for n in range(2))
            tokens = np.concatenate([e.streams["encoder"].tokens for e in (a, b)])
            index = np.concatenate([a.targets["masked_lm"].index, b.targets["masked_lm"].index + 32])
            stream = Stream(tokens, np.array([16, 9, 7] * 2))
            return [collate(Example({"encoder": stream}, {"masked_lm": Targets(index, tokens[index])}))]

    one, lines = run(tmp_path / "one", InOne(still), steps=4, log_every=1)
    two, pieces = run(tmp_path / "two", Copying(still, pieces=2), steps=4, log_every=1)
    for name, tensor in bits(one).items():
        torch.testing.assert_close(bits(two)[name], tensor, atol=1e-5, rtol=1e-4)
    losses = lambda ls: [line["loss"] for line in ls if line["split"] == "train"]  # noqa: E731
    np.testing.assert_allclose(losses(pieces), losses(lines), rtol=1e-5)


def test_it_learns(tmp_path: Path) -> None:
    still = SHAPE.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0})
    _, lines = run(tmp_path, Copying(still), steps=150, lr=5e-3)
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert losses[0] > 3.5 and losses[-1] < losses[0] / 2  # type: ignore[operator]


def test_bfloat16_follows_float32(tmp_path: Path) -> None:
    still = SHAPE.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0})
    curves = []
    for precision in ("float32", "bfloat16"):
        _, lines = run(tmp_path / precision, Copying(still), steps=60, lr=2e-3, precision=precision)
        curves.append([line["loss"] for line in lines if line["split"] == "train"])
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.03)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step 6: the loss of masked_lm .* document 6; .*step-4"):
        run(tmp_path, Copying(poison=6))
    assert read_state(tmp_path / "checkpoints" / "step-4").step == 4
    assert all(
        torch.isfinite(t).all() for t in read_tensors(tmp_path / "checkpoints/step-4/model.safetensors").values()
    )


def test_other_data_are_refused(tmp_path: Path) -> None:
    run(tmp_path, steps=4)
    with pytest.raises(UserError, match="other data"):
        run(tmp_path, Copying(data="changed"), steps=4)


def test_a_state_of_another_checkpoint_or_run_is_refused(tmp_path: Path) -> None:
    settings = {"log_every": 3, "save_every": 2}
    run_until(tmp_path / "a", 7, **settings)
    state = tmp_path / "a" / "checkpoints" / "step-6" / "state.json"
    own = state.read_text()
    run_until(tmp_path / "b", 7, **settings, seed=5)
    for text, why in (
        (state.parent.with_name("step-4").joinpath("state.json").read_text(), "says step 4 of 12, so it is another"),
        (json.dumps({**json.loads(own), "steps": 5}), "says step 6 of 5"),
        (json.dumps({**json.loads(own), "steps": 500}), "is of a run with other settings"),
        ((tmp_path / "b" / "checkpoints" / "step-6" / "state.json").read_text(), "is of a run with other settings"),
    ):
        state.write_text(text)
        with pytest.raises(UserError, match=rf"step-6/state\.json: {why}.*delete .*step-6 ") as told:
            run(tmp_path / "a", **settings)
        assert "\n" not in str(told.value)
    state.write_text(own)
    whole, _ = run(tmp_path / "whole", **settings)
    assert_same(bits(run(tmp_path / "a", **settings)[0]), bits(whole))


def test_what_a_run_is_known_by() -> None:
    assert Training(seed=2).hash == Training(seed=2, device="cpu").hash != Training(seed=3).hash


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, score in enumerate([5.0, 1.0, 3.0, 4.0, 2.0]):
        checkpoints.save(State(step, 9, score=score), {"w": torch.ones(1)}, {})
    assert [p.name for p in checkpoints.all()] == ["step-1", "step-3", "step-4"]
    assert checkpoints.best == tmp_path / "checkpoints" / "step-1"


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(State(1, 9), {"w": torch.ones(1)}, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unmask.disk.os.fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*step-1, is whole"):
        checkpoints.save(State(2, 9), {"w": torch.ones(1)}, {})
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-1"]


def test_what_the_system_refuses_of_a_file_of_tensors_is_its_own_error(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as told:
            write_tensors(tmp_path / "w.safetensors", {"w": torch.ones(1000)})
        with pytest.raises(UserError, match="could not be written"):
            Checkpoints(tmp_path).save(State(2, 9), {"w": torch.ones(1000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (told.value.errno, told.value.filename) == (errno.EFBIG, str(tmp_path / "w.safetensors"))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_file_of_tensors_is_as_open_to_others_as_any(tmp_path: Path) -> None:
    for umask in (0o022, 0o027):
        before = os.umask(umask)
        write_tensors(tmp_path / str(umask), {"w": torch.ones(3)[::2]}, {"format": "pt"})
        os.umask(before)
        assert (tmp_path / str(umask)).stat().st_mode & 0o777 == 0o666 & ~umask
        assert read_tensors(tmp_path / str(umask))["w"].tolist() == [1, 1]


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path).save(State(1, 9), {"w": torch.ones(100)}, {})
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match=r"model\.safetensors: not a whole safetensors file"):
        read_tensors(path)
    (saved / "state.json").write_text(json.dumps({"step": 1, "surprise": 2}))
    with pytest.raises(UserError, match=r"state\.json: not the state of a checkpoint"):
        read_state(saved)


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(UserError, match="another process"), alone(tmp_path):
        pass


def test_one_length_only() -> None:
    with pytest.raises(ValidationError, match="choose one of steps, minutes and epochs; given are steps and epochs"):
        Training(steps=1, epochs=1)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_schedules_rise_to_the_rate_and_fall_to_nothing(schedule: str) -> None:
    settings = Training(schedule=schedule, lr=1.0, warmup=0.1)
    rates = [settings.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.06
