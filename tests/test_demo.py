"""The demo's material: real labels, nothing held out in the corpus, the same every time."""

import csv
import re
from pathlib import Path

import pytest

import unmask
from unmask import demonstration
from unmask.commands import demo
from unmask.errors import UserError


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return demonstration.write(tmp_path_factory.mktemp("data"))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def sentences(path):
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return [[tuple(line.split("\t")) for line in block.split("\n")] for block in blocks]


def runs(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[n : n + 8]) for n in range(len(words) - 7)}


def test_every_split_has_every_package(material):
    labels = {split: {row["label"] for row in rows(path)} for split, path in material.module.items()}
    assert labels["train"] == labels["valid"] == labels["test"]
    assert len(labels["train"]) >= demonstration.FEWEST_PACKAGES
    assert labels["train"] <= set(demonstration.PACKAGES)


def test_no_passage_names_its_package(material):
    for path in material.module.values():
        for row in rows(path):
            assert row["label"] not in row["text"].lower()


def test_nothing_held_out_is_in_the_corpus_or_in_the_training_data(material):
    corpus = material.corpus.read_text(encoding="utf-8")
    public = {run for line in corpus.split("\n") for run in runs(line)}
    for split in ("valid", "test"):
        held_out = [row["text"] for row in rows(material.module[split])]
        held_out += [" ".join(word for word, _ in s) for s in sentences(material.code[split])]
        assert len(held_out) > 100
        assert not [text for text in held_out if runs(text) & public]
    trained = {row["text"] for row in rows(material.module["train"])}
    assert trained <= set(corpus.split("\n"))


def test_words_are_cut_alike_whether_code_or_not():
    assert demonstration.labelled('Call "a.b(x)" or don\'t, "None".') == [
        ("Call", "O"),
        *[
            ("a", "B-CODE"),
            (".", "I-CODE"),
            ("b", "I-CODE"),
            ("(", "I-CODE"),
            ("x", "I-CODE"),
            (")", "I-CODE"),
        ],
        *[("or", "O"), ("don", "O"), ("'", "O"), ("t", "O"), (",", "O"), ("None", "B-CODE"), (".", "O")],
    ]
    assert demonstration.labelled('"in" "not in"') == [("in", "B-CODE"), ("not", "B-CODE"), ("in", "I-CODE")]


def test_no_quote_is_left_to_give_code_away(material):
    tagged = [row for path in material.code.values() for s in sentences(path) for row in s]
    assert not [word for word, label in tagged if '"' in word and label == "O"]
    share = sum(label != "O" for _, label in tagged) / len(tagged)
    assert 0.05 < share < 0.5


def test_the_same_twice(material, tmp_path):
    again = demonstration.write(tmp_path)
    for path in [material.corpus, *material.module.values(), *material.code.values()]:
        assert path.read_bytes() == (again.corpus.parent / path.name).read_bytes()


def test_docstrings_are_read_and_not_imported(tmp_path):
    (tmp_path / "email" / "test").mkdir(parents=True)
    (tmp_path / "email" / "test" / "skipped.py").write_text('"""Tests are not documentation."""')
    (tmp_path / "broken.py").write_text("this is not Python")
    module = '"""What the module does."""\nraise SystemExit\n'
    module += 'class A:\n  """What A is."""\n  def f(self):\n    """What f does."""\n'
    (tmp_path / "email" / "boom.py").write_text(module)
    found = demonstration.docstrings(tmp_path)
    assert [(p.unit, p.text, p.package) for p in found] == [
        ("email/boom/", "What the module does.", "email"),
        ("email/boom/A", "What A is.", "email"),
        ("email/boom/A.f", "What f does.", "email"),
    ]


def test_a_python_without_sources_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="full build of Python") as refused:
        demonstration.write(tmp_path / "out", stdlib=tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_demo_goes_all_the_way_and_a_second_time_nothing_is_done_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "CORPUS", {**demo.CORPUS, "vocab_size": 600})
    short = {task: {**settings, "epochs": 0.1} for task, settings in demo.FINETUNING.items()}
    monkeypatch.setattr(demo, "FINETUNING", short)
    results = unmask.demo(out=tmp_path / "demo", minutes=0.01, seeds=(1,))
    assert list(results) == ["pretrained", "module-pretrained", "module-random", "code-pretrained", "code-random"]
    told = capsys.readouterr().out
    assert all(text.replace("[MASK]", "") in told.replace("[MASK]", "") for text in demo.TEXTS)
    assert "$ unmask finetune" in told and "--task.pool mean" in told and "classify (module)" in told
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "What pre-training bought" in page and "of 2 tasks came out better" in page
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    assert unmask.demo(out=tmp_path / "demo", minutes=0.01, seeds=(1,)) == results
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")} == before
