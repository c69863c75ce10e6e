"""Documents come out of every kind of file whole and in order; what is no text is named."""

import gzip
import json
import lzma
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from unmask.errors import UserError
from unmask.text.sources import documents as module
from unmask.text.sources.documents import Sources
from unmask.text.sources.sentences import PARAGRAPH, sentences

TEXT = "First document.\nIts second line.\n\nSecond — dokument, 第二。\n\n\nThird.\n"
DOCUMENTS = ["First document.\nIts second line.", "Second — dokument, 第二。", "Third."]


def documents(*paths, **options):
    """Whole documents, and the sources they came from."""
    sources = Sources([str(path) for path in paths], **options)
    found = []
    for text, first, _ in sources.pieces():
        if first:
            found.append(text)
        else:
            found[-1] += "\n" + text
    assert sources.read == sources.bytes
    return found, sources


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_text_packed_or_not(tmp_path, suffix, pack, ending):
    content = b"\xef\xbb\xbf" + TEXT.replace("\n", ending).encode()
    found, _ = documents(write(tmp_path / f"a.txt{suffix}", pack(content)))
    assert found == DOCUMENTS


def test_boundaries_of_documents(tmp_path):
    path = write(tmp_path / "a.txt", TEXT)
    assert documents(path, boundary="line")[0] == [line for line in TEXT.split("\n") if line]
    assert documents(path, boundary="line")[1].empty == 3
    assert [d.split() for d in documents(path, boundary="file")[0]] == [TEXT.split()]
    wikitext = " \n = Title = \n \n = = Part = = \n \n Text . \n More . \n \n = Other = \n \n Text . \n"
    found, _ = documents(write(tmp_path / "w.txt", wikitext))
    assert [d.split("\n")[0] for d in found] == [" = Title = ", " = Other = "]
    assert "More" in found[0]


def test_tables(tmp_path):
    rows = ["one, two", "three", None, "", 'said "five"\nsix']
    write(tmp_path / "a.jsonl", "\n".join(json.dumps({"id": n, "text": t}) for n, t in enumerate(rows)))
    pq.write_table(pa.table({"text": rows, "n": range(5)}), tmp_path / "b.parquet")
    with (
        pa.OSFile(str(tmp_path / "c.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, pa.schema([("text", pa.string())])) as out,
    ):
        out.write_table(pa.table({"text": rows}))
    write(tmp_path / "d.csv", 'n,text\n0,"one, two"\n1,three\n2,\n3,""\n4,"said ""five""\nsix"\n')
    wanted = [row for row in rows if row]
    for name in ("a.jsonl", "b.parquet", "c.arrow", "d.csv"):
        found, sources = documents(tmp_path / name)
        assert (found, sources.empty) == (wanted, 2), name
    write(tmp_path / "e.tsv", 'text\tlabel\n"unpaired quote\t1\n')
    assert documents(tmp_path / "e.tsv")[0] == ['"unpaired quote']
    assert documents(tmp_path / "e.tsv", text_column="2")[0] == ["label", "1"]


def test_a_saved_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    train, test = (datasets.Dataset.from_dict({"text": [name, "b"]}) for name in ("train", "test"))
    datasets.DatasetDict(train=train, test=test).save_to_disk(tmp_path / "d")
    assert documents(tmp_path / "d")[0] == ["train", "b"]


def test_wikiextractor(tmp_path):
    article = '<doc id="{0}" url="u" title="T{0}">\nT{0}\n\nBody {0}.\nMore.\n\n</doc>\n'
    redirect = '<doc id="9" url="u" title="R">\nR\n\n\n</doc>\n'
    folder = tmp_path / "AA"
    folder.mkdir()
    write(folder / "wiki_00", article.format(1) + redirect + article.format(2))
    write(folder / "wiki_01.gz", gzip.compress(article.format(3).encode()))
    write(
        folder / "wiki_02",
        json.dumps({"title": "T", "text": "Body 4."}) + "\n" + json.dumps({"title": "R", "text": ""}),
    )
    write(folder / "notes.md", "left out")
    write(folder / ".hidden.txt", "left out")
    found, sources = documents(tmp_path)
    assert found == ["T1\nBody 1.\nMore.", "T2\nBody 2.\nMore.", "T3\nBody 3.\nMore.", "Body 4."]
    assert sources.empty == 2
    assert [path.name for path in sources.left_out] == ["notes.md"]
    cut = write(tmp_path / "cut", article.format(1)[:-8])
    with pytest.raises(UserError, match="ends inside a <doc>"):
        documents(cut)


def test_long_documents_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 100)
    lines = [f"line {n} of a long document" for n in range(100)]
    one = " ".join(["word"] * 2000)
    path = write(tmp_path / "a.txt", "\n".join(lines) + "\n\n" + one)
    pieces = list(Sources([str(path)]).pieces())
    assert [piece.first for piece in pieces].count(True) == 2
    assert max(len(piece.text) for piece in pieces) <= 16 * 100
    assert " ".join(piece.text for piece in pieces).split() == " ".join([*lines, one]).split()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            b"fine\nfine\nna\xefve\n",
            r"a\.txt: not utf-8 at line 3 \(byte 12 is 0xef\); repair that line",
        ),
        ("a.txt", b"\xef\xbb\xbfab\n\xff", r"line 2 \(byte 6 is 0xff\)"),
        ("a.txt", b"cut \xe4\xb8", r"not utf-8 at line 1 \(byte 4"),
        ("a.txt", "wide".encode("utf-16"), "--encoding utf-16"),
        ("a.txt", b"PK\x03\x04\x00\x00", "line 1 holds a zero byte"),
        ("a.txt.gz", b"no gzip", "not packed as .gz"),
        ("a.txt.gz", gzip.compress(bytes(range(1, 100)) * 99)[:-20], "broken"),
        ("a.txt.xz", lzma.compress(b"text " * 999)[:-20], "broken"),
        ("a.txt.zst", zstandard.compress(b"text " * 999)[:-5], "broken"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', "line 2: must be a JSON object"),
        ("a.jsonl", b'{"text": 7}', "text is 7, which is no text"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"body": "a", "n": 1}',
            "line 2: no column text; give --text-column, one of: body, n",
        ),
        ("a.csv", b"a,b\n1,2\n", "no column text; give --text-column, one of: a, b"),
        ("a.csv", b"text,b\n1,2\n1\n", "line 3 has 1 fields and the header has 2"),
        ("a.csv", b'text,b\n"1"x,2\n', "line 2"),
        ("a.tsv", b"text\tb\n1\t2\t3\n", "line 2 has 3 fields"),
        ("a.parquet", b"no parquet", "no parquet file"),
        ("a.arrow", b"no arrow", "no arrow stream"),
        ("a.json", b"{}", "one object a line"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(UserError, match=message) as caught:
        documents(path)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_missing_sources(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.txt: no such file or folder"):
        Sources([str(tmp_path / "nothing.txt")])
    write(tmp_path / "a.pdf", "x")
    with pytest.raises(UserError, match=r"holds \.pdf; wanted are \.txt"):
        Sources([str(tmp_path)])
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "n.parquet")
    with pytest.raises(UserError, match="column text holds int64, not text"):
        documents(tmp_path / "n.parquet")
    with pytest.raises(UserError, match="--encoding klingon: not known"):
        documents(write(tmp_path / "a.txt", "x"), encoding="klingon")


def test_other_encodings(tmp_path):
    for encoding in ("utf-16", "latin-1", "gb18030", "utf-16-le"):
        text = "naïve café\nligne deux" if encoding == "latin-1" else "naïve 中文\nligne deux"
        assert documents(write(tmp_path / "a.txt", text.encode(encoding)), encoding=encoding)[0] == [text]


@pytest.mark.parametrize(
    ("language", "text", "wanted"),
    [
        ("en", "Mr. Smith went home. He slept.  Well?", ["Mr. Smith went home.", "He slept.", "Well?"]),
        (
            "en",
            "A title\nThe first sentence goes\non here. Next.",
            ["A title", "The first sentence goes\non here.", "Next."],
        ),
        (
            "zh",
            "你好吗？我很好。她说：“走吧！”\n标题\n然后走了。",
            ["你好吗？", "我很好。", "她说：“走吧！”", "标题", "然后走了。"],
        ),
    ],
)
def test_sentences(language, text, wanted):
    assert [sentence.strip() for sentence in sentences(text, language)] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        'He said "never closed. ' * 5000,
        "中文没有标点" * 3000,
        "a\nb\nc\n" * 5000,
        "  x.\n\n\n  Y z.  ",
    ],
)
def test_no_sentence_loses_text(text):
    found = sentences(text)
    assert "".join(found) == text.rstrip()
    assert all(sentence.strip() for sentence in found)
    assert max(map(len, found), default=0) <= PARAGRAPH + 10


def test_half_a_character_in_json_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "whole \\ud83d\\ude00"}\n{"text": "half \\ud83d"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl: line 2: half a character"):
        list(Sources([str(path)]).pieces())


def test_what_cannot_be_read_twice_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(UserError, match="is a pipe or a device; give a file"):
            list(Sources([str(path)]).pieces())
