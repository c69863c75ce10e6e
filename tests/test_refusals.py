"""What cannot be done is refused at once, in one line that says what would fit, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from small_base import EXACT, base, classified, sentences
from unmask import calls
from unmask.commands.finetune import Finetune
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.disk import refuse_overwriting
from unmask.errors import UserError
from unmask.inference import early
from unmask.text.corpus.corpus import Corpus
from unmask.training.loop import Trainer

TINY = {"model": {"name": "bert-tiny", "width": 32, "heads": 2, "feed_forward": 64}, "length": 32, **EXACT}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A small corpus, a base, and files."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "text.txt").write_text("\n\n".join(" ".join(words) + "." for words in sentences(120)))
    calls.call(Prepare, str(folder / "text.txt"), out=folder / "corpus", vocab_size=90, valid=0.05)
    base(folder / "base")
    classified(folder / "train.tsv", 40, 1)
    return folder


def pretrain(home: Path, out: Path, **settings):
    return calls.call(Pretrain, home / "corpus", out=out, **{"steps": 2, "batch_size": 4, **TINY, **settings})


def refused(why: str, home: Path, out: Path, **settings) -> str:
    with pytest.raises(UserError, match=why) as told:
        pretrain(home, out, **settings)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_step_larger_than_the_corpus_says_which_would_fit(home, tmp_path):
    told = refused("make .* rows of 32, and a step takes 5000; --batch-size", home, tmp_path / "a", batch_size=5000)
    fitting = int(told.split("--batch-size ")[1].split()[0])
    refused(f"--batch-size {fitting}", home, tmp_path / "a", batch_size=fitting + 1)
    assert not (tmp_path / "a").exists()
    pretrain(home, tmp_path / "a", batch_size=fitting, steps=1)


def test_a_vocabulary_that_the_tokenizer_does_not_have_is_refused(home, tmp_path):
    size = Corpus.open(home / "corpus").tokenizer.size
    why = rf"--model\.vocab-size 77: the tokenizer of .* has {size} entries.*leave it out, or prepare .*--vocab-size 77"
    refused(why, home, tmp_path / "a", **{"model": {**TINY["model"], "vocab_size": 77}})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {name: bert-tiny, vocab_size: 30522}\n")  # the paper's own, asked for
    with pytest.raises(UserError, match=r"--model\.vocab-size 30522"):
        calls.call(Pretrain, home / "corpus", out=tmp_path / "a", recipe=recipe, steps=2, **EXACT)
    assert not (tmp_path / "a").exists()
    result = pretrain(home, tmp_path / "a", model={**TINY["model"], "vocab_size": size})
    assert result["model"]["vocab_size"] == size
    # and the run's own settings serve as a recipe
    settings = tmp_path / "a" / "config.yaml"
    calls.call(Pretrain, home / "corpus", out=tmp_path / "b", recipe=settings)
    assert (tmp_path / "b" / "config.yaml").read_text() == settings.read_text().replace("/a\n", "/b\n")


@pytest.mark.parametrize(
    "settings", [{"batch_size": 5000}, {"device": "cuda:7"}, {"model": {"name": "bert-tiny", "vocab_size": 9}}]
)
def test_a_refused_overwrite_leaves_the_run_that_was_there(home, tmp_path, settings):
    pretrain(home, tmp_path / "a")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    refused(".", home, tmp_path / "a", overwrite=True, **settings)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == before


def test_a_run_that_fails_before_its_first_line_of_metrics_leaves_nothing(home, tmp_path, monkeypatch):
    def refusing(trainer):
        raise UserError("step 0: the loss of masked_lm is not a finite number")

    monkeypatch.setattr(Trainer, "step", refusing)
    refused("not a finite number", home, tmp_path / "new" / "a")
    assert not (tmp_path / "new").exists()


def test_what_a_run_has_logged_stays(home, tmp_path, monkeypatch):
    step = Trainer.step

    def failing(trainer):
        if trainer.state.step == 3:
            raise UserError("step 3: the loss of masked_lm is not a finite number")
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", failing)
    refused("not a finite number", home, tmp_path / "a", steps=9, log_every=1)
    assert (tmp_path / "a" / "metrics.jsonl").read_text().count("\n") == 3


def test_a_folder_of_something_else_is_left_as_it_was(home, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "one.tex").write_text("dear")
    refused("is not empty and not a run", home, tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["one.tex"]


def test_a_longer_run_is_refused_with_what_to_do(home, tmp_path):
    pretrain(home, tmp_path / "a")
    told = refused(r"\(steps: 2 -> 5\); a run keeps its length", home, tmp_path / "a", steps=5)
    assert f"unmask pretrain {home / 'corpus'} --base {tmp_path / 'a'} --out NEW" in told and "--overwrite" in told
    given = {key: value for key, value in TINY.items() if key != "model"}
    calls.call(Pretrain, home / "corpus", base=str(tmp_path / "a"), out=tmp_path / "b", batch_size=4, steps=3, **given)
    refused(r"steps: 2 -> 5; lr: .*\); repeat them to continue", home, tmp_path / "a", steps=5, lr=0.1)


def test_a_longer_fine_tuning_is_refused_with_what_to_do(home, tmp_path):
    given = {"task": "classify", "train": home / "train.tsv", "valid": home / "train.tsv", "out": tmp_path / "a"}
    calls.call(Finetune, str(home / "base"), steps=1, **given, **EXACT)
    with pytest.raises(UserError, match=rf"a run keeps its length; .* unmask finetune {tmp_path / 'a'} … --out NEW"):
        calls.call(Finetune, str(home / "base"), epochs=2, **given, **EXACT)


def test_results_for_a_folder_that_is_not_there_are_refused_first(home, tmp_path):
    with pytest.raises(UserError, match=r"--out .*a\.tsv: there is no folder .*nowhere; make it, or name another"):
        refuse_overwriting(tmp_path / "nowhere" / "a.tsv", home / "train.tsv", home / "base")


WITHOUT_TORCH = """
import sys
from unmask.commandline.program import main
code = main(sys.argv[1:])
print(code, "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pretrain nowhere --out {0}/a", "nowhere: holds no corpus"),
        ("pretrain {1}/corpus --base nowhere --out {0}/a", "nowhere: does not exist; a run's folder"),
        ("finetune nowhere --task tag --train x --valid y --out {0}/a", "nowhere: does not exist"),
        ("finetune {1}/base --task tag --train {1}/train.tsv --valid y.tsv --out {0}/a", "y.tsv: cannot be read"),
        ("predict {1}/base {1}", "is a folder; give a file"),
        ("evaluate nowhere x", "nowhere: does not exist"),
        ("fill nowhere x", "nowhere: does not exist"),
        ("convert nowhere --to hf --out {0}/a", "nowhere: does not exist"),
    ],
)
def test_what_is_not_there_is_refused_before_torch_is_imported(home, tmp_path, line, why):
    words = line.format(tmp_path, home).split()
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "False"], done.stderr
    assert why in done.stderr and done.stderr.count("\n") == 1 and not (tmp_path / "a").exists()


def test_a_gpu_is_refused_at_once_where_torch_knows_none(monkeypatch):
    monkeypatch.setattr(early, "version", lambda name: "2.9.0+cpu")
    early.refuse_device("cpu")
    with pytest.raises(UserError, match="--device cuda:1: torch is here for processors only; cpu would fit"):
        early.refuse_device("cuda:1")
    monkeypatch.setattr(early, "version", lambda name: "2.9.0")
    early.refuse_device("cuda")  # torch itself will say


def test_text_of_which_nothing_is_asked_is_refused(home, tmp_path):
    """One sentence has no second one: whatever a pair is asked about it, nobody would learn anything."""
    (tmp_path / "one.txt").write_text((home / "text.txt").read_text().split("\n\n")[0])
    calls.call(Prepare, str(tmp_path / "one.txt"), out=tmp_path / "one", tokenizer=home / "corpus", valid=0)
    for objective in ("sentence_order", {"masked_lm": {"rate": 1e-4}}):
        with pytest.raises(
            UserError, match=r"one: nothing is asked of this text, \d+ tokens in 1 rows \(steps tried: 1\); more text"
        ):
            calls.call(
                Pretrain, tmp_path / "one", out=tmp_path / "run", objective=objective, steps=2, batch_size=1, **TINY
            )
    assert not (tmp_path / "run").exists()
