"""What T5 promises of spans and their marks, and of what it was compared with; the vocabulary that knows the marks."""

import itertools
import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from fake_corpus import corpus_of
from test_every_objective import slots_of, texts_of, tokenizer_of
from test_rewriting import chance_of, numbered
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.objectives.deshuffling import Deshuffling
from unmask.objectives.prefix_lm import PrefixLM
from unmask.objectives.span_corruption import STYLES, SpanCorruption
from unmask.text.corruption import sentinels
from unmask.text.sampling.plan import Plan, stages
from unmask.text.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=40, sentences=30, words=8)


def drawn(objective, corpus, rows=40, length=128, form="full_sentences"):
    """What the encoder was to read, what it reads, what is written, and the tokenizer; texts as lists."""
    tokenizer = tokenizer_of({"it": objective}, corpus)
    before, after = stages(*slots_of(Plan(corpus, form, length, rows)), [objective], tokenizer, 0)
    decoder, asked = after.streams["decoder"], after.targets["decoder_lm"]
    assert decoder.reads == "encoder" and np.array_equal(asked.index, np.arange(len(decoder.tokens)))
    written = [text.tolist() for text in np.split(asked.labels, decoder.starts[1:])]
    for given, text in zip(texts_of(decoder), written, strict=True):
        assert given == [tokenizer.pad, *text[:-1]]
        assert text[-1] == tokenizer.sep
    return texts_of(before.streams["encoder"]), texts_of(after.streams["encoder"]), written, tokenizer


def rebuilt(read, written, marks):
    """The text: in the place of each mark what is written behind it."""
    spans, last = {}, None
    for token in written[:-1]:
        if token in marks:
            last = token
            assert last not in spans, "no mark is used twice"
        spans.setdefault(last, [])
        spans[last] += [token] * (token != last)
    assert list(spans) == marks[: len(spans)] and spans[last] == [], "in their order, and one more that ends it"
    return list(itertools.chain.from_iterable(spans[token] if token in marks else [token] for token in read))


RATES = [(rate, span) for rate in (0.1, 0.15, 0.25, 0.5) for span in (2.0, 3.0, 5.0, 10.0)]


@pytest.mark.parametrize(("rate", "span"), RATES)
def test_inputs_and_targets_rebuild_the_text(rate, span, corpus):
    texts, read, written, tokenizer = drawn(SpanCorruption(rate=rate, span=span), corpus)
    marks = tokenizer.ids(tokenizer.extra).tolist()
    for text, given, told in zip(texts, read, written, strict=True):
        assert rebuilt(given, told, marks) == text


def test_single_tokens_rebuild_the_text_too(corpus):
    texts, read, written, tokenizer = drawn(SpanCorruption(style="replace_spans"), corpus)
    marks = tokenizer.ids(tokenizer.extra).tolist()
    assert all(rebuilt(*both, marks) == text for text, *both in zip(texts, read, written, strict=True))


@pytest.mark.parametrize(("rate", "span"), RATES)
def test_as_many_tokens_and_spans_are_hidden_as_t5s_code_says(rate, span):
    for length in (1, 2, 3, 7, 30, 101):
        stream = numbered([length], 20)
        mask = sentinels.random_spans(stream, chance_of(stream), rate, span)
        hidden = min(max(round(length * rate), 1), length - 1)
        spans = min(max(round(hidden / span), 1), hidden, length - hidden)
        for part in np.split(mask, stream.starts[1:]):
            assert part.sum() == hidden and (np.diff(part.astype(int)) == 1).sum() == spans
            assert not part[0] and not part[1] and not part[-1], "special tokens, and the first of the text"
            assert part[-2] or not hidden, "a text ends with what is hidden"


def test_all_ways_to_part_a_text_are_as_likely():
    """Four hidden tokens in two spans and four seen: three ways to part each."""
    stream = numbered([8], 9000)
    mask = sentinels.random_spans(stream, chance_of(stream), 0.5, 2.0)
    found = {}
    for part in np.split(mask, stream.starts[1:]):
        found[part.tobytes()] = found.get(part.tobytes(), 0) + 1
    assert len(found) == 9
    assert all(abs(count / 9000 - 1 / 9) < 5 * math.sqrt(8 / 81 / 9000) for count in found.values())


def test_unknown_tokens_are_never_hidden_and_part_a_span():
    stream = numbered([60], 200)
    unknown = np.isin(stream.position, (10, 30, 31))
    stream.units[unknown] = -1
    mask = sentinels.random_spans(stream, chance_of(stream), 0.5, 10.0)
    assert not mask[unknown].any()
    numbers, kept = sentinels.number(stream, mask, 100)
    ids = np.arange(10**6, 10**6 + 100)
    read, written = sentinels.replaced(stream, kept, numbers, ids), sentinels.told(stream, kept, numbers, ids, 3)
    assert np.isin(stream.tokens[unknown], read.tokens).all()
    for text, given, told in zip(
        texts_of(stream), texts_of(read), np.split(written[0], np.cumsum(written[1])[:-1]), strict=True
    ):
        assert rebuilt(given, told.tolist(), ids.tolist()) == text


def test_further_spans_than_there_are_marks_for_are_seen():
    stream = numbered([40], 3)
    _, kept = sentinels.number(stream, np.arange(len(stream.tokens)) % 2 == 1, 5)
    for part in np.split(kept, stream.starts[1:]):
        assert (np.diff(part.astype(int)) == 1).sum() == 5


def test_too_few_marks_are_refused_with_how_many_would_fit(corpus):
    with pytest.raises(UserError, match=r"sentinels 9: a text of 128 tokens has about 32 spans; 40 would fit"):
        drawn(SpanCorruption(rate=0.5, span=2.0, sentinels=9), corpus)


def test_without_marks_what_is_dropped_is_asked_for(corpus):
    texts, read, written, _ = drawn(SpanCorruption(style="drop_tokens"), corpus)
    hidden = total = 0
    for text, given, told in zip(texts, read, written, strict=True):
        assert sorted(given + told[:-1]) == sorted(text)
        left = iter(text)
        assert all(token in left for token in given), "in its order"
        hidden, total = hidden + len(told) - 1, total + len(text) - 2
    assert abs(hidden / total - 0.15) < 5 * math.sqrt(0.13 / total)


@pytest.mark.parametrize(("style", "random"), [("mass_style", 0.0), ("bert_style", 0.1)])
def test_a_mark_for_each_token_and_the_whole_text_asked_for(style, random, corpus):
    texts, read, written, tokenizer = drawn(SpanCorruption(style=style), corpus, rows=200)
    (mark,) = tokenizer.ids(tokenizer.extra[:1])
    marked = swapped = total = 0
    for text, given, told in zip(texts, read, written, strict=True):
        assert told == text[1:] and len(given) == len(text)
        marked += given.count(mark)
        swapped += sum(a not in (b, mark) for a, b in zip(given, text, strict=True))
        total += len(text) - 2
    assert abs((marked + swapped) / total - 0.15) < 5 * math.sqrt(0.13 / total)
    assert abs(swapped / (marked + swapped) - random) < 5 * math.sqrt(0.09 / (marked + swapped)) * (random > 0) + 1e-9


def test_a_prefix_of_any_length_is_given_and_the_rest_asked_for(corpus):
    shares = []
    for text, given, told in zip(*drawn(PrefixLM(), corpus, rows=250, form="doc_sentences")[:3], strict=True):
        assert given[:-1] + told == text and given[-1] == text[-1]
        assert len(given) > 2 and (len(told) > 1 or len(text) == 3), "something on either side"
        shares += [(len(given) - 3) / (len(text) - 4)] * (len(text) > 20)
    assert abs(np.mean(shares) - 0.5) < 4 / math.sqrt(12 * len(shares))
    assert abs(np.std(shares) - 12**-0.5) < 0.05


def test_all_tokens_are_given_in_any_order_and_the_text_asked_for(corpus):
    places = []
    for text, given, told in zip(*drawn(Deshuffling(), corpus, form="doc_sentences")[:3], strict=True):
        assert told == text[1:] and sorted(given) == sorted(text)
        assert (given[0], given[-1]) == (text[0], text[-1])
        places += [given.index(text[1]) / (len(text) - 2)] * (len(text) > 60)
    assert abs(np.mean(places) - 0.5) < 4 / math.sqrt(12 * len(places)) + 0.02


def test_each_of_t5s_comparisons_is_one_line():
    lines = [{"span_corruption": {"style": style}} for style in STYLES] + ["prefix_lm", "deshuffling"]
    lines += [{"span_corruption": {"rate": rate}} for rate in (0.1, 0.15, 0.25, 0.5)]
    lines += [{"span_corruption": {"span": span}} for span in (2.0, 3.0, 5.0, 10.0)]
    assert len({str(Pretrain(corpus="c", out="o", objective=line).objective) for line in lines}) == 13  # 15 %, 3 twice


@pytest.mark.parametrize(("settings", "why"), [
    ({"rate": 0}, "greater than 0"), ({"span": 0.5}, "greater than or equal to 1"),
    ({"style": "drop_tokens", "span": 5}, "span belongs to style random_spans"),
    ({"style": "masks"}, "mass_style"), ({"sentinels": 1}, "greater than or equal to 2"),
])  # fmt: skip
def test_impossible_settings_are_refused(settings, why):
    with pytest.raises(ValidationError, match=why):
        SpanCorruption(**settings)


# --- the vocabulary ------------------------------------------------------------------------------------------------

TEXTS = ["A film about the capital of France, and a fine one.", "Nobody knows <extra_id_0> what it <extra_id_1> is."]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "characters"])
def test_marks_stand_behind_the_vocabulary_and_change_no_text(kind, tmp_path):
    plain = Tokenizer.train(TEXTS * 3, kind, 300)
    known = plain.plus(SpanCorruption(sentinels=5).extra_tokens())
    assert known.size == plain.size + 5 and known.extra == tuple(f"<extra_id_{n}>" for n in range(5))
    assert known.ids(known.extra).tolist() == list(range(plain.size, plain.size + 5))
    assert known.special[-5:].all() and np.array_equal(known.ordinary, plain.ordinary)
    assert known.hash == plain.hash and known.kind == plain.kind
    for a, b in zip(known.encode(TEXTS, specials=False), plain.encode(TEXTS, specials=False), strict=True):
        assert np.array_equal(a.ids, b.ids) and np.array_equal(a.word_starts, b.word_starts)
    assert known.plus(known.extra) is known
    known.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.extra == known.extra and again.hash == known.hash and again.size == known.size
    (pieces,) = again.encode(TEXTS[1:])
    assert np.isin(known.ids(known.extra[:2]), pieces.ids).all(), "in a text that somebody asks of a model"
    told = [*known.ids(["<extra_id_0>"]), *plain.encode(["france"])[0].ids, known.sep]
    assert known.decode(told, extra=True).replace(" ", "") == "<extra_id_0>france" and "extra" not in known.decode(told)


def t5_folder(folder):
    """A tokenizer as T5's folders hold it: no [CLS], no [MASK], marks in the vocabulary in the reverse order."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
    from tokenizers import Tokenizer as Backend

    marks = [f"<extra_id_{n}>" for n in reversed(range(4))]
    pieces = ["<pad>", "</s>", "<unk>", *"▁abcdefghijklmnopqrstuvwxyz.,ANF", "▁film", "▁the", *marks]
    backend = Backend(models.Unigram([(piece, -2.0) for piece in pieces], unk_id=2))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    backend.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in (*pieces[:3], *marks)])
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    named = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", **named}))
    return Tokenizer.load(folder)


def test_a_tokenizer_of_t5_has_its_own_marks_and_no_first_token(tmp_path):
    tokenizer = t5_folder(tmp_path / "t5")
    assert not tokenizer.opens and tokenizer.names == {"pad": "<pad>", "unk": "<unk>", "sep": "</s>"}
    assert tokenizer.ids(SpanCorruption(sentinels=4).extra_tokens()).tolist() == [40, 39, 38, 37]
    assert tokenizer.plus(SpanCorruption(sentinels=4).extra_tokens()) is tokenizer and tokenizer.extra == ()
    for role in ("cls", "mask"):
        with pytest.raises(UserError, match=f"no token for {role}; one that has"):
            getattr(tokenizer, role)
    tokenizer.save(tmp_path / "again")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    (pieces,) = tokenizer.encode(["a film"])
    assert theirs("a film")["input_ids"] == [*pieces.ids, tokenizer.sep]
    assert "<extra_id_2>" not in theirs.tokenize("the film") and theirs.tokenize("<extra_id_2>") == ["<extra_id_2>"]


def test_other_vocabularies_still_need_all_special_tokens(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[SEP]\na\nb\nc\n")
    with pytest.raises(UserError, match="no token for cls, mask"):
        Tokenizer.load(tmp_path / "vocab.txt")
