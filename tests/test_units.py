"""Units larger than tokens, from text to batch: whole in every batch, for any tokenizer and language."""

import json
import random
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from unmask.commands.prepare import Prepare, summary
from unmask.errors import UserError
from unmask.objectives.masked_lm import MaskedLM
from unmask.objectives.next_sentence import NextSentence
from unmask.objectives.sentence_order import SentenceOrder
from unmask.text.borders import ENTITY, LARGER, PHRASE, WORD
from unmask.text.corpus import encoding
from unmask.text.corpus.corpus import Corpus
from unmask.text.corpus.larger import Larger
from unmask.text.corpus.preparation import Prepared, Training, prepare
from unmask.text.sampling.plan import Plan, draw, stages
from unmask.text.sources.documents import Sources
from unmask.text.sources.tagged import TaggedSources
from unmask.text.tokens import phrases
from unmask.text.tokens.tokenizer import Tokenizer

KINDS = ("wordpiece", "bpe", "unigram", "characters")
UNITS = ("token", "whole_word", "phrase", "entity", "ngram", "span")
FLAGS = {"whole_word": WORD, "ngram": WORD, "span": WORD, "phrase": PHRASE, "entity": ENTITY}
ENGLISH = {
    "words": ["the", "of", "never", "hidden", "born", "unbelievable", "in", "it's", "42", "co-op", "naïve", "and"],
    "phrases": ["long time ago", "at least", "hidden river bank", "as well as"],
    "entities": ["New York City", "J. K. Rowling", "Vasco da Gama", "River Bank", "U.S. Army"],
}
CHINESE = {
    "words": ["在", "学生", "读书", "我们", "生活", "的", "喜欢", "很", "和", "城市"],
    "phrases": ["很久以前", "不但而且", "学生生活"],
    "entities": ["哈利波特", "北京大学", "罗琳女士", "中华人民共和国", "iPhone 手机"],
}


def write_text(folder, chinese, documents=120):
    """A text whose words, phrases and entities are known, and the files that list the last two."""
    known, glue, stop = (CHINESE, "", "。") if chinese else (ENGLISH, " ", ". ")
    rng = random.Random(0)
    items = known["words"] * 3 + known["phrases"] + known["entities"]

    def sentence(words):
        return glue.join(rng.choices(items, k=words)).strip()

    texts = [stop.join(sentence(rng.randint(2, 25)) for _ in range(rng.randint(1, 9))) for _ in range(documents)]
    (folder / "text.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    for name in LARGER:
        (folder / f"{name}.txt").write_text("\n".join(known[name]) + "\n", encoding="utf-8")
    return folder / "text.txt"


def vocabulary(kind, chinese):
    """A tokenizer whose tokens hold no more than a word."""
    known = CHINESE if chinese else ENGLISH
    words = [
        word for entries in known.values() for entry in entries for word in (list(entry) if chinese else entry.split())
    ]
    return Tokenizer.train((words + known["words"]) * 20, kind, 400 if kind == "bpe" else 150)


def made(folder, chinese, kind="wordpiece", larger=True, out="corpus"):
    files = Larger(folder / "phrases.txt", folder / "entities.txt") if larger else Larger()
    options = {"processes": 1, "shard_tokens": 2000, "valid": 0, "language": "zh" if chinese else "en"}
    source = Sources([str(folder / "text.txt")])
    return prepare(source, folder / out, vocabulary(kind, chinese), larger=files, **options).corpus


@pytest.fixture(scope="module", params=[(kind, chinese) for kind in KINDS for chinese in (False, True)])
def corpus(request, tmp_path_factory):
    kind, chinese = request.param
    folder = tmp_path_factory.mktemp(f"{kind}-{chinese}")
    write_text(folder, chinese)
    return made(folder, chinese, kind)


@cache
def plan_of(folder, input_format="full_sentences", rows=16):
    return Plan(Corpus.open(folder), input_format, 64, rows)


def batches(corpus, objectives, steps=3, input_format="full_sentences", rows=16):
    """What is read and asked, and the tokens before anything was hidden."""
    plan = plan_of(corpus.folder, input_format, rows)
    for step in range(steps):
        example = draw(plan, objectives, corpus.tokenizer, 0, step)
        hidden = example.targets["masked_lm"]
        tokens = example.streams["encoder"].tokens.copy()
        tokens[hidden.index] = hidden.labels
        yield example, tokens


def numbered(stream, flag):
    """The number of each token's unit."""
    return np.cumsum(stream.begins & flag > 0)


# --- what is hidden ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", FLAGS)
@pytest.mark.parametrize("input_format", ["full_sentences", "doc_sentences"])
def test_no_unit_is_ever_split(corpus, unit, input_format):
    hides = 0
    for example, _ in batches(corpus, [MaskedLM(unit=unit, rate=0.3)], input_format=input_format):
        stream = example.streams["encoder"]
        units, ordinary = numbered(stream, FLAGS[unit]), stream.units >= 0
        hidden = np.zeros(len(units), bool)
        hidden[example.targets["masked_lm"].index] = True
        shares = np.bincount(units[ordinary], hidden[ordinary]) / np.maximum(1, np.bincount(units[ordinary]))
        assert set(shares.tolist()) == {0.0, 1.0}
        hides += hidden.sum()
    assert hides > 100


@pytest.mark.parametrize("objective", [NextSentence(), SentenceOrder()])
@pytest.mark.parametrize("unit", ["phrase", "entity"])
def test_nor_in_pairs_with_texts_of_other_documents(corpus, unit, objective):
    objectives = [objective, MaskedLM(unit=unit, rate=0.3)]
    for example, _ in batches(corpus, objectives, input_format="segment_pair"):
        stream = example.streams["encoder"]
        units = numbered(stream, FLAGS[unit])
        assert (np.diff(units)[stream.units[1:] < 0] >= 0).all()
        hidden = np.isin(np.arange(len(units)), example.targets["masked_lm"].index)
        for number in np.unique(units[hidden]):
            here = (units == number) & (stream.units >= 0)
            assert hidden[here].all()
            assert len(set(stream.sequence[here].tolist())) == 1
            assert np.diff(np.flatnonzero(here)).max(initial=1) == 1


@pytest.mark.parametrize("unit", UNITS)
def test_the_budget_of_15_percent_is_kept(corpus, unit):
    asked = total = 0
    for example, _ in batches(corpus, [MaskedLM(unit=unit)], 20, rows=40):
        asked += len(example.targets["masked_lm"].index)
        total += (example.streams["encoder"].units >= 0).sum()
    assert asked / total == pytest.approx(0.15, abs=0.012)


@pytest.mark.parametrize("unit", ["phrase", "entity"])
def test_each_token_of_a_unit_has_its_own_fate(corpus, unit):
    masked, alike = [], []
    for example, _ in batches(corpus, [MaskedLM(unit=unit, mask=0.5, random=0)], 15):
        stream, hidden = example.streams["encoder"], example.targets["masked_lm"].index
        units, fate = numbered(stream, FLAGS[unit])[hidden], stream.tokens[hidden] == corpus.tokenizer.mask
        together = units[1:] == units[:-1]
        masked += fate.tolist()
        alike += (fate[1:] == fate[:-1])[together].tolist()
    assert np.mean(masked) == pytest.approx(0.5, abs=0.05)
    assert np.mean(alike) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("unit", UNITS)
def test_special_and_unknown_tokens_are_never_chosen(corpus, unit):
    for example, tokens in batches(corpus, [MaskedLM(unit=unit, rate=0.5)]):
        assert not corpus.tokenizer.special[tokens[example.targets["masked_lm"].index]].any()


@pytest.mark.parametrize("unit", UNITS)
def test_static_maskings_come_again(corpus, unit):
    """Epochs k and k + 3 are masked alike, those between differently."""
    objective = MaskedLM(unit=unit, masking="static", dupe_factor=3)
    slots, _, epochs = plan_of(corpus.folder).slots(0)
    seen = []
    for epoch in range(6):
        *_, example = stages(slots, np.full_like(epochs, epoch), [objective], corpus.tokenizer, 0)
        seen.append(example.streams["encoder"].tokens.tolist())
    assert seen[:3] == seen[3:]
    assert len({tuple(tokens) for tokens in seen}) == 3


# --- where units are -----------------------------------------------------------------------------------------------


def units_of(corpus, flag):
    """The text of all units of several words."""
    for i in range(corpus.shards):
        shard = corpus.shard(i)
        starts = np.append(np.flatnonzero(shard.words & flag), len(shard.tokens))
        for a, b in pairwise(starts):
            if np.count_nonzero(shard.words[a:b]) > 1:
                yield re.sub(r"\W", "", corpus.tokenizer.decode(shard.tokens[a:b])).lower()


def test_units_are_those_of_the_lexicons(corpus):
    known = CHINESE if "True" in str(corpus.folder) else ENGLISH
    text = (corpus.folder.parent / "text.txt").read_text(encoding="utf-8")
    for name, flag in LARGER.items():
        found = list(units_of(corpus, flag))
        plain = {re.sub(r"\W", "", entry).lower().replace("ï", "i") for entry in known[name]}
        assert set(found) <= plain
        assert corpus.index["units"][name]["of_several_words"] == len(found)
        if known is ENGLISH:
            times = sum(text.lower().count(entry.lower()) for entry in known[name])
            assert len(found) == times > 100
        assert len(set(found)) >= len(plain) - 2  # some of the Chinese ones are one word


@pytest.mark.parametrize("chinese", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_they_never_change_tokens_words_and_sentences(tmp_path, kind, chinese):
    write_text(tmp_path, chinese, 40)
    plain = made(tmp_path, chinese, kind, larger=False, out="plain")
    with_units = made(tmp_path, chinese, kind)
    assert plain.shards == with_units.shards > 1
    for i in range(plain.shards):
        one, other = plain.shard(i), with_units.shard(i)
        assert one.words.dtype == bool and other.words.dtype == np.uint8
        assert np.array_equal(one.tokens, other.tokens)
        assert np.array_equal(one.words, other.words > 0)
        assert np.array_equal(one.sentences, other.sentences)
        assert np.array_equal(one.documents, other.documents)
        for flag in LARGER.values():
            assert set(one.sentences[:-1]) <= set(np.flatnonzero(other.words & flag))
    assert plain.index["units"] == {}
    assert plain.hash != with_units.hash


def test_a_corpus_without_them_is_as_it_was(tmp_path):
    """Its shards hold the arrays they held before there were such units."""
    from safetensors import safe_open

    write_text(tmp_path, False, 20)
    corpus = made(tmp_path, False, larger=False)
    with safe_open(corpus.files[0], framework="numpy") as file:
        assert set(file.keys()) == {"tokens", "words", "sentences", "documents", "span"}
    index = json.loads((corpus.folder / "corpus.json").read_text())
    for entry in [index, *index["shards"]]:
        del entry["units"]
    (corpus.folder / "corpus.json").write_text(json.dumps(index))
    again = Corpus.open(corpus.folder)
    assert "phrases" not in summary(Prepared(again, 0.0, 0), 0)
    plan = Plan(again, length=32, rows_per_step=2)
    assert draw(plan, [MaskedLM(unit="whole_word")], again.tokenizer, 0, 0).streams["encoder"].begins is None


def test_processes_and_a_kill_change_nothing(tmp_path, monkeypatch):
    write_text(tmp_path, False)
    monkeypatch.setattr(phrases, "THRESHOLDS", (4.0, 3.0))
    larger = Larger("auto", tmp_path / "entities.txt")
    options = {"valid": 0.1, "shard_tokens": 1000, "larger": larger}
    source = Sources([str(tmp_path / "text.txt")])
    monkeypatch.setattr(encoding, "BATCH", 2000)
    whole = prepare(source, tmp_path / "one", Training("wordpiece", 200), processes=1, **options).corpus
    two = prepare(source, tmp_path / "two", Training("wordpiece", 200), processes=2, **options).corpus
    assert whole.hash == two.hash
    assert (whole.folder / "phrases.txt").read_text() == (two.folder / "phrases.txt").read_text()
    (two.folder / "corpus.json").unlink()
    for file in sorted((two.folder / "shards").iterdir())[2:]:
        file.unlink()
    again = prepare(source, tmp_path / "two", Training("wordpiece", 200), processes=1, **options)
    assert again.new_tokens > 0 and again.corpus.hash == whole.hash


def test_phrases_are_found_in_the_text_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(phrases, "THRESHOLDS", (4.0, 3.0))
    write_text(tmp_path, False)
    corpus = prepare(Sources([str(tmp_path / "text.txt")]), tmp_path / "c", Training(), larger=Larger("auto")).corpus
    listed = [line.split("\t") for line in (tmp_path / "c" / "phrases.txt").read_text().splitlines()]
    assert {"hidden river bank", "vasco da gama", "long time ago"} <= {text for text, *_ in listed}
    assert all(float(score) >= 3 and int(times) > 5 for _, score, times in listed)
    found = set(units_of(corpus, PHRASE))
    assert found <= {re.sub(r"\W", "", text) for text, *_ in listed}
    assert "phrases: " in summary(Prepared(corpus, 0.0, 0), 0)


# --- words that a tagger has marked --------------------------------------------------------------------------------

CONLL = """-DOCSTART- -X- O O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
visited VBD B-VP O
New NNP B-NP I-LOC
York NNP I-NP I-LOC
City NNP I-NP I-LOC
. . O O

It PRP B-NP O
's VBZ B-VP O
unbelievable JJ B-ADJP O

-DOCSTART- -X- O O

We PRP B-NP O
"""


def tagged(folder, text=CONLL, kind="wordpiece", boundary="auto", columns=(("phrases", 3), ("entities", 4)), word=1):
    path = folder / "tagged.conll"
    path.write_text(text, encoding="utf-8")
    sources = TaggedSources([str(path)], boundary=boundary, word=word, columns=columns)
    size = 300 if kind == "bpe" else 60
    return prepare(sources, folder / "tagged", Training(kind, size), valid=0, overwrite=True).corpus


@pytest.mark.parametrize("kind", KINDS)
def test_tags_say_where_units_are(tmp_path, kind):
    corpus = tagged(tmp_path, kind=kind)
    shard = corpus.shard(0)
    assert (corpus.documents, corpus.sentences, corpus.words) == (2, 3, 11)
    assert shard.words[shard.words > 0].tolist() == [7, 1, 7, 7, 1, 1, 7, 7, 7, 7, 7]
    decoded = corpus.tokenizer.decode(shard.tokens).lower().replace(" ", "")
    assert decoded == "peterblackburnvisitednewyorkcity.it'sunbelievablewe"


def test_a_sentence_can_be_a_document(tmp_path):
    assert tagged(tmp_path, boundary="empty_line").documents == 3


def test_chinese_characters_as_words(tmp_path):
    text = "哈 B-PER\n利 M-PER\n波 M-PER\n特 E-PER\n在 O\n北 B-LOC\n京 E-LOC\n。 O\n"
    corpus = tagged(tmp_path, text, "characters", columns=(("entities", 2),))
    words = corpus.shard(0).words
    assert words[words > 0].tolist() == [5, 1, 1, 1, 5, 5, 1, 5]


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["phrase", "entity"])
def test_a_corpus_without_them_is_refused_in_one_line(tmp_path, unit):
    write_text(tmp_path, False, 20)
    corpus = made(tmp_path, False, larger=False)
    with pytest.raises(UserError, match=f"unit {unit}: no .* known in this text; give --"):
        next(batches(corpus, [MaskedLM(unit=unit)]))


REFUSED = {
    "an empty lexicon": ({"entities": "empty.txt"}, "empty.txt: holds 0 entries"),
    "names in other letters": ({"entities": "greek.txt"}, "greek.txt: holds 2 entries, none of which can be found"),
    "another encoding": ({"entities": "latin.txt"}, "latin.txt: not utf-8 at line 2; give a text file in utf-8"),
    "no such file": ({"entities": "names.txt"}, "names.txt: cannot be read"),
    "no phrases to learn": ({"phrases": "auto"}, "the text shows no phrases"),
    "tags of another kind": ({"phrase_column": 2}, "tagged.conll:2: the tag NNP marks no stretch"),
    "too few columns": ({"entity_column": 5}, "tagged.conll:2: has 4 columns; there is no entities column 5"),
    "no word column": ({"entity_column": 4, "word_column": 9}, "there is no word column 9"),
    "a folder of columns": ({"entity_column": 4, "sources": ["."]}, "read from files, not from folders"),
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_prepared_is_refused_in_one_line(tmp_path, monkeypatch, options):
    given, told = options
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "greek.txt").write_text("Ἀθῆναι\nΣπάρτη\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("Bern\nZürich\n".encode("latin-1"))
    (tmp_path / "tagged.conll").write_text("\nPeter NNP B-NP B-PER\nsleeps VBZ B-VP O\n")
    (tmp_path / "text.txt").write_text("One small text. It says little.")
    columns = "phrase_column" in given or "entity_column" in given
    options = {"sources": ["tagged.conll" if columns else "text.txt"], "out": "out", "vocab_size": 60, **given}
    with pytest.raises(UserError, match=re.escape(told)):
        Prepare(**options).run()
    assert not (tmp_path / "out" / "corpus.json").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"phrases": "auto", "phrase_column": 3}, "phrase_column 3 and auto both say what there is"),
        ({"entities": "names.txt", "entity_column": 3}, "entity_column 3 and names.txt both"),
        ({"word_column": 2}, "word_column is of sources in columns"),
    ],
)
def test_options_that_do_not_go_together(given, told):
    with pytest.raises(ValueError, match=told):
        Prepare(sources=["x"], out="out", **given)


def test_another_lexicon_is_another_corpus(tmp_path):
    write_text(tmp_path, False, 20)
    options = {"sources": [str(tmp_path / "text.txt")], "out": tmp_path / "c", "entities": tmp_path / "entities.txt"}
    Prepare(**options, vocab_size=100).run()
    assert Prepare(**options, vocab_size=100).run().new_tokens == 0
    (tmp_path / "entities.txt").write_text("hidden river\n")
    with pytest.raises(UserError, match=r"was prepared otherwise .*entities_hash"):
        Prepare(**options, vocab_size=100).run()


CONLL2000 = Path(__file__).parents[2] / "shared" / "data" / "conll2000" / "test.txt"


@pytest.mark.skipif(not CONLL2000.exists(), reason="needs the data set")
def test_the_chunks_of_conll2000_are_its_phrases(tmp_path):
    corpus = (
        Prepare(sources=[str(CONLL2000)], out=tmp_path / "c", phrase_column=3, documents="empty_line", valid=0)
        .run()
        .corpus
    )
    rows = [line.split() for line in CONLL2000.read_text().splitlines() if line]
    assert corpus.documents == corpus.sentences == 2012 and corpus.words == len(rows)
    begins = [tag[0] != "I" for *_, tag in rows]
    words = corpus.shard(0).words
    assert (words[words > 0] & PHRASE > 0).tolist() == begins
