"""Files that people labelled: read as they are, refused by line."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from unmask.errors import UserError
from unmask.tasks.classify import Classify
from unmask.tasks.tag import Tag
from unmask.text.sources import chunks, conll, tables

DATA = Path(__file__).parents[2] / "shared" / "data"


def file(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_quotes_are_text_between_tabs_and_enclose_between_commas(tmp_path):
    tsv = file(tmp_path, "a.tsv", 'sentence\tlabel\n"so" it goes"\t1\n')
    assert tables.read(tsv, header=True).rows == [['"so" it goes"', "1"]]
    csv = file(tmp_path, "a.csv", 'text,label\n"one, ""two""\nthree",1\nfour,0\n')
    table = tables.read(csv, header=True)
    assert table.rows == [['one, "two"\nthree', "1"], ["four", "0"]]
    assert table.places == [2, 4]


def test_a_csv_may_be_separated_by_tabs_or_semicolons(tmp_path):
    assert tables.read(file(tmp_path, "a.csv", "a, b\t1\n")).rows == [["a, b", "1"]]
    assert tables.read(file(tmp_path, "b.csv", "text;label\na, b;1\n"), header=True).rows == [["a, b", "1"]]


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)]
)
def test_packed_files_hold_the_same(tmp_path, suffix, pack):
    plain = file(tmp_path, "a.tsv", "\ufefftext\tlabel\nfür\t1\r\n\r\nzwei\t0\n")
    packed = tmp_path / f"b.tsv{suffix}"
    packed.write_bytes(pack(plain.read_bytes()))
    table, other = tables.read(plain, header=True), tables.read(packed, header=True)
    assert (table.names, table.rows, table.places) == (other.names, other.rows, other.places)
    assert table.names == ["text", "label"] and table.rows == [["für", "1"], ["zwei", "0"]]
    assert table.places == [2, 4] and table.blank == 1


def test_every_format_says_the_same(tmp_path):
    rows = [{"text": "fine", "label": 1}, {"text": "poor, really", "label": 0}]
    file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    file(tmp_path, "a.tsv", "text\tlabel\nfine\t1\npoor, really\t0\n")
    file(tmp_path, "a.csv", 'text,label\nfine,1\n"poor, really",0\n')
    found = [Classify().fit(tmp_path / f"a.{kind}")[1] for kind in ("jsonl", "parquet", "tsv", "csv")]
    assert all(rows.texts == [("fine",), ("poor, really",)] for rows in found)
    assert all(rows.labels == [("1",), ("0",)] for rows in found)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("a.tsv", "text\tlabel\na\t1\nb\n", r"a\.tsv:3: has 1 fields where the header has 2"),
        ("a.tsv", "text\tlabel\na\t1\nb\tc\t0\n", r"a\.tsv:3: has 3 fields where the header has 2"),
        ("a.tsv", "text\tlabel\na\t1\n\t0\n", r"a\.tsv:3: the text is missing \(column text\)"),
        ("a.tsv", "text\tlabel\na\t1\nb\t \n", r"a\.tsv:3: the label is missing \(column label\)"),
        ("a.csv", 'text,label\na,1\n"b,0\n', r"a\.csv:3: quotation marks do not match"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', r"a\.jsonl:2: the label is missing"),
        ("a.jsonl", '{"text": "a", "label": 1}\n["b"]\n', r"a\.jsonl:2: must be a JSON object"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text"\n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", '{"text": "a\\ud800", "label": 1}\n', r"a\.jsonl:1: half a character"),
        ("a.parquet", "no table", r"a\.parquet: not a parquet file"),
        ("a.tsv", "", r"a\.tsv: holds no rows"),
        ("a.tsv", "text\tlabel\n", r"a\.tsv: holds no rows"),
        ("a.tsv.gz", "not packed", r"a\.tsv\.gz: broken, or not packed as \.gz"),
        ("a.tsv", "text\tlabel\na\t1\nb\t1\n", r"a\.tsv: its only label is '1'"),
        ("a.jsonl", '{"text": "a", "label": ["x", "y"]}\n', r"a\.jsonl:1: holds several labels"),
    ],
)
def test_bad_tables_are_refused_by_line(tmp_path, name, text, wanted):
    with pytest.raises(UserError, match=wanted) as caught:
        Classify().fit(file(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"text\tlabel\ncaf\xe9\t1\n")
    with pytest.raises(UserError, match=r"a\.tsv: not utf-8 at line 2"):
        Classify().fit(tmp_path / "a.tsv")
    task, rows = Classify(encoding="latin-1", labels=("0", "1")).fit(tmp_path / "a.tsv")
    assert rows.texts == [("café",)] and task.labels == ("0", "1")


def test_columns_are_found_by_name_by_number_and_by_sense(tmp_path):
    named = file(tmp_path, "a.tsv", "id\ttext_a\ttext_b\tlabel\n7\tx\ty\t1\n8\tz\tw\t0\n")
    task, rows = Classify().fit(named)
    assert (task.text, task.text_pair, task.label) == ("text_a", "text_b", "label")
    assert rows.texts == [("x", "y"), ("z", "w")]
    bare = file(tmp_path, "b.tsv", "some text\t0\nother text\t1\nthird\t0\n")
    task, rows = Classify().fit(bare)
    assert (task.text, task.text_pair, task.label) == ("1", None, "2")
    pairs = file(tmp_path, "c.tsv", "0\tone\ttwo\n1\tthree\tfour\n0\tfive\tsix\n")
    task, rows = Classify().fit(pairs)
    assert (task.text, task.text_pair, task.label) == ("2", "3", "1") and rows.texts[0] == ("one", "two")
    task, rows = Classify(text="2", label="4").fit(named)
    assert (task.text, task.text_pair, task.label) == ("text_a", "text_b", "label")
    with pytest.raises(UserError, match=r"has no column 'sentense'.*its columns are 'id', 'text_a'"):
        Classify(text="sentense").fit(named)
    with pytest.raises(UserError, match=r"it has columns 1 to 2 and no header"):
        Classify(text="5").fit(bare)


def test_a_header_nobody_knows_is_not_taken_for_a_row(tmp_path):
    lines = ["Quality\t#1 String", *(f"{['good', 'bad'][n % 2]}\ttext {n}" for n in range(20))]
    path = file(tmp_path, "a.tsv", "\n".join(lines))
    with pytest.raises(UserError, match=r"a\.tsv:1: the label 'Quality' is found in no other row.*--task\.header"):
        Classify().fit(path)
    task, rows = Classify(header=True, label="1").fit(path)
    assert (task.text, task.label, len(rows)) == ("#1 String", "Quality", 20)
    assert task.read(path).texts == rows.texts  # other files are known by the same names


SPEAKERS = [("utterance", "polarity"), *((f"some words {n}", n % 2) for n in range(6))]
PARAPHRASES = [
    ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
    *((n % 2, 70 + n, 90 + n, f"some words {n}", f"other words {n}") for n in range(12)),
]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (SPEAKERS, ("utterance", None, "polarity")),
        ([("comment_text", "label"), ("fine", "good"), ("poor", "bad")], ("comment_text", None, "label")),
        ([("id", *SPEAKERS[0]), *((n, *row) for n, row in enumerate(SPEAKERS[1:]))], ("utterance", None, "polarity")),
        (PARAPHRASES, ("#1 String", "#2 String", "Quality")),
        ([("id", "id", "text", "label"), (1, 1, "fine", "good"), (2, 2, "poor", "bad")], ("text", None, "label")),
    ],
)
def test_columns_whose_names_nobody_knows_are_read_where_one_reading_is_left(tmp_path, rows, wanted):
    lines = ["\t".join(map(str, row)) for row in rows]
    task, found = Classify().fit(file(tmp_path, "a.tsv", "\n".join(lines)))
    assert (task.text, task.text_pair, task.label) == wanted and len(found) == len(rows) - 1
    assert task.read(tmp_path / "a.tsv").texts == found.texts


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("text\ttext\tlabel", r"has 2 columns named 'text'; say which by its number, --task\.text 1 or 2; its columns"),
        ("text\tlabel\tLabel", r"has 2 columns named 'label'; say which by its number, --task\.label 2 or 3; its col"),
        ("headline\tsummary\tlabel", r"the text; name the columns with --task\.text and --task\.label.*'summary'"),
        ("a\ta\tlabel", "no column is known to hold the text"),
    ],
)
def test_columns_of_which_two_could_be_meant_are_refused_with_the_options_to_give(tmp_path, header, wanted):
    path = file(tmp_path, "a.tsv", f"{header}\nthis one\tthat one\tx\nthat one\tthis one\ty\n")
    with pytest.raises(UserError, match=wanted) as told:
        Classify().fit(path)
    assert "\n" not in str(told.value)
    assert Classify(text="1", label="3", header=True).fit(path)[1].texts == [("this one",), ("that one",)]


def test_two_columns_of_few_values_are_no_guess(tmp_path):
    rows = "".join(f"some words {n}\t{n % 3}\t{n % 2}\n" for n in range(12))
    with pytest.raises(UserError, match=r"no column is known to hold labels; name the columns with --task\.text and"):
        Classify().fit(file(tmp_path, "a.tsv", "utterance\tpart\tpolarity\n" + rows))


def test_a_row_is_not_taken_for_a_header(tmp_path):
    rows = Classify().fit(file(tmp_path, "a.tsv", "fine film\tgood\t7\n4\tbad\t8\n5\tgood\t9\n6\tbad\t7\n"))[1]
    assert len(rows) == 4


def test_a_name_given_twice_in_an_object_is_refused(tmp_path):
    path = file(tmp_path, "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "text": "c", "label": 0}\n')
    with pytest.raises(UserError, match=r"a\.jsonl:2: 'text' is given twice"):
        Classify().fit(path)


def test_labels_that_training_lacks_are_named_with_file_and_row(tmp_path):
    task, _ = Classify().fit(file(tmp_path, "train.tsv", "text\tlabel\na\tpos\nb\tneg\n"))
    with pytest.raises(UserError, match=r"dev\.tsv:3: label 'neutral' is not among those of training: neg, pos"):
        task.read(file(tmp_path, "dev.tsv", "text\tlabel\na\tpos\nb\tneutral\n"))


def test_texts_without_labels_can_be_read(tmp_path):
    task, _ = Classify().fit(file(tmp_path, "train.tsv", "label\ttext\npos\ta\nneg\tb\n"))
    only = file(tmp_path, "texts.txt", "first text\n\nsecond text\n")
    rows = task.read(only, labelled=False)
    assert rows.texts == [("first text",), ("second text",)] and rows.labels is None
    assert rows.facts["blank_lines"] == 1


def test_any_number_of_labels(tmp_path):
    path = file(tmp_path, "a.tsv", "text\tlabels\none\tx;y\ntwo\t\nthree\ty\n")
    task, rows = Classify(multi_label=";").fit(path)
    assert task.labels == ("x", "y") and rows.labels == [("x", "y"), (), ("y",)]
    lists = file(tmp_path, "a.jsonl", '{"text": "one", "labels": ["y", "x"]}\n{"text": "two", "labels": []}\n')
    assert Classify(multi_label=";").fit(lists)[1].labels == [("y", "x"), ()]


def test_labels_stand_in_the_order_of_numbers(tmp_path):
    path = file(tmp_path, "a.tsv", "text\tlabel\n" + "".join(f"t\t{n}\n" for n in (10, 9, 2)))
    assert Classify().fit(path)[0].labels == ("2", "9", "10")


CONLL = "-DOCSTART- -X- O\n\nU.N. NNP B-ORG\nofficial NN O\n\n\nEkeus NNP B-PER\n"


def test_columns_of_words(tmp_path):
    found = conll.read(file(tmp_path, "a.txt", CONLL))
    assert found.words == [("U.N.", "official"), ("Ekeus",)] and found.tags == [("B-ORG", "O"), ("B-PER",)]
    assert found.places == [3, 7] and found.documents == 1
    assert conll.read(tmp_path / "a.txt", tag=2).tags == [("NNP", "NN"), ("NNP",)]
    bare = conll.read(file(tmp_path, "b.txt", "U.N.\nofficial\n"))
    assert bare.words == [("U.N.", "official")] and bare.tags is None


def test_a_wide_space_is_a_word(tmp_path):
    assert conll.read(file(tmp_path, "a.txt", "中\tO\n\u3000\tO\n")).words == [("中", "\u3000")]


def test_characters_with_their_places(tmp_path):
    weibo = file(tmp_path, "a.txt", "科0\tO\n技1\tO\n\n20\tB-PER\n\nt13\tO\n110\tO\n")
    found = conll.read(weibo)
    assert found.words == [("科", "技"), ("2",), ("t", "1")] and found.digits
    assert conll.read(weibo, digits=False).words[0] == ("科0", "技1")
    with pytest.raises(UserError, match=r"b\.txt:2: the word '技' is no character with digits"):
        conll.read(file(tmp_path, "b.txt", "科0\tO\n技\tO\n"), digits=True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a B-X\nb\n", r"a\.txt:2: has 1 columns where line 1 has 2"),
        ("a\nb\n", r"a\.txt:1: has one column"),
        ("\n\n", r"a\.txt: holds no sentences"),
        ("a O\nb O\n", r"a\.txt: its only label is 'O'"),
    ],
)
def test_bad_columns_are_refused_by_line(tmp_path, text, wanted):
    with pytest.raises(UserError, match=wanted):
        Tag().fit(file(tmp_path, "a.txt", text))


def test_tags_that_training_lacks_are_named_with_their_line(tmp_path):
    task, _ = Tag().fit(file(tmp_path, "train.txt", CONLL))
    with pytest.raises(UserError, match=r"dev\.txt:4: label 'B-LOC' is not among those of training: O, B-ORG, I-ORG"):
        task.read(file(tmp_path, "dev.txt", "a O\n\nb O\nc B-LOC\n"))


def test_a_stretch_may_be_longer_than_any_in_training(tmp_path):
    task, _ = Tag().fit(file(tmp_path, "train.txt", CONLL))
    assert task.read(file(tmp_path, "dev.txt", "a B-PER\nb I-PER\n")).labels == [("B-PER", "I-PER")]


@pytest.mark.parametrize(
    ("scheme", "tags", "iob2"),
    [
        ("IOB", "I-A I-A B-A O I-B I-A", "B-A I-A B-A O B-B B-A"),
        ("IOB", "B-A I-A O B-B", "B-A I-A O B-B"),
        ("BIOES", "B-A I-A E-A S-A O S-B", "B-A I-A I-A B-A O B-B"),
        ("BMES", "B-A M-A E-A B-A E-A", "B-A I-A I-A B-A I-A"),
        ("BILOU", "U-A B-A I-A L-A O", "B-A B-A I-A I-A O"),
        ("BMES", "B M E S O", "B I I B O"),
    ],
)
def test_schemes_become_one(scheme, tags, iob2):
    assert chunks.is_chunked(tags.split()) and chunks.scheme_of(tags.split()) == scheme
    assert chunks.to_iob2(tags.split())[0] == iob2.split()


@given(st.lists(st.sampled_from(["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in "XY")]), max_size=12))
def test_stretches_are_those_of_seqeval(tags):
    found, _ = chunks.to_iob2(tags)
    assert get_entities(found) == get_entities(tags)
    assert chunks.to_iob2(found) == (found, 0)


def test_parts_of_speech_are_classes_of_their_own(tmp_path):
    task, _ = Tag(tag_column=2).fit(file(tmp_path, "a.txt", CONLL.replace("-DOCSTART- -X- O\n", "")))
    assert task.labels == ("NN", "NNP") and not task.chunked and task.main_score == "accuracy"


@pytest.mark.skipif(not DATA.exists(), reason="the development data is not here")
def test_real_files_are_read_whole():
    task, rows = Classify().fit(DATA / "sst-2" / "train.tsv.gz")
    assert len(rows) == 60_614 and task.labels == ("0", "1")
    assert len(task.read(DATA / "sst-2" / "test.tsv")) == 872
    task, rows = Classify().fit(DATA / "mrpc" / "msr-para-train.tsv")
    assert (task.text, task.text_pair, task.label) == ("#1 String", "#2 String", "Quality") and len(rows) == 3_576
    task, rows = Classify(header=True, text="4", text_pair="5", label="1").fit(DATA / "mrpc" / "msr-para-train.tsv")
    assert len(rows) == 3_576 and len(task.read(DATA / "mrpc" / "msr-para-test.tsv")) == 1_725
    assert len(Classify().fit(DATA / "zh_afqmc" / "train.txt.gz")[1]) == 34_334
    task, rows = Tag().fit(DATA / "conll2000" / "train.txt.gz")
    assert len(rows) == 8_936 and sum(map(len, rows.texts)) == 211_727
    assert len(task.read(DATA / "conll2000" / "test.txt")) == 2_012  # has I-LST, which training lacks
    task, rows = Tag().fit(DATA / "zh_weibo_ner" / "weiboNER_2nd_conll.train")
    assert len(rows) == 1_350 and rows.texts[0][:2] == ("科", "技")
    task, rows = Tag().fit(DATA / "zh_resume_ner" / "train.char.bmes.gz")
    assert len(rows) == 3_821 and rows.facts["tags"] == "BMES"
