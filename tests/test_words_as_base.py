"""Vectors of words as what a task starts from: a model without layers."""

from __future__ import annotations

import numpy as np
import pytest

import unmask
from small_base import BAD, EXACT, GOOD, WORDS, classified
from unmask import calls
from unmask.commands.convert import Convert
from unmask.commands.finetune import Finetune
from unmask.errors import UserError
from unmask.static.vectors import FILE, WordVectors

VOCABULARY = [*WORDS, *GOOD, *BAD]


def vectors(folder, size=16, words=VOCABULARY):
    folder.mkdir(parents=True, exist_ok=True)
    matrix = np.random.default_rng(0).normal(size=(len(words), size)).astype(np.float32)
    WordVectors(list(words), matrix).save(folder)
    (folder / "config.yaml").write_text("corpus: corpora/x\n")  # as `unmask vectors` leaves one
    return matrix


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    vectors(folder / "words")
    for split, count, seed in (("train", 120, 1), ("dev", 40, 2)):
        classified(folder / f"{split}.tsv", count, seed)
    return folder


def finetune(home, out, **settings):
    files = {"train": home / "train.tsv", "valid": home / "dev.tsv"}
    given = {"task": "classify", "epochs": 15, "batch_size": 10, "lr": 1e-2, **files}
    return calls.call(Finetune, str(home / "words"), out=home / out, **{**given, **EXACT, **settings})


def test_a_words_state_is_its_vector_and_that_of_what_is_no_word_their_mean(tmp_path):
    matrix = vectors(tmp_path / "words", words=["film", "Fine", "8"])
    model = unmask.load(tmp_path / "words", device="cpu")
    assert model.shape.layers == 0 and repr(model).startswith("Model(")
    (states,) = model.hidden(["film Fine 8 films, fine"])
    unknown = matrix.mean(0)
    expected = [np.zeros(16), *matrix, unknown, unknown, unknown, np.zeros(16)]  # a word with a capital is another one
    np.testing.assert_allclose(states, expected, atol=1e-6)
    vectors(tmp_path / "small", words=["film", "fine"])
    assert np.array_equal(*(unmask.load(tmp_path / "small").hidden([text])[0] for text in ("Fine FILM", "fine film")))


def test_a_text_is_classified_by_the_mean_of_its_words(home):
    model = finetune(home, "run")
    assert model.task.pool == "mean" and model.result["figures"]["accuracy"] > 0.9
    assert [p.labels for p in model.predict(["a very fine film", "the dull story"])] == [("good",), ("bad",)]
    for pool in ("cls", "last"):
        with pytest.raises(UserError, match=f"--task.pool {pool}: vectors of tokens know nothing of their text; mean"):
            finetune(home, "no", **{"task.pool": pool})


def test_a_run_stands_on_the_vectors_it_was_trained_with(home):
    model = finetune(home, "frozen", tuning="frozen", epochs=1)
    assert unmask.load(home / "frozen", device="cpu").predict(["fine film"]) == model.predict(["fine film"])
    file = home / "words" / FILE
    before = file.read_text()
    file.write_text(before.replace("film ", "films ", 1))
    with pytest.raises(UserError, match=r"words/vectors\.txt: is not what was fine-tuned"):
        unmask.load(home / "frozen")
    file.write_text(before)


def test_what_vectors_of_words_cannot_be_is_told_in_a_line(home, tmp_path):
    with pytest.raises(UserError, match="has no head that fills masks"):
        unmask.load(home / "words").fill("a [MASK] film")
    vectors(tmp_path / "narrow", size=4)
    with pytest.raises(UserError, match=r"vectors\.txt: width of vectors 4: must be a whole number at least 8") as told:
        unmask.load(tmp_path / "narrow")
    assert "\n" not in str(told.value)
    for kind in ("hf", "unmask"):
        with pytest.raises(UserError, match=r"words: holds vectors of tokens alone; a model with layers would fit"):
            calls.call(Convert, str(home / "words"), to=kind, out=tmp_path / "theirs")
