"""Plain sentences for a tagger: read as sentences, told from columns of words, never taken for one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.tasks.tag import Tag

ENGLISH = "The DT O\nfilm NN O\nby IN O\nMiller NNP B-PER\n\nParis NNP B-LOC\n. . O\n"
POS = "The x DT\nfilm x NN\n. x .\n"
CHINESE = "科0\tO\n技1\tO\n\n张0\tB-PER\n三1\tI-PER\n"
WORDS = "科技 O\n公司 O\n\n北京 B-LOC\n大学 I-LOC\n"


def trained(folder: Path, text: str, **settings: object) -> Tag:
    (folder / "train.txt").write_text(text, encoding="utf-8")
    return Tag(**settings).fit(folder / "train.txt")[0]


def read(task: Tag, folder: Path, text: str):
    (folder / "new.txt").write_text(text, encoding="utf-8")
    rows = task.read(folder / "new.txt", labelled=False)
    assert rows.labels is None
    return rows


@pytest.mark.parametrize(
    ("text", "words", "places"),
    [
        ("The film by Miller is fine .\nParis\n\nit rained all day\n",
         ["The film by Miller is fine .", "Paris", "it rained all day"], [1, 2, 4]),
        ("The film is fine", ["The film is fine"], [1]),
        ("one two three four\nfive six seven eight\n", ["one two three four", "five six seven eight"], [1, 2]),
        ("  a   wide\u3000space and more\nb c d e f\n", ["a wide space and more", "b c d e f"], [1, 2]),
    ],
)  # fmt: skip
def test_sentences_of_words_are_cut_at_blanks(tmp_path, text, words, places):
    rows = read(trained(tmp_path, ENGLISH), tmp_path, text)
    assert [" ".join(row) for row in rows.texts] == words and rows.places == places
    assert rows.facts["read_as"] == "sentences, one a line, cut at blanks"


def test_a_full_stop_that_is_a_tag_ends_a_sentence(tmp_path):
    rows = read(trained(tmp_path, POS), tmp_path, "The film is fine .\nA dull one is not .\n")
    assert len(rows) == 2 and rows.texts[1][-1] == "."


@pytest.mark.parametrize(
    "text",
    [
        "The\nfilm\n\nParis\n",  # words
        "The DT\nfilm NN\n\nParis NNP\n",  # as in training, without tags
        "The DT O\nfilm NN O\n\nParis NNP S-LOC\n",  # with tags
        "The O\nfilm O\n\nParis B-LOC\n",
        "-DOCSTART-\n\nThe\tDT\nfilm\tNN\n\nParis\tNNP\n",
    ],
)
def test_columns_stay_columns(tmp_path, text):
    rows = read(trained(tmp_path, ENGLISH), tmp_path, text)
    assert rows.texts == [("The", "film"), ("Paris",)] and "read_as" not in rows.facts


@pytest.mark.parametrize("text", ["The DT O\nfilm O\nby IN O\n", "New York\nParis\nRome\nBerlin\n"])
def test_a_line_that_does_not_fit_its_columns_is_still_named(tmp_path, text):
    with pytest.raises(UserError, match=r"new\.txt:\d: has \d columns where line 1 has \d"):
        read(trained(tmp_path, ENGLISH), tmp_path, text)


@pytest.mark.parametrize("text", ["张三在 科技公司。\n\n他很好", "张三在科技公司。\n他很好\n"])
def test_chinese_is_cut_by_characters_as_training_was(tmp_path, text):
    task = trained(tmp_path, CHINESE)
    rows = read(task, tmp_path, text)
    assert rows.texts == [tuple("张三在科技公司。"), tuple("他很好")] and rows.facts["read_as"].endswith(
        "by characters"
    )
    assert task.characters and Tag(**task.model_dump()) == task  # as it stands in base.json


@pytest.mark.parametrize("text", ["张0\n三1\n\n他0\n", "张\n三\n\n他\n", "张\tO\n三\tO\n\n他\tO\n"])
def test_columns_of_characters_stay_columns(tmp_path, text):
    rows = read(trained(tmp_path, CHINESE), tmp_path, text)
    assert rows.texts == [("张", "三"), ("他",)]


def test_a_chinese_sentence_is_no_word_where_training_had_words(tmp_path):
    task = trained(tmp_path, WORDS)
    with pytest.raises(
        UserError, match=r"new\.txt:1: '张三在科技公司。' and the like are whole sentences.*with blanks"
    ):
        read(task, tmp_path, "张三在科技公司。\n他在北京大学\n")
    assert read(task, tmp_path, "张三 在 科技 公司 。\n他 在 北京\n").texts[1] == ("他", "在", "北京")
    assert read(task, tmp_path, "北京\n大学\n").texts == [("北京", "大学")]
    by_characters = trained(tmp_path, WORDS, characters=True)
    assert read(by_characters, tmp_path, "张三在科技公司。\n").texts == [tuple("张三在科技公司。")]
    with pytest.raises(UserError, match=r"are whole sentences, as it seems; a word a line is wanted$"):
        trained(tmp_path, "今天天气很好\t1\n我不喜欢这本书\t0\n")
