"""What the documents say is so: their commands run, their code works, their tables are up to date.

Sizes and times are made small by the replacements below; each must be found in the text, so that none goes stale.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import unmask
from unmask.commandline.program import main
from unmask.commands.pretrain import Pretrain
from unmask.config import build
from unmask.hub.families import FAMILIES
from unmask.static.vectors import WordVectors
from unmask.text.chance import Chance
from unmask.text.corpus.corpus import Corpus

ROOT = Path(__file__).parents[1]
SMALLER = {
    "--vocab-size 8192": "--vocab-size 300",
    "vocab_size=8192": "vocab_size=300",
    "modernbert-mini": "modernbert-tiny",
    "--minutes 10": "--steps 3 --length 32 --batch-size 4",
    "minutes=10": "steps=3, length=32, batch_size=4",
    "--steps 500": "--steps 3 --length 32 --batch-size 4 --model modernbert-tiny",
}
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def smaller(text):
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


def blocks(document, language, mark=""):
    """The code blocks of a document in one language; of the README those that are marked to be run."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"^(<!-- run -->\n)?```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for marked, name, code in found if name == language and (marked or not mark)]


def own_text(folder):
    """A user's folder: texts, labelled examples, and lines to predict."""
    draw = np.random.default_rng(0)
    words = {"good": ["fine", "lovely", "bright", "film"], "bad": ["dull", "grey", "tired", "film"]}

    def sentence(label):
        return " ".join(draw.choice([*words[label], "the", "a", "of", "and"], 8)).capitalize() + "."

    (folder / "texts").mkdir()
    documents = [" ".join(sentence(label) for _ in range(9)) for label in ("good", "bad") * 60]
    (folder / "texts" / "all.txt").write_text("\n\n".join(documents), encoding="utf-8")
    for name, rows in (("train.tsv", 40), ("dev.tsv", 12)):
        lines = [f"{sentence(label)}\t{label}" for label in ("good", "bad") * (rows // 2)]
        (folder / name).write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "new.txt").write_text(sentence("good") + "\n" + sentence("bad") + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A working directory with corpora/mine."""
    folder = tmp_path_factory.mktemp("mine")
    own_text(folder)
    unmask.prepare([str(folder / "texts")], out=folder / "corpora" / "mine", vocab_size=300, valid=0.05, processes=1)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A working directory in which the README's commands were run, in their order."""
    folder = tmp_path_factory.mktemp("home")
    own_text(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks("README.md", "", "run"):
            for line in smaller(block).splitlines():
                word, *arguments = shlex.split(line)
                assert word == "unmask"
                assert main(arguments) == 0, line
    return folder


def test_replacements_are_of_things_that_are_there():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md"))
    assert [large for large in SMALLER if large not in text] == []


def test_the_commands_of_the_readme_leave_what_it_says(home):
    for run in ("runs/a", "runs/b"):
        for name in ("report.html", "result.json", "metrics.jsonl", "config.yaml", "README.md"):
            assert (home / run / name).stat().st_size > 0
    assert len((home / "predictions.tsv").read_text(encoding="utf-8").splitlines()) >= 2
    assert (home / "hf" / "mine" / "config.json").exists()


def test_the_python_of_the_readme_runs(home, tmp_path, monkeypatch):
    for name in ("texts", "train.tsv", "dev.tsv"):
        source = home / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("README.md", "python", "run")
    names = {}
    exec(smaller(code), names)
    (row,) = names["clf"].predict(["a fine film"])
    assert row is not None
    states = names["model"].hidden([[2, 17, 9, 3], [2, 5, 3]])
    assert [s.shape[0] for s in states] == [4, 3]


def test_files_named_in_the_documents_exist():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for address in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in address:
                assert (document.parent / address).exists(), f"{document.name}: {address}"


def test_every_file_of_a_run_is_explained(home):
    told = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
    for run in ("runs/a", "runs/b"):
        for path in (home / run).iterdir():
            name = re.sub(r"\d+$", "N", path.name)  # seed-3 is told as seed-N
            assert name.startswith(".") or f"`{name}" in told, path.name


def test_the_page_of_methods_is_up_to_date():
    made = subprocess.run(
        [sys.executable, "-c", "import make_methods; print(make_methods.page(), end='')"],
        cwd=ROOT / "docs", capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert made.stdout == (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), "run python docs/make_methods.py"


def test_every_architecture_is_in_the_table_of_agreement():
    """With its loss, its gradients and a folder read and written; and at two sizes."""
    lines = (ROOT / "docs" / "agreement.md").read_text(encoding="utf-8").splitlines()
    rows = {row[0]: row[1:] for row in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines) if row}
    for family in FAMILIES:
        assert "" not in rows[family] and rows[family][-1] == "same bytes"
        assert sum(re.split("[ ,]", case)[0] == family for case in rows) > 1
    numbers = [float(cell) for row in rows.values() for cell in row if re.fullmatch(r"\d+e[+-]\d+", cell)]
    assert len(numbers) > 100 and max(numbers) <= 1e-5


def test_the_pictures_of_objectives_are_up_to_date():
    code = (
        "import make_pictures as made; files = made.files(); pictures = made.HOME / 'pictures'\n"
        "wrong = [p.name for p in pictures.iterdir() if p not in files]\n"
        "wrong += [p.name for p, text in files.items() if not p.exists() or p.read_text(encoding='utf-8') != text]\n"
        "print(*wrong)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "docs", capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "", "run python docs/make_pictures.py"


def test_a_recipe_of_a_task_fits_the_schema_and_trains(mine, tmp_path):
    (recipe,) = [path for path in RECIPES if "command: finetune" in path.read_text(encoding="utf-8")]
    assert f"unmask finetune MODEL --recipe recipes/{recipe.name}" in recipe.read_text(encoding="utf-8")
    lines = [f"({n % 2} ({n % 2} {word}) (2 film))" for n, word in enumerate(["dull", "fine"] * 4)]
    (tmp_path / "trees.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "words").mkdir()
    words = WordVectors(["dull", "fine", "film"], np.eye(3, 8, dtype=np.float32))
    words.save(tmp_path / "words")
    files = dict.fromkeys(("train", "valid"), tmp_path / "trees.txt")
    tuned = unmask.finetune(tmp_path / "words", recipe=recipe, out=tmp_path / "run", epochs=None, steps=2, **files)
    assert tuned.result["steps"] == 2 and tuned.task.memory == 150


PRETRAINED = [path for path in RECIPES if "command: pretrain" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("recipe", PRETRAINED, ids=lambda path: path.stem)
def test_a_recipe_fits_the_schema_and_trains(recipe, mine, tmp_path):
    config = build(Pretrain, {"corpus": "corpora/x", "out": "runs/x"}, recipe)
    recurrent = config.model.flow in ("gru", "elmo")
    papers = 6 if config.model.family == "distilbert" else 12
    assert recurrent or config.model.layers + config.model.decoder_layers >= papers
    assert "unmask pretrain corpora/x --recipe recipes/" + recipe.name in recipe.read_text(encoding="utf-8")
    tiny = {"model.layers": 2, "model.width": 32}
    tiny |= {"gru": {"model.embedding_width": 16}, "elmo": {"model.feed_forward": 32, "model.filters": 64}}.get(
        config.model.flow, {"model.heads": 2, "model.feed_forward": 32}
    )
    if config.model.bottleneck:
        tiny |= {"model.embedding_width": 16, "model.bottleneck": 16}
    if config.model.decoder_layers:
        tiny |= {"model.decoder_layers": 2}
    small = {
        "length": 32,
        "batch_size": 4,
        "steps": 2,
        "corpus": mine / "corpora" / "mine",
        "out": tmp_path / "run",
    }
    if any(objective.fields for objective in config.objectives.values()):
        small["corpus"] = with_headlines(mine / "corpora" / "mine", tmp_path / "articles")
    result = unmask.pretrain(recipe=recipe, **tiny, **small)
    assert result["steps"] == 2
    assert set(result["chosen"]["objective"]) == set(config.objectives)


def with_headlines(corpus, folder):
    """The texts of a corpus as articles."""
    found = Corpus.open(corpus)
    shard = found.shard(0)
    texts = [found.tokenizer.decode(shard.tokens[a:b]) for a, b in pairwise(shard.documents)]
    rows = [json.dumps({"title": text[:20], "text": text}) for text in texts]
    folder.with_suffix(".jsonl").write_text("\n".join(rows), encoding="utf-8")
    return unmask.prepare([str(folder.with_suffix(".jsonl"))], out=folder, fields=["title"]).corpus.folder


def with_new_objective(folder):
    """A copy of the package that has the objective of CONTRIBUTING."""
    shutil.copytree(ROOT / "src" / "unmask", folder / "unmask", ignore=shutil.ignore_patterns("__pycache__"))
    (code,) = blocks("CONTRIBUTING.md", "python")
    (folder / "unmask" / "objectives" / "shuffled_tokens.py").write_text(code, encoding="utf-8")
    return code


def python(*arguments, package, cwd):
    alone = {"PYTHONPATH": str(package), "PATH": "", "OMP_NUM_THREADS": "1"}
    options = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 600}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=alone, check=False, **options)


def test_the_objective_of_contributing_works_by_adding_one_file(mine, tmp_path):
    with_new_objective(tmp_path)
    listed = python("-m", "unmask", "list", "objectives", package=tmp_path, cwd=mine)
    assert "shuffled_tokens" in listed.stdout
    (commands,) = [block for block in blocks("CONTRIBUTING.md", "") if "shuffled" in block]
    for line in smaller(commands).splitlines():
        done = python("-m", *shlex.split(line), package=tmp_path, cwd=mine)
        assert done.returncode == 0, done.stderr
    metrics = (mine / "runs" / "both" / "metrics.jsonl").read_text(encoding="utf-8")
    assert "loss/shuffled_tokens" in metrics
    assert "loss/masked_lm" in metrics


def test_the_objective_of_contributing_does_what_it_promises():
    (code,) = blocks("CONTRIBUTING.md", "python")
    names = {"__name__": "shuffled_tokens"}
    exec(code, names)
    tokenizer = type("Ten", (), {"special": np.arange(50) < 5})
    draw = np.random.default_rng(0)
    lengths = np.array([40, 7, 200])
    tokens = draw.integers(5, 50, lengths.sum())
    tokens[np.cumsum(lengths) - lengths] = 2
    stream = names["Example"](
        {"encoder": __import__("unmask.text.example", fromlist=["Stream"]).Stream(tokens, lengths)}
    )
    chance = Chance.of(1, 0, np.arange(3))
    made = names["ShuffledTokens"](rate=0.4).corrupt(stream, tokenizer, chance)
    after, targets = made.streams["encoder"].tokens, made.targets["shuffled_tokens"]
    for a, b in zip(np.split(tokens, np.cumsum(lengths)[:-1]), np.split(after, np.cumsum(lengths)[:-1]), strict=True):
        assert sorted(a) == sorted(b)
    assert np.array_equal(targets.labels == 1, (after != tokens)[targets.index])
    assert np.array_equal(targets.index, np.flatnonzero(tokens >= 5))
    assert 0.2 < targets.labels.mean() < 0.4
