"""A corpus on disk says what the text said, is the same however often it was killed, and is never half there."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from unmask.commands.prepare import Prepare
from unmask.errors import UserError
from unmask.text.corpus import encoding
from unmask.text.corpus.corpus import Corpus
from unmask.text.corpus.preparation import Training, prepare
from unmask.text.corpus.shards import smallest_type
from unmask.text.corpus.writing import held_out
from unmask.text.sources import documents
from unmask.text.sources.documents import Sources
from unmask.text.sources.sentences import sentences
from unmask.text.tokens.tokenizer import Tokenizer

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "apples",
    "bananas",
    "river",
    "bank",
    "model",
    "hidden",
    "text",
    "never",
    "token",
]


def text_of(documents, seed=0, sentences_each=6):
    """Documents of a few sentences with some empty lines between them."""
    rng = random.Random(seed)
    sentence = lambda: " ".join(rng.choices(WORDS, k=rng.randint(3, 9))).capitalize() + "."  # noqa: E731
    return "\n\n".join(" ".join(sentence() for _ in range(rng.randint(1, sentences_each))) for _ in range(documents))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(text_of(300))
    return path


def made(source, out, **options):
    options = {"processes": 1, "shard_tokens": 1000, **options}
    tokenizer = options.pop("tokenizer", Training("wordpiece", 200))
    return prepare(Sources([str(source)]), out, tokenizer, **options).corpus


def digest(folder):
    """Name and content of all that a corpus consists of."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "characters"])
def test_a_corpus_holds_the_text(source, tmp_path, kind):
    corpus = made(source, tmp_path / "c", valid=0, tokenizer=Training(kind, 300))
    tokenizer = corpus.tokenizer
    documents = source.read_text().split("\n\n")
    assert (corpus.documents, corpus.valid) == (300, None)
    assert corpus.shards > 3
    n = 0
    for i in range(corpus.shards):
        shard = corpus.shard(i)
        assert isinstance(shard.tokens, np.memmap) and shard.tokens.dtype == smallest_type(tokenizer.size)
        assert shard.first_document == n
        assert set(shard.documents) <= set(shard.sentences)
        for begin, end in zip(shard.documents[:-1], shard.documents[1:], strict=True):
            (pieces,) = tokenizer.encode([documents[n]])
            assert shard.tokens[begin:end].tolist() == pieces.ids.tolist()
            assert shard.words[begin:end].tolist() == pieces.word_starts.tolist()
            cuts = [s for s in shard.sentences if begin <= s < end]
            assert len(cuts) == len(sentences(documents[n]))
            n += 1
    assert n == 300
    totals = [
        sum(corpus.shard(i).words.sum() for i in range(corpus.shards)),
        sum(len(corpus.shard(i).sentences) - 1 for i in range(corpus.shards)),
    ]
    assert totals == [corpus.words, corpus.sentences]


def test_some_documents_are_held_out(source, tmp_path):
    corpus = made(source, tmp_path / "c", valid=0.1)
    chosen = [n for n in range(300) if held_out(n, 10)]
    assert corpus.valid.documents == len(chosen) == 31
    assert corpus.documents == 269
    documents = source.read_text().split("\n\n")
    shard = corpus.valid.shard(0)
    first = shard.tokens[: shard.documents[1]]
    assert corpus.tokenizer.decode(first) == documents[chosen[0]].lower()
    assert Corpus.open(tmp_path / "c" / "valid").hash == corpus.valid.hash != corpus.hash


def test_one_document_is_enough(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("Only one document. With two sentences.")
    corpus = made(path, tmp_path / "c")
    assert (corpus.documents, corpus.sentences, corpus.valid) == (1, 2, None)


def test_processes_change_nothing(source, tmp_path, monkeypatch):
    one = made(source, tmp_path / "one")
    monkeypatch.setattr(encoding, "BATCH", 2000)
    two = made(source, tmp_path / "two", processes=2)
    assert one.hash == two.hash
    ours, theirs = digest(tmp_path / "one"), digest(tmp_path / "two")
    assert {name: ours[name] for name in ours if "json" not in name} == {
        n: theirs[n] for n in theirs if "json" not in n
    }


def test_a_document_longer_than_a_shard_is_split_and_counted(tmp_path, monkeypatch):

    monkeypatch.setattr(documents, "LONGEST", 2000)
    path = tmp_path / "long.txt"
    path.write_text(
        text_of(1, sentences_each=1) + "\n\n" + text_of(500, 1).replace("\n\n", "\n") + "\n\n" + text_of(20, 2)
    )
    corpus = made(path, tmp_path / "c", valid=0)
    assert corpus.index["split_documents"] > 0
    assert corpus.documents == 22 + corpus.index["split_documents"]
    again = "".join(corpus.tokenizer.decode(corpus.shard(i).tokens) + " " for i in range(corpus.shards))
    assert (
        again.split()
        == corpus.tokenizer.decode(np.concatenate([p.ids for p in corpus.tokenizer.encode([path.read_text()])])).split()
    )


def test_unknown_tokens_are_counted(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("plain words " * 5000 + "\u0e01 \u0e02\n")
    corpus = made(path, tmp_path / "c", valid=0)
    assert corpus.index["unknown"] == 2 == np.count_nonzero(corpus.shard(0).tokens == corpus.tokenizer.unk)


def test_empty_documents_are_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": t}) for t in ["A text.", "", " ", None, "\u200b\u200e", "Another."]))
    corpus = made(path, tmp_path / "c", valid=0)
    assert corpus.documents == 2
    assert corpus.index["empty_documents"] == 4


def test_smaller_than_the_text(source, tmp_path):
    long = tmp_path / "long.txt"
    long.write_text(text_of(3000))
    made(long, tmp_path / "c", shard_tokens=100_000, tokenizer=Training("bpe", 2000))
    stored = sum(path.stat().st_size for path in (tmp_path / "c").rglob("*.safetensors"))
    assert stored < long.stat().st_size


def test_settings_decide_whether_a_folder_is_used_again(source, tmp_path):
    out = tmp_path / "c"
    first = made(source, out, settings={"vocab_size": 200})
    before = digest(out)
    done = prepare(Sources([str(source)]), out, Training("wordpiece", 200), settings={"vocab_size": 200})
    assert (done.new_tokens, done.corpus.hash, digest(out)) == (0, first.hash, before)
    with pytest.raises(UserError, match="vocab_size: 200 -> 300"):
        made(source, out, settings={"vocab_size": 300})
    source.write_text(text_of(310))
    with pytest.raises(UserError, match=r"1 files changed, the first .*text\.txt.*--overwrite"):
        made(source, out, settings={"vocab_size": 200})
    assert digest(out) == before
    again = made(source, out, settings={"vocab_size": 200}, overwrite=True)
    assert again.hash != first.hash
    assert again.documents + again.valid.documents == 310


KILLED = """
import sys
from pathlib import Path
from unmask.text.corpus.preparation import prepare
from unmask.text.sources.documents import Sources
from unmask.text.tokens.tokenizer import Tokenizer
source, out, vocabulary = sys.argv[1:]
prepare(Sources([source]), Path(out), Tokenizer.load(vocabulary), processes=1, shard_tokens=2000, valid=0.1)
"""


def test_killed_at_any_moment_it_goes_on(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(text_of(6000))
    vocabulary = tmp_path / "vocabulary"
    Tokenizer.train([text_of(50)], "wordpiece", 200).save(vocabulary)
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "killed"), str(vocabulary)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    rng, kept = random.Random(0), []
    shards = tmp_path / "killed" / "shards"
    for _ in range(5):
        there = len(list(shards.glob("*")))
        process = subprocess.Popen(command, env=environment)
        while process.poll() is None and len(list(shards.glob("*"))) < there + rng.randint(1, 6):
            time.sleep(0.001)
        time.sleep(rng.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept.append(len(list(shards.glob("*.safetensors"))))
        if (tmp_path / "killed" / "corpus.json").exists():
            break
        with pytest.raises(UserError, match="never finished"):
            Corpus.open(tmp_path / "killed")
    assert len(kept) > 3 and sorted(kept) == kept, "it was killed at work, and no work was lost"
    subprocess.run(command, env=environment, check=True)
    whole = prepare(
        Sources([str(path)]),
        tmp_path / "whole",
        Tokenizer.load(vocabulary),
        processes=1,
        shard_tokens=2000,
        valid=0.1,
    )
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
    assert whole.corpus.shards > kept[-1] or (tmp_path / "killed" / "corpus.json").exists()


CHILD = "import os, time; from unmask.text.corpus.encoding import _end_with as end; end(os.getppid()); time.sleep(300)"
PARENT = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {CHILD!r}]); time.sleep(300)"


def test_who_helps_a_killed_process_ends_with_it():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    time.sleep(3)
    parent.kill()
    parent.communicate(timeout=60)  # its child holds the same pipe: this returns when it has ended too


def test_two_at_once(source, tmp_path):
    from filelock import FileLock

    (tmp_path / "c").mkdir()
    with FileLock(tmp_path / "c" / ".lock"), pytest.raises(UserError, match="another process"):
        made(source, tmp_path / "c")
    assert made(source, tmp_path / "c").documents


def test_nothing_is_left_of_what_had_no_text(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n\n")
    for tokenizer in (Training(), Tokenizer.train(["some text"], vocab_size=50)):
        with pytest.raises(UserError, match="no text"):
            made(tmp_path / "empty.txt", tmp_path / "c", tokenizer=tokenizer)
        assert not (tmp_path / "c").exists()
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\n")
    with pytest.raises(UserError, match=r"bad\.txt: not utf-8 at line 2"):
        made(tmp_path / "bad.txt", tmp_path / "c")
    assert not (tmp_path / "c").exists()
    with pytest.raises(UserError, match="not utf-8"):
        made(tmp_path / "bad.txt", tmp_path / "new" / "folders" / "c")
    assert not (tmp_path / "new").exists()


def test_folders_that_are_no_corpus(source, tmp_path):
    with pytest.raises(UserError, match="holds no corpus"):
        Corpus.open(tmp_path / "nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"holds thesis\.tex and is no corpus"):
            made(source, tmp_path / "full", overwrite=overwrite)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    assert (tmp_path / "full" / "thesis.tex").read_text() == "dear"
    with pytest.raises(UserError, match="cannot be written"):
        made(source, source / "below")


def test_a_damaged_corpus_is_named(source, tmp_path):
    corpus = made(source, tmp_path / "c")
    shard = corpus.files[0]
    content = shard.read_bytes()
    shard.write_bytes(content[:-10])
    with pytest.raises(UserError, match=r"00000\.safetensors: missing or not whole"):
        Corpus.open(tmp_path / "c")
    shard.write_bytes(b"\xff" * len(content))
    with pytest.raises(UserError, match="no shard of a corpus"):
        Corpus.open(tmp_path / "c").shard(0)
    shard.write_bytes(content)
    Tokenizer.train([text_of(9, 9)], vocab_size=90).save(tmp_path / "c")
    with pytest.raises(UserError, match=r"tokenizer\.json is not the one"):
        _ = Corpus.open(tmp_path / "c").tokenizer
    index = tmp_path / "c" / "corpus.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "format": 99}))
    with pytest.raises(UserError, match="another format"):
        Corpus.open(tmp_path / "c")


def test_the_command(source, tmp_path, capsys):
    config = Prepare(sources=[str(source)], out=tmp_path / "c", vocab_size=200, valid=0.1)
    done = config.run()
    said = capsys.readouterr().err
    assert f"{done.corpus.tokens:,} tokens" in said and "held out" in said
    assert done.corpus.tokenizer.size <= 200
    assert config.run().new_tokens == 0
    assert "nothing done" in capsys.readouterr().err
    with pytest.raises(UserError, match="lowercase: None -> False"):
        Prepare(sources=[str(source)], out=tmp_path / "c", vocab_size=200, valid=0.1, lowercase=False).run()


def test_the_command_needs_no_torch():
    code = "import sys, unmask.commands.prepare; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


CORPORA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.skipif(not CORPORA.is_dir(), reason="real corpora not at hand")
def test_chinese_wikipedia(tmp_path):
    vocabulary = Tokenizer.load(CORPORA / "vocab" / "google_zh_vocab.txt")
    source = CORPORA / "zh_wikipedia" / "AA" / "wiki_24.gz"
    corpus = prepare(Sources([str(source)]), tmp_path / "c", vocabulary, language="zh").corpus
    assert 1.3 < corpus.tokens / corpus.words < 2.2, "words of one to four characters"
    assert 10 < corpus.tokens / corpus.sentences < 60
    assert corpus.index["empty_documents"] > 100, "redirects"
