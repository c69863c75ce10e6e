"""Lines of metrics, TensorBoard events and results survive kills and hold no step twice."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unmask.errors import UserError
from unmask.training.record import Record, finite, over_seeds, tell_lost, write_result


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def train(step, loss=1.0):
    return {"step": step, "split": "train", "loss": loss, "tokens": step * 1000, "seconds": step * 0.5}


def scalars(folder, tag):
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_a_line_is_read_back_as_it_was_logged(tmp_path):
    with Record(tmp_path) as record:
        record.log(train(10, 2.5))
        record.log({"step": 10, "split": "valid", "loss": 2.25})
    assert lines(tmp_path) == [
        {**train(10, 2.5), "tokens_per_second": 2000.0},
        {"step": 10, "split": "valid", "loss": 2.25},
    ]


def test_lines_are_on_disk_before_the_record_is_closed(tmp_path):
    record = Record(tmp_path)
    record.log(train(1))
    assert len(lines(tmp_path)) == 1
    record.close()


def test_tensorboard_holds_the_same_numbers_after_a_resume(tmp_path):
    with Record(tmp_path) as record:
        for step in (10, 20, 30):
            record.log(train(step, step / 10))
    with Record(tmp_path, step=20) as record:
        record.log(train(30, 7.0))
    assert scalars(tmp_path / "events", "train/loss") == [(10, 1.0), (20, 2.0), (30, 7.0)]
    assert [line["loss"] for line in lines(tmp_path)] == [1.0, 2.0, 7.0]


def test_pace_goes_on_where_the_kept_lines_end(tmp_path):
    with Record(tmp_path) as record:
        record.log(train(10))
        record.log(train(20))
    with Record(tmp_path, step=10) as record:
        line = record.log({**train(20), "seconds": 5.0 + 10.0})
    assert line["tokens_per_second"] == 1000.0


def test_a_fresh_start_forgets_everything(tmp_path):
    with Record(tmp_path) as record:
        record.log(train(10))
    with Record(tmp_path) as record:
        assert record.dropped == 1
    assert lines(tmp_path) == []


def test_a_half_written_last_line_is_cut_off(tmp_path):
    with Record(tmp_path) as record:
        record.log(train(10))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "spl')
    with Record(tmp_path, step=20) as record:
        record.log(train(20))
    assert [line["step"] for line in lines(tmp_path)] == [10, 20]


@pytest.mark.parametrize("bad", ["hello", "[1]", '{"split": "train"}', '{"step": "9", "split": "train"}', ""])
def test_a_strange_line_is_named(tmp_path, bad):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(train(1)) + "\n" + bad + "\n")
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2"):
        Record(tmp_path, step=5)
    assert bad in (tmp_path / "metrics.jsonl").read_text()  # and nothing was thrown away


@pytest.mark.parametrize("left", [0, 1, 4])
def test_lines_that_are_gone_are_told(tmp_path, capsys, left):
    with Record(tmp_path) as record:
        for step in (10, 20, 30, 40):
            record.log(train(step))
            record.log({"step": step, "split": "valid", "loss": 1.0})
    text = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(text[: 2 * left]))
    with Record(tmp_path, 43, 10) as record:
        paced = record.log({**train(50), "seconds": 100.0})
    told = capsys.readouterr().err
    if left == 4:
        assert told == "" and "tokens_per_second" in paced
        return
    assert told.startswith(f"{tmp_path / 'metrics.jsonl'}: lacks {4 - left} of 4 lines up to step 43; ")
    assert told.count("\n") == 1
    assert ("tokens_per_second" in paced) == bool(left)  # it counts since the line before, if there is one
    assert len(lines(tmp_path)) == 2 * left + 1


def test_lines_of_a_seed_that_are_gone_are_told_of_it(tmp_path, capsys):
    for seed in (1, 2):
        with Record(tmp_path, seed=seed) as record:
            record.log(train(10))
    kept = [line for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if '"seed": 1' not in line]
    (tmp_path / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    assert tell_lost(tmp_path, 10, 10, seed=2) == 0 and capsys.readouterr().err == ""
    assert tell_lost(tmp_path, 10, 10, seed=1) == 1
    assert "lacks 1 of 1 lines of seed 1 up to step 10" in capsys.readouterr().err


def test_a_seed_leaves_the_other_seeds_lines_alone(tmp_path):
    for seed in (1, 2):
        with Record(tmp_path, seed=seed) as record:
            record.log(train(10))
            record.log(train(20))
    with Record(tmp_path, step=10, seed=1):
        pass
    assert [(line["seed"], line["step"]) for line in lines(tmp_path)] == [(1, 10), (2, 10), (2, 20)]
    assert [step for step, _ in scalars(tmp_path / "events" / "seed-2", "train/loss")] == [10, 20]


def test_what_is_not_finite_is_null_and_said(tmp_path):
    with Record(tmp_path) as record:
        record.log({"step": 1, "split": "train", "loss": math.nan, "grad_norm": math.inf, "lr": 0.1})
    (line,) = (json.loads(text, parse_constant=pytest.fail) for text in (tmp_path / "metrics.jsonl").open())
    assert line["loss"] is None and line["grad_norm"] is None and line["lr"] == 0.1
    assert line["not_finite"] == ["loss", "grad_norm"]


def test_numpy_numbers_become_plain_ones():
    assert finite({"a": np.float32(0.5), "b": np.array([1, 2]), "c": (np.int64(3), None)}) == {
        "a": 0.5,
        "b": [1, 2],
        "c": [3, None],
    }


def test_over_seeds_is_mean_and_sample_deviation():
    found = over_seeds({"accuracy": [0.8, 0.9], "f1": [0.5, 0.5]})
    assert found["figures"] == pytest.approx({"accuracy": 0.85, "f1": 0.5})
    assert found["spread"]["accuracy"] == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert over_seeds({"f1": [0.5]})["spread"] == {}


def test_result_names_memory_and_versions(tmp_path):
    write_result(tmp_path, {"kind": "pretrain", "figures": {"loss": math.nan}})
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["figures"] == {"loss": None} and result["not_finite"] == ["figures.loss"]
    assert result["peak_memory"] > 50e6  # this process holds torch
    assert {"python", "unmask", "torch", "numpy", "tokenizers"} <= set(result["versions"])
    assert list(tmp_path.glob(".*")) == []


def test_a_result_that_is_not_json_leaves_the_old_one(tmp_path):
    write_result(tmp_path, {"kind": "pretrain"})
    with pytest.raises(TypeError):
        write_result(tmp_path, {"kind": object()})
    assert json.loads((tmp_path / "result.json").read_text())["kind"] == "pretrain"


def test_a_killed_process_leaves_lines_that_can_be_continued(tmp_path):
    code = """
        import sys
        from pathlib import Path
        from unmask.training.record import Record
        record = Record(Path(sys.argv[1]))
        for step in range(1, 10**9):
            record.log({"step": step, "split": "train", "loss": 1.0, "tokens": step, "seconds": float(step)})
            print(step, flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE)
    while int(process.stdout.readline()) < 50:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with Record(tmp_path, step=40) as record:
        record.log(train(41))
        assert record.dropped >= 10
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 42))
    assert [step for step, _ in scalars(tmp_path / "events", "train/loss")] == list(range(1, 42))
