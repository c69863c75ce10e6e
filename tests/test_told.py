"""What runs say that nobody asked: a step too large for the machine, a model that learned nothing."""

import numpy as np
import pytest
import torch

import run_folders
from unmask.errors import UserError
from unmask.models.shape import Shape
from unmask.nn.batch import Answers, Batch
from unmask.report import charts, words
from unmask.report.run import read_run
from unmask.runs import estimate
from unmask.runs.frequency import SPARE, by_frequency
from unmask.runs.told import commonest, constant
from unmask.tasks.base import Rows
from unmask.training.loop import Trainer
from unmask.training.placement import Placement
from unmask.training.settings import Training

BERT = Shape()


class Work:
    def batches(self, step):
        return [type("Batch", (), {"tokens": 128 * 1024})] * 2


@pytest.fixture
def trainer():
    """As large a step as BERT's recipe has, in two pieces."""
    made = Trainer.__new__(Trainer)
    made.work, made.settings = Work(), Training(accumulate=2)
    made.placement = Placement.of(Training(device="cpu", precision="float32"))
    return made


def free(monkeypatch, tmp_path, gigabytes):
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {gigabytes * 10**6} kB\n")
    monkeypatch.setattr(estimate, "MEMORY", path)


def test_a_step_that_cannot_fit_is_refused_with_what_would(monkeypatch, tmp_path, trainer):
    free(monkeypatch, tmp_path, 20)
    with pytest.raises(
        UserError, match=r"131,072 tokens at once take about \d+ GB of memory, and 20 are free; "
    ) as told:
        estimate.refuse_too_large(trainer, BERT, 512)
    pieces = int(str(told.value).split("--accumulate ")[1].split()[0])
    assert pieces & (pieces - 1) == 0 and 16 <= pieces <= 64


def test_a_step_that_may_fit_is_tried(monkeypatch, tmp_path, trainer):
    free(monkeypatch, tmp_path, 400)
    estimate.refuse_too_large(trainer, BERT, 512)
    monkeypatch.setattr(estimate, "MEMORY", tmp_path / "nothing")  # a system that does not say
    estimate.refuse_too_large(trainer, BERT, 512)


def rows(labels):
    return Rows("a.tsv", [("x",)] * len(labels), labels, list(range(len(labels))))


def test_the_commonest_label_and_its_share():
    assert commonest(rows([("a",), ("b",), ("b",), ("b",)])) == {"commonest label": "b (75.0%)"}
    assert commonest(rows([("O", "O", "X"), ("O",)])) == {"commonest label": "O (75.0%)"}
    assert commonest(Rows("a", [], None, [])) == {}


@pytest.mark.parametrize(
    ("predicted", "truth", "said"),
    [
        (["a", "a", "a"], ["a", "b", "a"], "a"),
        (["a", "b", "a"], ["a", "b", "a"], None),
        (["a", "a"], ["a", "a"], None),  # there was nothing to tell apart
        ([["O", "O"], ["O"]], [["O", "B-X"], ["O"]], "O"),
        ([["O", "B-X"], ["O"]], [["O", "B-X"], ["O"]], None),
    ],
)
def test_a_model_that_says_the_same_everywhere_is_found_out(predicted, truth, said):
    found = [{"predicted": p, "truth": t} for p, t in zip(predicted, truth, strict=True)]
    assert constant(found) == said


def test_the_page_says_so(tmp_path):
    lazy = run_folders.classify(tmp_path / "a", constant="1")
    assert "It answers 1 everywhere" in words.summary(read_run(lazy))
    run = run_folders.pretrain(
        tmp_path / "b", baseline={"title": "by frequency", "figures": {"accuracy/masked_lm": 0.059}}
    )
    assert "the commonest token alone would restore 5.9%" in words.summary(read_run(run))


@pytest.mark.parametrize("points", [1, 2, 40])
def test_a_curve_of_few_points_has_dots(points):
    run = [{"curve": "held out", "seed": None, "kind": "drawn", "step": n, "value": 1.0} for n in range(points)]
    many = [{**row, "curve": "train", "step": n} for n, row in enumerate(run * 40)]
    (line,) = [layer for layer in charts._curve(run + many, "loss")["layer"] if layer["mark"].get("strokeWidth") == 2]
    assert bool(line["mark"]["point"]) == (points < 4)


def batch_of(costs=None, among=None, **labels):
    costs = None if costs is None else torch.tensor(costs)
    answers = {
        head: Answers(
            torch.zeros(len(some)), torch.tensor(some, dtype=torch.int64), "encoder", costs=costs, among=among
        )
        for head, some in labels.items()
    }
    return Batch({}, answers)


def test_what_is_reached_by_the_frequency_of_answers():
    """By that in the text learned from, with a little spared for what never occurred there."""
    seen, asked = [batch_of(a=[3, 3, 5]), batch_of(a=[3, 9])], [batch_of(a=[3, 7], b=[]), batch_of(a=[3])]
    share = {label: (n + SPARE) / (5 + 4 * SPARE) for label, n in {3: 3, 5: 1, 7: 0, 9: 1}.items()}
    assert sum(share.values()) == pytest.approx(1)
    found = by_frequency(seen, asked)
    assert found == {"loss/a": pytest.approx(-np.log([share[3], share[7], share[3]]).mean()),
                     "accuracy/a": pytest.approx(2 / 3)}  # fmt: skip
    assert by_frequency(seen, [batch_of(a=[1])])["accuracy/a"] == 0
    assert by_frequency([], [batch_of(a=[1, 2])])["loss/a"] == pytest.approx(np.log(2))
    assert by_frequency(seen, [batch_of(a=[])]) == {}


def test_answers_cost_there_what_they_cost_a_model():
    """As those of masked_diffusion, whose loss is a mean over tokens that are not all asked for."""
    seen, asked = [batch_of(a=[0, 0, 1])], [batch_of(a=[0, 1], costs=[2.0, 4.0], among=7)]
    shares = np.array([2 + SPARE, 1 + SPARE]) / (3 + 2 * SPARE)
    assert by_frequency(seen, asked)["loss/a"] == pytest.approx(float(-np.log(shares) @ [2, 4]) / 7)


def test_a_model_too_large_for_the_machine_is_refused_before_it_is_made(monkeypatch, tmp_path):
    free(monkeypatch, tmp_path, 20)
    estimate.refuse_too_many_weights(BERT)
    with pytest.raises(UserError, match=r"parameters takes about \d+ GB of memory to train, and 20 are free"):
        estimate.refuse_too_many_weights(Shape(width=20_000, heads=2))
    with pytest.raises(UserError, match=r"or fewer --model.layers or --model.width, would fit"):
        estimate.refuse_too_many_weights(Shape(width=20_000, heads=2))
    for embedding, option in (("fasttext_ngrams", "ngram_buckets"), ("char_cnn", "filters")):
        large = Shape(embedding=embedding, tied=False, **{option: 64 * 10**7})
        with pytest.raises(UserError, match=f"or fewer --model.{option.replace('_', '-')}, would fit"):
            estimate.refuse_too_many_weights(large)
