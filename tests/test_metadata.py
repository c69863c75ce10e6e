"""Articles with fields, from a table to what a model writes: `prepare --fields` and `metadata_lm`."""

import csv
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
import torch

from unmask import calls
from unmask.commands.generate import Generate
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.inference import building
from unmask.inference.loading import load
from unmask.inference.model import Model
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.objectives.causal_lm import CausalLM
from unmask.objectives.masked_lm import MaskedLM
from unmask.objectives.metadata_lm import MetadataLM
from unmask.text.sampling.plan import Plan, draw, stages
from unmask.text.tokens.fields import fields_of, marks, prompt
from unmask.text.tokens.tokenizer import Tokenizer

KINDS = ("wordpiece", "bpe", "unigram", "characters")
FIELDS = ("date", "author", "headline")
ENGLISH = [
    {"date": 1957, "author": ["J. R. Firth"], "headline": "Words and company", "text": "You know a word. It is kept."},
    {"date": 2018, "author": ["A. Lee", "B. Wu"], "headline": "", "text": "Read it here.\nThen <|text|> there."},
    {"date": None, "author": [], "headline": "Short", "text": "One sentence only"},
]
CHINESE = [
    {
        "date": "一九五七年",
        "author": ["弗斯"],
        "headline": "词与伴",
        "text": "要知道一个词的意思。就看它与哪些词为伴。",
    },
    {"date": "", "author": ["李雷", "韩梅梅"], "headline": "渡船", "text": "渡船中午离开港口。没有人等它。"},
]


def write(folder, rows):
    path = folder / "articles.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def made(folder, rows, kind="wordpiece", **options):
    size = 420 if kind == "bpe" else 130
    given = {"fields": list(FIELDS), "tokenizer_kind": kind, "vocab_size": size, "valid": 0, **options}
    return Prepare(sources=[str(write(folder, rows))], out=folder / "corpus", **given).run().corpus


def articles(count):
    """Each with its own author and date; sentences of several lengths."""
    rng = np.random.default_rng(0)

    def words(n):
        return " ".join(f"w{i}" for i in rng.integers(0, 40, n))

    return [
        {"date": f"{1900 + n}", "author": words(2), "headline": words(4),
         "text": " ".join(f"A {words(k)}." for k in rng.integers(2, 9, rng.integers(1, 6)))}
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return made(tmp_path_factory.mktemp("articles"), articles(150))


def parts_of(tokens, tokenizer):
    """The fields of one article in the order they come, as (name, tokens without the marks, whether it ends)."""
    known = {begin: (name, end) for name, (begin, end) in fields_of(tokenizer).items()}
    at = [n for n, token in enumerate(tokens) if token in known] + [len(tokens)]
    found = []
    for a, b in pairwise(at):
        name, end = known[tokens[a]]
        whole = tokens[b - 1] == end
        found.append((name, tokens[a + 1 : b - whole], whole))
    return found


def sequences(corpus, objective, step=0, epoch=None, rows=16, length=64):
    """What is read, a list of tokens for each sequence without [CLS] and [SEP]."""
    plan = Plan(corpus, "doc_sentences", length, rows)
    slots, _, epochs = plan.slots(step)
    epochs = epochs if epoch is None else np.full_like(epochs, epoch)
    first, _ = stages(slots, epochs, [objective], corpus.tokenizer, 0)
    stream = first.streams["encoder"]
    return [text[1:-1].tolist() for text in np.split(stream.tokens, stream.starts[1:])]


# --- prepare -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [ENGLISH, CHINESE], ids=["en", "zh"])
@pytest.mark.parametrize("kind", KINDS)
def test_fields_stand_between_their_tokens(tmp_path, kind, rows):
    corpus = made(tmp_path, rows, kind, language="zh" if rows is CHINESE else "en", lowercase=False)
    shard, tokenizer = corpus.shard(0), corpus.tokenizer
    assert list(fields_of(tokenizer)) == [*FIELDS, "text"]
    assert corpus.documents == len(rows) and (shard.words[np.isin(shard.tokens, marked(tokenizer))]).all()
    for (a, b), row in zip(pairwise(shard.documents), rows, strict=True):
        found = {name: tokens for name, tokens, whole in parts_of(shard.tokens[a:b].tolist(), tokenizer) if whole}
        wanted = {name: value if isinstance(value, str) else str(value) if isinstance(value, int)
                  else ", ".join(value or []) for name, value in row.items()}  # fmt: skip
        assert list(found) == [name for name in wanted if wanted[name]]
        for name, tokens in found.items():
            assert letters(tokenizer.decode(tokens)) == letters(wanted[name])
            assert not np.isin(tokens, marked(tokenizer)).any()


def letters(text):
    return "".join(text.split())


def marked(tokenizer):
    return tokenizer.ids(tokenizer.extra)


def test_fields_go_with_the_first_sentence(tmp_path):
    corpus = made(tmp_path, ENGLISH)
    shard, begins = corpus.shard(0), [begin for begin, _ in fields_of(corpus.tokenizer).values()]
    assert corpus.sentences == 2 + 2 + 1
    for a, b in pairwise(shard.sentences):
        assert bool(np.isin(shard.tokens[a:b], begins).any()) == (a in shard.documents)


def test_tables_of_all_kinds_give_the_same(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{name: str(value) for name, value in row.items()} for row in articles(20)]
    (tmp_path / "tokenizer").mkdir()
    Tokenizer.train([" ".join(row.values()) for row in rows], "wordpiece", 100).save(tmp_path / "tokenizer")
    names = list(rows[0])
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, *(row.values() for row in rows)])
    (tmp_path / "a.tsv").write_text("\n".join("\t".join(row.values()) for row in rows) + "\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    write(tmp_path, rows).rename(tmp_path / "a.jsonl")
    tokens = []
    for kind in ("csv", "tsv", "parquet", "jsonl"):
        columns = {"fields": ["1", "2", "3"], "text_column": "4"} if kind == "tsv" else {"fields": list(FIELDS)}
        given = {"sources": [str(tmp_path / f"a.{kind}")], "out": tmp_path / kind, "valid": 0, **columns}
        tokens.append(Prepare(**given, tokenizer=tmp_path / "tokenizer").run().corpus.shard(0).tokens.tolist())
    assert tokens[0] == tokens[1] == tokens[2] == tokens[3]


def test_fields_change_nothing_else(tmp_path):
    """Without them a table's text is what it was; with them it is the same between its tokens."""
    rows = articles(30)
    plain = made(tmp_path, rows, fields=[], vocab_size=130 - len(marks([*FIELDS, "text"])))
    assert not fields_of(plain.tokenizer)
    again = made(tmp_path, rows, overwrite=True, tokenizer=tmp_path / "corpus", fields=list(FIELDS))
    shard, found = again.shard(0), []
    for a, b in pairwise(shard.documents):
        parts = {name: tokens for name, tokens, _ in parts_of(shard.tokens[a:b].tolist(), again.tokenizer)}
        found += parts["text"]
    assert (
        Prepare(
            sources=[str(tmp_path / "articles.jsonl")], out=tmp_path / "plain", tokenizer=tmp_path / "corpus", valid=0
        )
        .run()
        .corpus.shard(0)
        .tokens.tolist()
        == found
    )


REFUSED = {
    "a column that is not there": ({"fields": ["date", "lede"]}, "no column lede; give --fields, one of: date"),
    "no table": ({"sources": ["plain.txt"]}, "plain.txt: is no table and has no fields"),
    "a field of other things": ({"sources": ["odd.jsonl"], "fields": ["date"]}, "line 1: date is"),
    "another tokenizer's fields": ({"tokenizer": "other"}, "the tokenizer has place, text, date"),
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_prepared_is_refused_in_one_line(tmp_path, monkeypatch, options):
    given, told = options
    monkeypatch.chdir(tmp_path)
    write(tmp_path, ENGLISH)
    (tmp_path / "plain.txt").write_text("A text.")
    (tmp_path / "odd.jsonl").write_text('{"date": {"year": 1957}, "text": "a"}\n')
    Tokenizer.train(["a text"], "characters", 60).plus(marks(["place", "text"])).save(tmp_path / "other")
    options = {"sources": ["articles.jsonl"], "out": "out", "fields": list(FIELDS), "vocab_size": 90, **given}
    with pytest.raises(UserError, match=told):
        Prepare(**options).run()
    assert not (tmp_path / "out" / "corpus.json").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fields": ["text"]}, "text is named twice"),
        ({"fields": ["a|b"]}, "cannot be the name of a token"),
        ({"fields": ["date"], "phrase_column": 2}, "give one"),
    ],
)
def test_options_that_do_not_go_together(given, told):
    with pytest.raises(ValueError, match=told):
        Prepare(sources=["x"], out="out", **given)


# --- the objective -------------------------------------------------------------------------------------------------


def test_every_field_is_whole_and_the_sets_keep_the_usual_order(corpus):
    """One set after the other: names may begin anew once, and each is there once at most."""
    plain, order = sequences(corpus, CausalLM()), [*FIELDS, "text"]
    for before, after in zip(plain, sequences(corpus, MetadataLM(dropout=0, text_alone=0)), strict=True):
        assert Counter(before) == Counter(after)
        whole, moved = parts_of(before, corpus.tokenizer), parts_of(after, corpus.tokenizer)
        assert sorted(map(repr, whole)) == sorted(map(repr, moved))
        places = [order.index(name) for name, *_ in moved]
        assert sum(b < a for a, b in pairwise(places)) <= 1
        if not whole or before[0] not in (begin for begin, _ in fields_of(corpus.tokenizer).values()):
            head = before[: len(before) - sum(len(t) + 1 + w for _, t, w in whole)]
            assert after[: len(head)] == head  # an article's text goes on


def test_all_orders_come(corpus):
    """Every division of four fields into two sets: 2^4, of which those that come to the usual order are one."""
    seen = Counter()
    for epoch in range(40):
        for text in sequences(corpus, MetadataLM(dropout=0, text_alone=0), epoch=epoch, rows=30):
            names = tuple(name for name, *_ in parts_of(text, corpus.tokenizer))
            seen[names] += len(names) == 4
    counts = np.array([count for count in seen.values() if count])
    usual = seen[(*FIELDS, "text")] / counts.sum()
    assert len(counts) == 2**4 - 4
    assert usual == pytest.approx(5 / 16, abs=0.04)


def test_fields_are_left_out_as_often_as_asked(corpus):
    there, alone, articles = Counter(), 0, 0
    for epoch in range(30):
        for text in sequences(corpus, MetadataLM(), epoch=epoch, rows=30):
            names = [name for name, *_ in parts_of(text, corpus.tokenizer)]
            if "text" in names:
                there.update(names)
                articles += 1
                alone += names == ["text"]
    assert there["text"] == articles > 1000
    for name in FIELDS:
        assert there[name] / articles == pytest.approx(0.65 * 0.9, abs=0.03)
    assert alone / articles == pytest.approx(0.35 + 0.65 * 0.1**3, abs=0.03)


def test_every_token_asks_for_the_next(corpus):
    example = draw(Plan(corpus, "doc_sentences", 64, 16), [MetadataLM()], corpus.tokenizer, 0, 0)
    stream, asked = example.streams["encoder"], example.targets["causal_lm"]
    assert np.array_equal(asked.labels, stream.tokens[asked.index + 1])
    silent = np.setdiff1d(np.arange(len(stream.tokens)), asked.index)
    ends = np.concatenate([stream.starts + stream.lengths - 2, stream.starts + stream.lengths - 1])
    unknown = np.flatnonzero(stream.tokens == corpus.tokenizer.unk) - 1
    assert set(silent.tolist()) == set(ends.tolist()) | set(unknown.tolist())


def test_other_objectives_see_fields_as_special_tokens(corpus):
    example = draw(Plan(corpus, "full_sentences", 64, 16), [MaskedLM(rate=0.5)], corpus.tokenizer, 0, 0)
    hidden = example.targets["masked_lm"]
    assert not np.isin(hidden.labels, marked(corpus.tokenizer)).any()


def test_a_text_without_fields_is_refused(tmp_path):
    corpus = made(tmp_path, articles(40), fields=[])
    with pytest.raises(UserError, match="metadata_lm: this text has no fields; prepare a table with --fields"):
        draw(Plan(corpus, "doc_sentences", 32, 4), [MetadataLM()], corpus.tokenizer, 0, 0)


def test_company_is_refused():
    with pytest.raises(ValueError, match="fields that it orders itself; masked_lm does not fit"):
        MetadataLM().beside({"metadata_lm": MetadataLM(), "masked_lm": MaskedLM()})


def test_a_base_whose_tokens_mean_other_fields_is_refused(tmp_path):
    rows = articles(60)
    made(tmp_path, rows, fields=["date", "author"])
    small = {"length": 32, "batch_size": 4, "steps": 1, "model": {"name": "gpt2-tiny", "width": 32}}
    few = {"objective": "metadata_lm", **small}
    calls.call(Pretrain, tmp_path / "corpus", out=tmp_path / "a", **few)
    tokenizer = Tokenizer.load(tmp_path / "corpus")
    assert list(fields_of(load(tmp_path / "a").tokenizer)) == ["date", "author", "text"]
    for given in (["date"], ["headline", "date"]):
        tokenizer = without_fields(tokenizer)
        tokenizer.save(tmp_path / "plain")
        made(tmp_path, rows, fields=given, tokenizer=tmp_path / "plain", overwrite=True)
        with pytest.raises(UserError, match="has another tokenizer than"):
            calls.call(Pretrain, tmp_path / "corpus", base=str(tmp_path / "a"), out=tmp_path / "b",
                       **{name: value for name, value in few.items() if name != "model"})  # fmt: skip


def without_fields(tokenizer):
    rules = json.loads(tokenizer.backend.to_str())
    rules["added_tokens"] = [token for token in rules["added_tokens"] if token["content"] not in tokenizer.extra]
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(rules)), tokenizer.names)


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_prompt_is_what_stands_before_a_field(corpus):
    tokenizer = corpus.tokenizer
    ids, end = prompt(tokenizer, {"headline": "w1 w2", "date": "1901"}, "text")
    spelled = " ".join(tokenizer.tokens(ids))
    assert spelled.startswith("[CLS] <|date|> ") and spelled.endswith(" <|/headline|> <|text|>")
    assert spelled.index("<|/date|>") < spelled.index("<|headline|>")
    assert tokenizer.tokens([end]) == ["<|/text|>"]
    with pytest.raises(UserError, match="field lede: not known to this tokenizer; date, author, headline, text"):
        prompt(tokenizer, {"lede": "x"}, "text")
    with pytest.raises(UserError, match="field text: is given already"):
        prompt(tokenizer, {"text": "x"}, "text")


def test_any_field_is_written_from_any_others(tmp_path):
    """Learned by heart: each article's fields say which it is, so each can be told from every other set of them."""
    rows = [{**row, "text": row["text"].split(".")[0] + "."} for row in articles(6)]
    corpus = made(tmp_path, rows)
    tokenizer = corpus.tokenizer
    shape = Shape(vocab_size=tokenizer.size, width=64, layers=2, heads=2, feed_forward=128, max_length=64, dropout=0,
                  attention_dropout=0, causal=True)  # fmt: skip
    objective, plan = MetadataLM(dropout=0.3, text_alone=0), Plan(corpus, "doc_sentences", 64, 2)
    torch.manual_seed(0)
    network = building.network_of(shape, [objective])
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(400):
        loss = objective.loss(network, collate(draw(plan, [objective], tokenizer, 0, step)))["causal_lm"]
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
    model, right = Model("here", shape, network.eval(), tokenizer), Counter()
    for row in rows:
        for wanted in row:
            others = [name for name in row if name != wanted]
            for given in ([name] for name in others), (others,):
                for names in given:
                    written = model.write(wanted, {name: row[name] for name in names}, max_new_tokens=20)
                    right[written == tokenizer.decode(tokenizer.encode([row[wanted]], specials=False)[0].ids)] += 1
    assert right[True] / right.total() > 0.9
    drawn = {model.write("headline", seed=seed, sample=True, top_p=0.95, max_new_tokens=20) for seed in range(20)}
    heads = {tokenizer.decode(tokenizer.encode([row["headline"]])[0].ids) for row in rows}
    assert len(drawn & heads) > 2  # of nothing but the field that is wanted


def test_fields_are_written_on_the_command_line(tmp_path, capsys):
    made(tmp_path, articles(60))
    calls.call(Pretrain, tmp_path / "corpus", out=tmp_path / "a", objective="metadata_lm", length=32, batch_size=4,
               steps=1, model={"name": "gpt2-tiny", "width": 32})  # fmt: skip
    rows = ['{"date": "1901", "headline": "not looked at"}', "{}"]
    given = {"write": "headline", "max_new_tokens": 5, "sample": True, "top_p": 0.9}
    written = calls.call(Generate, tmp_path / "a", *rows, **given)
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    capsys.readouterr()
    assert calls.call(Generate, tmp_path / "a", file=tmp_path / "rows.jsonl", **given) == written
    assert len(capsys.readouterr().out.splitlines()) == 2
    for text, told in (("a text", "text 1: a text is no row of fields"), ('{"lede": "x"}', "field lede: not known")):
        with pytest.raises(UserError, match=told):
            calls.call(Generate, tmp_path / "a", text, **given)
