"""Real processes: killed at twenty random moments, and two of them training as one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import unmask
from unmask.runs.pretraining import Pretraining

UNMASK = [sys.executable, "-m", "unmask"]
TINY = ["--model", "bert-tiny", "--model.width", "32", "--model.heads", "2", "--model.feed-forward", "64"]
TINY += ["--length", "32", "--batch-size", "8", "--device", "cpu", "--precision", "float32"]


def run(*arguments: object, launcher: list[str] = UNMASK, check: bool = True) -> subprocess.CompletedProcess[str]:
    line, environment = [*launcher, *map(str, arguments)], {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(0)
    words = ["sun", "moon", "rises", "sets", "over", "under", "the", "sea", "hill", "river", "bright", "slowly"]
    documents = [
        "\n".join(" ".join(rng.choices(words, k=rng.randint(4, 12))).capitalize() + "." for _ in range(12))
        for _ in range(60)
    ]
    (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    run("prepare", folder / "text.txt", "--out", folder / "corpus", "--vocab-size", 120, "--valid", 0.05)
    return folder / "corpus"


def weights(folder: Path) -> dict[str, np.ndarray]:
    newest = max((folder / "checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]))
    return load_file(newest / "model.safetensors")


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["split"] == "train"]


def figures(folder: Path) -> list[tuple[int, str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["split"], line["loss"]) for line in lines]


def test_a_run_killed_twenty_times_ends_with_the_bits_of_one_that_was_not(corpus: Path, tmp_path: Path) -> None:
    # so many checkpoints that some kills hit one being written
    settings = ["--steps", 150, "--save-every", 2, "--log-every", 5, "--eval-every", 50, *TINY]
    begin = time.monotonic()
    run("pretrain", corpus, "--out", tmp_path / "whole", *settings)
    whole = time.monotonic() - begin
    rng = random.Random(1)
    for _ in range(20):
        process = subprocess.Popen(
            [*UNMASK, "pretrain", str(corpus), "--out", str(tmp_path / "killed"), *map(str, settings)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        time.sleep(rng.uniform(0.3, 0.9) * whole)
        process.send_signal(signal.SIGKILL)
        _, complaint = process.communicate()
        # it may have been done already; it must never have found something broken
        assert process.returncode in (0, -signal.SIGKILL), complaint
    run("pretrain", corpus, "--out", tmp_path / "killed", *settings)
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)
    assert figures(tmp_path / "whole") == figures(tmp_path / "killed")
    assert not list((tmp_path / "killed" / "checkpoints").glob(".*"))


def test_two_processes_train_as_one(corpus: Path, tmp_path: Path) -> None:
    settings = ["--steps", 12, "--log-every", 1, "--model.dropout", 0, "--model.attention-dropout", 0, *TINY]
    run("pretrain", corpus, "--out", tmp_path / "one", *settings)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "unmask"]
    run("pretrain", corpus, "--out", tmp_path / "two", *settings, launcher=torchrun)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)
    tokens = [json.loads((tmp_path / name / "result.json").read_text())["tokens"] for name in ("one", "two")]
    assert tokens[0] == tokens[1]


def test_changed_settings_are_refused_with_the_difference(corpus: Path, tmp_path: Path) -> None:
    run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, *TINY)
    refused = run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, "--lr", 0.1, *TINY, check=False)
    assert refused.returncode == 2
    assert "lr: 0.0005 -> 0.1" in refused.stderr and refused.stderr.count("\n") == 1
    run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, "--lr", 0.1, "--overwrite", *TINY)


def test_repeating_a_finished_run_trains_no_further(corpus: Path, tmp_path: Path) -> None:
    for _ in range(2):
        run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, *TINY)
    assert [path.name for path in (tmp_path / "a" / "checkpoints").iterdir()] == ["step-4"]


def test_what_was_deleted_of_a_finished_run_is_made_again(corpus: Path, tmp_path: Path) -> None:
    run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, *TINY)
    before = figures(tmp_path / "a")
    for name in ("result.json", "report.html", "README.md"):
        (tmp_path / "a" / name).unlink()
        run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, *TINY)
        assert (tmp_path / "a" / name).is_file() and figures(tmp_path / "a") == before


def test_the_last_figures_are_those_measured_while_training(corpus: Path, tmp_path: Path, monkeypatch) -> None:
    """And only where their line is lost, measured again: held-out text may take longer than the training."""
    times, evaluate = [], Pretraining.evaluate
    monkeypatch.setattr(Pretraining, "evaluate", lambda work: times.append(work) or evaluate(work))
    settings = {"model": {"name": "bert-tiny", "width": 32}, "steps": 4, "eval_every": 2, "length": 32, "batch_size": 8}
    done = unmask.pretrain(corpus, out=tmp_path / "a", **settings, device="cpu", precision="float32")
    assert len(times) == 2
    (tmp_path / "a" / "result.json").unlink()
    (tmp_path / "a" / "metrics.jsonl").unlink()
    again = unmask.pretrain(corpus, out=tmp_path / "a", **settings, device="cpu", precision="float32")
    assert len(times) == 3 and done["figures"] == again["figures"] and done["figures"]["loss"] > 1
    (tmp_path / "a" / "result.json").unlink()
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 4, "split": "valid", "loss": 0.001}\n')
    again = unmask.pretrain(corpus, out=tmp_path / "a", **settings, device="cpu", precision="float32")
    assert len(times) == 4 and done["figures"] == again["figures"]


def test_what_was_saved_of_a_refused_run_stays(corpus: Path, tmp_path: Path) -> None:
    """Though no line of metrics was written yet."""
    wild = ["--steps", 60, "--save-every", 1, "--log-every", 100, "--lr", 3e4, "--warmup", 0, "--clip", "none"]
    refused = run("pretrain", corpus, "--out", tmp_path / "a", *wild, *TINY, check=False)
    assert refused.returncode == 2 and "last good checkpoint" in refused.stderr
    named = Path(refused.stderr.split("last good checkpoint: ")[1].split(";")[0])
    assert (named / "model.safetensors").is_file()


@pytest.mark.parametrize("wrong", ['"steps": "many"', '"sums": [1]', "[" * 100_000])
def test_a_broken_state_is_named(corpus: Path, tmp_path: Path, wrong: str) -> None:
    run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, *TINY)
    (tmp_path / "a" / "result.json").unlink()
    state = tmp_path / "a" / "checkpoints" / "step-4" / "state.json"
    state.write_text(f'{{"step": 4, "steps": 4, {wrong}}}')
    refused = run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, *TINY, check=False)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and str(state) in refused.stderr


@pytest.mark.parametrize("index", ['{"format": 1}', "[" * 100_000, "{}"])
def test_a_broken_corpus_is_named(tmp_path: Path, index: str) -> None:
    (tmp_path / "corpus.json").write_text(index)
    refused = run("pretrain", tmp_path, "--out", tmp_path / "a", "--steps", 4, *TINY, check=False)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "corpus.json" in refused.stderr


def test_a_dry_run_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    said = run("pretrain", corpus, "--out", tmp_path / "a", "--steps", 4, "--dry-run", *TINY).stdout
    assert "tokens per step" in said and "estimated time" in said and "masked_lm" in said
    assert not (tmp_path / "a").exists()
