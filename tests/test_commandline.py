"""The command line: reading words, help, failures, and the same commands from Python."""

from __future__ import annotations

import inspect
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import unmask.commands
from unmask.calls import call, command, function, words
from unmask.commandline.arguments import parse
from unmask.commandline.program import main
from unmask.errors import UserError

CORPUS = ["corpora/a", "--out", "runs/a"]


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = str(Path(__file__).parent / "fake_commands")
    monkeypatch.setattr(unmask.commands, "__path__", [*unmask.commands.__path__, fake])
    monkeypatch.delenv("UNMASK_TRACEBACK", raising=False)


def typed(*argv: str) -> Any:
    """The config that the fake command makes of these words."""
    return _run(list(argv))


def _run(argv: list[str]) -> Any:
    cls, seen = command("train"), []
    original = cls.run
    cls.run = lambda self: seen.append(self) or original(self)
    try:
        code = main(["train", *argv])
    finally:
        cls.run = original
    assert code == 0
    return seen[0]


def refused(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 2) -> str:
    assert main(list(argv)) == code
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("unmask: ") and error.count("\n") == 1
    return error[len("unmask: ") : -1]


def test_options_are_read_in_every_spelling() -> None:
    run = typed(
        "a",
        "b",
        "c",
        "--out=x",
        "--model",
        "large",
        "--model.layers",
        "3",
        "--seeds",
        "1,2",
        "--seeds=3",
        "--compile",
    )
    assert (run.corpus, run.extra, run.out) == (Path("a"), [Path("b"), Path("c")], Path("x"))
    assert (run.model.layers, run.model.width, run.seeds, run.compile) == (3, 1024, [1, 2, 3], True)


def test_dashes_underscores_flags_and_none() -> None:
    run = typed(*CORPUS, "--objective.whole-words", "--no-compile", "--steps", "none")
    assert run.objective.chosen["masked_lm"].whole_words is True
    assert (run.compile, run.steps) == (False, None)
    assert typed(*CORPUS, "--compile", "false").compile is False and typed(*CORPUS, "--compile", "true").compile is True
    assert typed(*CORPUS, "--objective.whole_words").objective == run.objective
    assert typed(*CORPUS, "--no-objective.whole-words").objective != run.objective


def test_objectives_combine() -> None:
    both = typed(*CORPUS, "--objective", "masked_lm,next_sentence", "--objective.next_sentence.weight", "2")
    again = typed(*CORPUS, "--objective=masked_lm", "--objective=next_sentence", "--objective.next_sentence.weight=2")
    assert both == again
    assert both.objective.chosen["next_sentence"].weight == 2


def test_words_after_two_dashes_and_negative_numbers_are_values() -> None:
    assert typed("--out", "x", "--", "--strange", "-x").extra == [Path("-x")]
    assert parse(command("train"), ["--steps", "-1", "a"]).given == {"steps": "-1", "corpus": "a"}


def test_a_recipe_gives_options_and_the_command_line_wins(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("command: train\nout: runs/r\nobjective: {masked_lm: {rate: 0.3}}\nsteps: 7\nmodel: large\n")
    run = typed("a", "--recipe", str(recipe), "--steps", "9", "--model.layers", "3")
    assert (run.steps, run.out, run.model.width, run.model.layers) == (9, Path("runs/r"), 1024, 3)
    assert run.objective.chosen["masked_lm"].rate == 0.3
    run = typed("a", "--recipe", str(recipe), "--objective", "masked_lm,next_sentence")
    assert [m.weight for m in run.objective.chosen.values()] == [1, 1] and run.objective.chosen["masked_lm"].rate == 0.3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("train a", "--out is missing: The run's folder (a path)"),
        ("train --out x", "CORPUS is missing: The corpus (a path)"),
        (
            "train a --out x --objective.ratee 0.3",
            "--objective.ratee: masked_lm has no such option; did you mean --objective.rate?",
        ),
        ("train a --out x --rate 0.3", "--rate: no such option; did you mean --objective.rate?"),
        ("train a --out x --step 3", "--step: no such option; did you mean --steps?"),
        ("train a --ou x", "--ou: no such option; did you mean --out? (and 1 more)"),
        ("train a --out x --objective.rate 1.5", "--objective.rate 1.5: must be a number above 0, at most 1"),
        (
            "train a --out x --objective.masked-lm.rate x",
            "--objective.masked-lm.rate x: must be a number above 0, at most 1",
        ),
        (
            "train a --out x --objective.generator_size .3",
            "--objective.generator_size: belongs to replaced_token; chosen is masked_lm",
        ),
        (
            "train a --out x --objective masked_ml",
            "--objective: there is no 'masked_ml'; did you mean masked_lm?",
        ),
        ("train a --out x --model tini", "--model: no model is named 'tini'"),
        ("train a --out x --schedule linar", "--schedule linar: must be one of linear, cosine"),
        ("train a --out x --steps 0", "--steps 0: must be a whole number at least 1 or none"),
        ("train a --out x --steps 1.5", "--steps 1.5: must be a whole number at least 1 or none"),
        ("train a --out x --steps 3 --minutes 1", "choose one of steps and minutes"),
        ("train a --out x --steps 3 --steps 4", "--steps is given twice"),
        (
            "train a --out x --objective.rate .1 --objective.masked_lm.rate .2",
            "--objective.masked_lm.rate is given twice: also as --objective.rate",
        ),
        ("train a --out=", "--out: an empty path"),
        ("train a --out x --extra=", "--extra: an empty path"),
        (
            "train a --out x --objective masked_lm --objective.masked_lm 3",
            "--objective.masked_lm 3: must be settings",
        ),
        ("train a --out x --steps", "--steps needs a value: a whole number at least 1 or none"),
        ("train a --out --steps 3", "--out needs a value: a path"),
        ("train a --out x --corpus b", "--corpus is given twice: also by position, as a"),
        ("train a --out x --no-compile=yes", "--no-compile takes no value"),
        ("train a --out x -s 3", "-s: options begin with two dashes"),
        ("train a --out x --recipe no.yaml", "no.yaml: cannot be read (No such file or directory)"),
        ("trian a", "trian: no such command; did you mean train?"),
        ("--verbose", "--verbose: no such option; "),
        ("list models tasks", "unexpected 'tasks'; list takes WHAT"),
    ],
)
def test_bad_input_is_one_line_that_names_the_option(
    capsys: pytest.CaptureFixture[str], argv: str, message: str
) -> None:
    assert refused(capsys, *argv.split()).startswith(message)


def test_a_mistake_in_a_recipe_is_shown_in_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("steps: 3\nobjective:\n  masked_lm:\n    rate: 3\n")
    told = refused(capsys, "train", *CORPUS, "--recipe", str(recipe))
    assert told == f"{recipe}:4: objective.masked_lm.rate 3: must be a number above 0, at most 1"
    told = refused(capsys, "train", *CORPUS, "--recipe", str(recipe), "--objective.rate", "4")
    assert told == "--objective.rate 4: must be a number above 0, at most 1"


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("interrupt", 130, "interrupted"),
        ("permission", 2, "runs/a: Permission denied"),
        ("full", 2, "No space left on device"),
        ("memory", 1, "the memory is full"),
        ("network", 1, "internal error: OSError: [Errno 113] No route to host (please report it with "),
        ("bug", 1, "internal error: KeyError: 'x' (please report it with "),
    ],
)
def test_failures_are_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert refused(capsys, "train", *CORPUS, "--raises", what, code=code).startswith(message)
    written = [file.read_text() for file in tmp_path.iterdir()]
    assert len(written) == ("internal" in message)
    assert all("Traceback" in text for text in written)


def test_the_traceback_can_be_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_TRACEBACK", "1")
    assert main(["train", *CORPUS, "--raises", "bug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_help_names_every_option_of_everything_that_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    told = capsys.readouterr().out
    assert "Usage: unmask train CORPUS EXTRA --out … [options]" in told
    for part in (
        "--objective replaced_token: Find replaced tokens (Clark 2020).",
        "--objective.generator-size  a number above 0, at most 1; default 0.25",
        "--model.layers  a whole number at least 1\n",
        "--compile / --no-compile  default no",
        "Share of the tokens that is hidden",
        "--recipe",
    ):
        assert part in told
    assert "\x1b" not in told and max(map(len, told.splitlines())) <= 80


def test_every_real_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for word, summary in words().items():
        assert summary, word
        assert main([word, "--help"]) == 0
        assert all(field.description for field in command(word).model_fields.values()), word
    assert "\x1b" not in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "sklearn", "pyarrow", "datasets", "altair", "tensorboard", "tokenizers"}
    code = (
        "import sys; from unmask.calls import words; from unmask.commandline.program import main\n"
        "assert all(main([word, '--help']) == 0 for word in words())\n"
        f"sys.exit(' '.join(sorted({heavy} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, unmask; sys.exit(' '.join({'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "unmask", "list", "models"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode != 0 and done.stderr == ""


def test_a_terminal_that_lacks_a_letter_still_gets_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unmask", "--help"],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0 and b"Usage: unmask COMMAND ?" in done.stdout


def test_python_takes_the_same_names() -> None:
    train = command("train")
    run = call(train, "a", "b", out="x", objective="masked_lm", **{"objective.rate": 0.3})
    assert run == typed("a", "b", "--out", "x", "--objective.rate", "0.3")
    assert call(train, "a", ["b"], out="x", objective={"rate": 0.3}) == run
    with pytest.raises(UserError, match=r"did you mean objective\.rate"):
        call(train, "a", out="x", objective={"ratee": 0.3})
    with pytest.raises(UserError, match="corpus: given twice"):
        call(train, "a", corpus="b", out="x")


def test_a_python_function_knows_its_settings() -> None:
    train = function("train")
    assert list(inspect.signature(train).parameters)[:3] == ["corpus", "extra", "out"]
    assert "objective: What is learned" in (train.__doc__ or "")


@pytest.mark.parametrize("what", ["models", "objectives", "tasks", "tuning", "tokenizers", "vectors"])
def test_list_shows_names_with_papers(capsys: pytest.CaptureFixture[str], what: str) -> None:
    assert main(["list", what]) == 0
    told = capsys.readouterr().out
    assert len(told.splitlines()) > 1
    assert max(map(len, told.splitlines())) <= 80


def test_the_models_say_with_which_vocabulary_their_parameters_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "parameters are counted with the paper's vocabulary and without heads;" in told
    assert "bert-base 12 × 768 23.4 M 85.5 M 1.74 GB 0.44 GB 512" in told
    assert "gru can be pre-trained with quick_thought, skip_thought" in told


def test_the_models_are_drawn_by_year_and_size(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["list", "models", "--plot", str(tmp_path / "models.html")]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")
    for seen in (
        "2019  roberta, Liu",
        "2024  modernbert, Warner",
        "1908.08962",
        "302.8 M",
        "5.35 GB",
        "31 smaller models",
    ):
        assert seen in page
    assert (
        "2019  roberta-base" not in page
        and page.index("1802.05365") < page.index("1810.04805")
        and "roberta-tiny" not in page
    ), "families, and what papers made"
    assert refused(capsys, "list", "models", "--plot", "models.png").startswith("--plot models.png: only models are")
    assert refused(capsys, "list", "tasks", "--plot", "tasks.html").startswith("--plot tasks.html: only models are")


def test_list_knows_every_preset_and_every_kind_of_tokenizer_and_embedding() -> None:
    from unmask.commands.list import EMBEDDINGS, TOKENIZERS
    from unmask.models.shape import Shape
    from unmask.papers import PAPERS
    from unmask.presets import PRESETS
    from unmask.text.tokens.vocabularies import Kind

    assert list(PAPERS) == list(PRESETS)
    assert [name for name, *_ in TOKENIZERS] == list(get_args(Kind))
    assert [name for name, *_ in EMBEDDINGS] == list(get_args(Shape.model_fields["embedding"].annotation))


def test_the_allocator_is_told_only_where_there_is_one_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    from unmask import allocator

    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("must not be asked"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "darwin")
        assert allocator.tune() is False
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("platform.libc_ver", lambda: ("", ""))
        assert allocator.tune() is False
    monkeypatch.setenv("UNMASK_ALLOCATOR", "default")
    assert allocator.tune() is False


FAULTS = """
import ctypes, resource, sys
from unmask import allocator
told = allocator.tune()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def step():
    block = libc.malloc(64 << 20)
    libc.memset(block, 1, 64 << 20)
    libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(int(told), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    told = {}
    for setting in ("", "default"):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS],
            capture_output=True, text=True, check=True, env={**os.environ, "UNMASK_ALLOCATOR": setting},
        )  # fmt: skip
        told[setting] = list(map(int, done.stdout.split()))
    assert told[""][0] == 1 and told["default"][0] == 0
    assert told[""][1] * 10 < told["default"][1]


@pytest.mark.parametrize("given", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", None])
def test_threads_are_told_not_to_spin_unless_the_user_says_how(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    from unmask import threads

    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "PASSIVE") if name == given else monkeypatch.delenv(name, raising=False)
    assert threads.tune() is (given is None)
    assert os.environ.get("GOMP_SPINCOUNT") == {None: threads.SPINS, "GOMP_SPINCOUNT": "PASSIVE"}.get(given)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
