"""The road from labelled files to predictions, and what lies on disk at its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from seqeval.metrics import f1_score
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

import unmask
from small_base import BAD, EXACT, GOOD, base, classified, sentences, tagged
from unmask import calls
from unmask.commands.convert import Convert
from unmask.commands.evaluate import Evaluate
from unmask.commands.finetune import Finetune
from unmask.commands.predict import Predict
from unmask.config import build
from unmask.errors import UserError
from unmask.inference.loading import load
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.network import Network
from unmask.objectives.masked_lm import MaskedLM
from unmask.presets import resolve
from unmask.runs.finetune import Job
from unmask.runs.finetuning import network_of
from unmask.tasks.classify import Classify
from unmask.tasks.tag import Tag
from unmask.text.sources import conll
from unmask.training.loop import Trainer
from unmask.tuning.full import Full

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A base and files, beside each other."""
    folder = tmp_path_factory.mktemp("home")
    base(folder / "base")
    for split, count, seed in (("train", 160, 1), ("dev", 40, 2), ("test", 60, 3)):
        classified(folder / f"{split}.tsv", count, seed)
        tagged(folder / f"{split}.conll", count, seed)
    return folder


def finetune(home: Path, out: str | Path, kind: str = "classify", **settings):
    end = "tsv" if kind == "classify" else "conll"
    given = {
        "task": kind,
        "train": home / f"train.{end}",
        "valid": home / f"dev.{end}",
        "test": home / f"test.{end}",
    }
    return calls.call(
        Finetune,
        str(home / "base"),
        out=home / out,
        **{**given, "epochs": 8, "batch_size": 10, "lr": 3e-3, **EXACT, **settings},
    )


@pytest.fixture(scope="module")
def classifier(home):
    return finetune(home, "classifier", seeds=[1, 2])


@pytest.fixture(scope="module")
def tagger(home):
    return finetune(home, "tagger", "tag")


def test_a_classifier_learns_predicts_and_tells(home, classifier):
    rows = sentences(30, seed=9)
    said = classifier.predict([" ".join(words) for words in rows])
    right = [("good" if set(words) & set(GOOD) else "bad",) for words in rows]
    assert sum(p.labels == label for p, label in zip(said, right, strict=True)) >= 28
    result = json.loads((home / "classifier" / "result.json").read_text())
    assert result == classifier.result and result["held_out"] == "test" and result["main"] == "accuracy"
    assert len(result["by_seed"]["accuracy"]) == 2 and result["figures"]["accuracy"] > 0.9
    assert result["dataset"] == home.name and result["data"]["train"]["rows"] == 160
    lines = [json.loads(line) for line in (home / "classifier" / "metrics.jsonl").read_text().splitlines()]
    assert {(line["seed"], line["split"]) for line in lines} == {(s, p) for s in (1, 2) for p in ("train", "valid")}
    samples = json.loads((home / "classifier" / "samples.json").read_text())
    assert len(samples["predictions"]) == 60 and sum(map(sum, samples["confusion"]["counts"])) == 60
    for name in ("report.html", "README.md", "config.yaml", "tokenizer.json"):
        assert (home / "classifier" / name).stat().st_size


def test_a_tagger_learns_and_tells(home, tagger):
    said = tagger.predict([["the", "film", "is", "fine"], ["the", "story", "is", "dull"]])
    assert [p.labels for p in said] == [("O", "O", "O", "B-GOOD"), ("O", "O", "O", "B-BAD")]
    assert tagger.result["main"] == "f1" and tagger.result["figures"]["f1"] > 0.9
    samples = json.loads((home / "tagger" / "samples.json").read_text())
    assert set(samples["labels"]) == {"GOOD", "BAD"} and len(samples["predictions"][0]["words"]) > 3


def test_evaluation_repeats_the_figures_and_agrees_with_seqeval(home, classifier, tagger, capsys, tmp_path):
    run = home / "classifier"
    scores = calls.call(Evaluate, run, home / "test.tsv", device="cpu", precision="float32", out=tmp_path / "s.json")
    place = classifier.result["seeds"].index(classifier.result["best_seed"])
    assert scores["accuracy"] == classifier.result["by_seed"]["accuracy"][place]
    assert "accuracy" in capsys.readouterr().out
    assert json.loads((tmp_path / "s.json").read_text())["scores"] == scores
    scores = calls.call(Evaluate, home / "tagger", home / "test.conll", device="cpu", precision="float32")
    calls.call(Predict, home / "tagger", home / "test.conll", out=tmp_path / "said.conll", device="cpu")
    said, truth = (conll.read(path, tag=2).tags for path in (home / "test.conll", home / "test.conll"))
    said = conll.read(tmp_path / "said.conll", tag=2).tags
    assert scores["f1"] == pytest.approx(f1_score(list(map(list, truth)), list(map(list, said))))


def test_predictions_are_written_beside_the_texts_as_given(home, classifier, capsys, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text('  A "fine"  film\nso DULL\n')
    found = calls.call(Predict, home / "classifier", texts, device="cpu")
    assert capsys.readouterr().out.splitlines() == [
        "text\tlabel\tprobability",
        *(f"{text}\t{said.labels[0]}\t{said.probabilities[0]:.4f}"
          for text, said in zip(['  A "fine"  film', "so DULL"], found, strict=True)),
    ]  # fmt: skip
    calls.call(Predict, home / "classifier", texts, out=tmp_path / "a.jsonl", device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ['  A "fine"  film', "so DULL"]
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in lines)
    calls.call(Predict, home / "classifier", texts, out=tmp_path / "a.csv", device="cpu")
    assert calls.call(Predict, home / "classifier", tmp_path / "a.csv", device="cpu")[0].labels == found[0].labels
    (tmp_path / "b.jsonl").write_text('{"text": "a\\tfine film"}\n')
    with pytest.raises(UserError, match=r"b\.jsonl:1: holds a tab or a line break; --out to a \.jsonl or \.csv"):
        calls.call(Predict, home / "classifier", tmp_path / "b.jsonl", out=tmp_path / "b.tsv", device="cpu")
    assert not (tmp_path / "b.tsv").exists()
    with pytest.raises(UserError, match=r"--out: \*\.conll does not fit; \.tsv, \.csv, \.jsonl would"):
        calls.call(Predict, home / "classifier", texts, out=tmp_path / "b.conll", device="cpu")


def test_what_is_cut_is_said(home, classifier):
    short, long = classifier.predict(["fine film", "film " * 50])
    assert short.cut == 0 and long.cut == 50 * len(classifier.tokenizer.encode(["film"])[0].ids) - 30


def test_only_what_changed_is_saved_and_the_base_must_be_what_it_was(home, tmp_path):
    for name in ("base", "train.tsv", "dev.tsv", "test.tsv"):
        (shutil.copytree if (home / name).is_dir() else shutil.copy)(home / name, tmp_path / name)
    model = finetune(tmp_path, "runs/frozen", tuning="frozen", epochs=1)
    saved = load_file(tmp_path / "runs" / "frozen" / "model.safetensors")
    assert saved and all(name.startswith("heads.task.") for name in saved)
    assert json.loads((tmp_path / "runs" / "frozen" / "base.json").read_text())["address"] == "../../base"
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)  # base and run together
    again = load(moved / "runs" / "frozen", device="cpu")
    assert again.predict(["a fine film"]) == model.predict(["a fine film"])
    file = moved / "base" / "checkpoints" / "step-0" / "model.safetensors"
    tensors = load_file(file)
    tensors["backbone.embeddings.tokens.weight"][0, 0] += 1
    save_file(tensors, file)
    with pytest.raises(UserError, match=r"step-0/model\.safetensors: is not what was fine-tuned"):
        load(moved / "runs" / "frozen")
    shutil.rmtree(moved / "base")
    with pytest.raises(UserError, match=r"base\.json: stands on \.\./\.\./base, which is not there"):
        load(moved / "runs" / "frozen")


def test_a_run_in_which_everything_changed_needs_no_base(home, classifier, tmp_path):
    shutil.copytree(home / "classifier", tmp_path / "alone")
    assert load(tmp_path / "alone", device="cpu").predict(["fine"]) == classifier.predict(["fine"])


def test_a_fine_tuned_run_can_be_a_base(home, classifier):
    second = calls.call(
        Finetune, str(home / "classifier"), task="tag", train=home / "train.conll", valid=home / "dev.conll",
        out=home / "second", steps=2, tuning="frozen", **EXACT,
    )  # fmt: skip
    ours, theirs = second.network.backbone.state_dict(), classifier.network.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_random_weights_start_elsewhere_and_are_saved_whole(home):
    model = finetune(home, "random", init="random", steps=1, epochs=None, tuning="frozen")
    began = load(home / "base", device="cpu").network.backbone.state_dict()
    found = model.network.backbone.state_dict()
    assert not torch.equal(found["blocks.0.attention.qkv.weight"], began["blocks.0.attention.qkv.weight"])
    assert "backbone.blocks.0.attention.qkv.weight" in load_file(home / "random" / "model.safetensors")
    assert model.result["init"] == "random"


@pytest.mark.parametrize("tuning", ["full", "frozen"])
def test_a_run_that_was_stopped_goes_on_with_the_same_bits(home, monkeypatch, tuning):
    whole = finetune(home, f"whole-{tuning}", tuning=tuning, seeds=[1, 2], epochs=3, eval_every=7)
    step, steps = Trainer.step, []

    def stopping(trainer):
        steps.append(trainer.state.step)
        if len(steps) in (15, 40, 70):
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", stopping)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            finetune(home, f"stopped-{tuning}", tuning=tuning, seeds=[1, 2], epochs=3, eval_every=7)
    stopped = finetune(home, f"stopped-{tuning}", tuning=tuning, seeds=[1, 2], epochs=3, eval_every=7)
    assert stopped.result["by_seed"] == whole.result["by_seed"]
    ours, theirs = (load_file(model.source) for model in (stopped, whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    lines = [json.loads(line) for line in (home / f"stopped-{tuning}" / "metrics.jsonl").read_text().splitlines()]
    valid = [(line["seed"], line["step"]) for line in lines if line["split"] == "valid"]
    assert len(valid) == len(set(valid))


def test_repeating_a_finished_run_trains_nothing(home, classifier, monkeypatch):
    monkeypatch.setattr(Trainer, "step", lambda trainer: pytest.fail("trained again"))
    assert finetune(home, "classifier", seeds=[1, 2]).result == classifier.result
    with pytest.raises(UserError, match=r"holds a run with other settings \(lr: 0\.003 -> 0\.1\)"):
        finetune(home, "classifier", seeds=[1, 2], lr=0.1)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"valid": "bad.tsv"}, r"bad\.tsv:2: label 'meh' is not among those of training: bad, good"),
        ({"test": "none.tsv"}, r"none\.tsv: cannot be read"),
        ({"task.length": 49}, r"--task\.length 49: the model reads up to 48 tokens"),
        ({"seeds": [1, 1]}, r"seeds: 1,1: one is given twice"),
        ({"task.pool": "sum"}, r"task\.classify\.pool sum: must be one of cls, last, mean, max, attention"),
        ({"tuning": "freeze_first"}, r"tuning\.freeze_first\.n is missing"),
        ({"task": "tag"}, r"train\.tsv:2: the word .* holds a space; a word a line is wanted"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(home, tmp_path, settings, wanted):
    (home / "bad.tsv").write_text("text\tlabel\nso so\tmeh\n")
    files = {name: home / value for name, value in settings.items() if name in ("valid", "test")}
    with pytest.raises(UserError, match=wanted) as caught:
        finetune(home, tmp_path / "out", **{**settings, **files})
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_several_processes_are_refused(home, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="without torchrun"):
        finetune(home, tmp_path / "out")


@pytest.mark.parametrize("tuning", ["full", "frozen"])
def test_a_rehearsal_writes_nothing(home, tmp_path, capsys, tuning):
    finetune(home, tmp_path / "out", dry_run=True, tuning=tuning)
    assert "estimated time" in capsys.readouterr().out and not (tmp_path / "out").exists()


def test_defaults_follow_the_data_and_the_base(home, tmp_path, capsys):
    finetune(home, tmp_path / "out", dry_run=True, epochs=None, lr=None, batch_size=None)
    told = capsys.readouterr().out
    assert (
        "length: 32" in told and "lr: 0.00125" in told and "epochs: 20.0" in told and "batch_size: 16" in told
    )  # as pre-trained; 0.04 / 32


def test_a_pooler_that_was_learned_is_taken_over(home, tmp_path):
    given = {
        "model": str(home / "base"),
        "train": home / "train.tsv",
        "valid": home / "dev.tsv",
        "out": tmp_path / "a",
    }
    poolers = {}
    for init, pool in (("pretrained", "cls"), ("random", "cls"), ("pretrained", "mean")):
        job = Job.of(build(Finetune, {**given, **EXACT, "task": {"name": "classify", "pool": pool}, "init": init}))
        poolers[init, pool] = job.trainer(1).work.network.heads["task"].pooler.weight
    learned = load(home / "base").network.heads["next_sentence"].pooler.weight
    assert torch.equal(poolers["pretrained", "cls"], learned)
    assert not torch.equal(poolers["random", "cls"], learned) and not torch.equal(
        poolers["pretrained", "mean"], learned
    )


@pytest.mark.parametrize("task", [Classify(labels=("a", "b")), Tag(labels=("a", "b"))])
def test_the_transform_that_masked_lm_learned_is_taken_over(home, task):
    model = load(home / "base")
    shape = resolve({"name": "modernbert-tiny", "vocab_size": 64, "width": 32, "heads": 2})
    model.shape = build(Shape, shape)
    model.network = Network(Encoder(model.shape), MaskedLM().heads(model.shape))
    learned = model.network.heads["masked_lm"]
    torch.nn.init.normal_(learned.norm.weight)
    head = network_of(model, task, Full(), 1, pretrained=True).heads["task"]
    assert torch.equal(head.dense.weight, learned.dense.weight) and torch.equal(head.norm.weight, learned.norm.weight)
    fresh = network_of(model, task, Full(), 1, pretrained=False).heads["task"]
    assert not torch.equal(fresh.dense.weight, learned.dense.weight)


def test_a_fine_tuning_is_no_run_to_enlarge(home, tmp_path, classifier):
    with pytest.raises(UserError, match="makes no run of a part or of a fine-tuning; --to hf would fit"):
        calls.call(Convert, str(home / "classifier"), to="unmask", out=tmp_path / "out", add_tokens=["unfilmed"])


@pytest.mark.parametrize("name", ["classifier", "tagger"])
def test_transformers_predicts_the_same(home, tmp_path, name, classifier, tagger):
    calls.call(Convert, str(home / name), to="hf", out=tmp_path / "hf")
    kind = AutoModelForSequenceClassification if name == "classifier" else AutoModelForTokenClassification
    theirs = kind.from_pretrained(tmp_path / "hf").eval()
    model, row = (classifier, "a fine film") if name == "classifier" else (tagger, ["a", "fine", "film"])
    ids = AutoTokenizer.from_pretrained(tmp_path / "hf")("a fine film", return_tensors="pt")
    with torch.no_grad():
        chances = theirs(**ids).logits[0].softmax(-1)
    (said,) = model.predict([row])
    if name == "classifier":
        names = [theirs.config.id2label[n] for n in range(2)]
        assert dict(zip(names, chances.tolist(), strict=True)) == pytest.approx(said.every, abs=1e-5)
        return
    firsts = model.task.encode(model.task.rows([row]), model.tokenizer).data.example.targets["task"].index
    best = chances[torch.from_numpy(firsts)].max(-1)
    assert tuple(theirs.config.id2label[int(n)] for n in best.indices) == said.labels
    assert best.values.tolist() == pytest.approx(said.probabilities, abs=1e-5)


def test_commands_are_functions(home, classifier):
    assert unmask.load(home / "classifier").predict([BAD[0]])[0].labels == classifier.predict([BAD[0]])[0].labels
    with pytest.raises(UserError, match="does no task; the run of a fine-tuning would fit"):
        unmask.predict(home / "base", home / "dev.tsv")


# --- what must not be lost -----------------------------------------------------------------------------------------


def test_results_never_take_the_place_of_what_they_were_made_from(home, classifier, tmp_path):
    labelled, run = tmp_path / "dev.tsv", home / "classifier"
    shutil.copy(home / "dev.tsv", labelled)
    (tmp_path / "link.tsv").symlink_to(labelled)
    before = labelled.read_bytes()
    for out in (labelled, tmp_path / "link.tsv"):
        with pytest.raises(UserError, match="is the file that is read"):
            calls.call(Predict, run, labelled, out=out, device="cpu")
    with pytest.raises(UserError, match="lies in the run that is asked"):
        calls.call(Evaluate, run, labelled, out=run / "result.json", device="cpu")
    assert labelled.read_bytes() == before


def test_a_run_never_takes_the_place_of_its_base(home):
    before = {path: path.stat().st_mtime_ns for path in (home / "base").rglob("*")}
    with pytest.raises(UserError, match="is the model that is started from"):
        finetune(home, "base", overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in (home / "base").rglob("*")} == before


def test_weights_that_are_no_numbers_are_named(home, tmp_path):
    calls.call(Convert, str(home / "base"), to="hf", out=tmp_path / "hf")
    file = tmp_path / "hf" / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name][3, 1] = float("nan")
    save_file(tensors, file)
    with pytest.raises(UserError, match=r"model\.safetensors: backbone\.embeddings\.tokens\.weight holds numbers that"):
        load(tmp_path / "hf")


def test_python_takes_any_iterable_and_refuses_what_is_none(home, classifier):
    model = load(home / "base")
    assert len(model.hidden(ids for ids in [[2, 5, 3], [2, 7, 3]])) == 2
    assert len(classifier.predict(text for text in ["a fine film", "a dull book"])) == 2
    with pytest.raises(UserError, match="is no place"):
        load(None)
    with pytest.raises(UserError, match="k 0"):
        model.fill("a [MASK] film", k=0)
    assert "parameters" in repr(model) and "\n" not in repr(model)


@pytest.mark.parametrize("odd", [None, 5, b"fine", "fine", {"text": "fine"}, {"fine"}], ids=repr)
def test_what_is_no_list_is_refused_in_one_line(home, classifier, tagger, odd):
    for ask, fits in (
        (classifier.predict, "each a text"),
        (tagger.predict, "each a list of words"),
        (classifier.hidden, "each a text or a list of token ids"),
    ):
        with pytest.raises(UserError, match=f"must be a list, {fits}; put a single one in a list"):
            ask(odd)
    assert classifier.predict([]) == [] and classifier.hidden([]) == []


@pytest.mark.parametrize(
    "odd",
    [None, 5, b"fine", [], [[2, 3], [2]], [[2, 3]], ["a", "b"], [1.5], [2**70], {2, 3}, "\ud800", [None]],
    ids=repr,
)
def test_what_is_no_sequence_is_refused_by_its_number(classifier, odd):
    with pytest.raises(UserError, match=r"sequence 1: must be a text or a list of one or more token ids; found "):
        classifier.hidden(["a fine film", odd])


def test_layers_counts_and_texts_to_fill_are_checked(home):
    model = load(home / "base")
    for odd in (None, "1", 1.5, 9):
        with pytest.raises(UserError, match=r"layer .*: the model has layers 0"):
            model.hidden(["a"], layer=odd)
    for odd in (None, "5", 0):
        with pytest.raises(UserError, match=r"k .*: must be a whole number, at least one"):
            model.fill("a [MASK] film", k=odd)
    for odd in (None, ["a [MASK] film"], b"[MASK]"):
        with pytest.raises(UserError, match="must be one text with masks"):
            model.fill(odd)
