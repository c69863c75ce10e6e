"""Slots, rows, steps: nothing lost, nothing repeated, and any step's batch made again from nothing but its number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_corpus import FakeCorpus, corpus_of
from unmask.errors import UserError
from unmask.objectives.masked_lm import MaskedLM
from unmask.objectives.next_sentence import NextSentence
from unmask.objectives.sentence_order import SentenceOrder
from unmask.text.chance import Chance
from unmask.text.ranges import stretches
from unmask.text.sampling.cutting import cut
from unmask.text.sampling.plan import INPUT_FORMATS, Plan, draw, formats, refuse_two_cutters
from unmask.text.sampling.sequences import halves, single

FORMATS = pytest.mark.parametrize("input_format", INPUT_FORMATS)


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=6, documents=15, sentences=20)


def an_epoch(plan):
    """All slots of epoch 0, gathered step by step."""
    for step in range(-(-plan.rows // plan.rows_per_step)):
        slots, rows, epochs = plan.slots(step)
        yield slots, rows, epochs


def examples_equal(one, other):
    pairs = [(one.streams["encoder"].tokens, other.streams["encoder"].tokens)]
    pairs += [(one.targets[n].index, other.targets[n].index) for n in one.targets]
    pairs += [(one.targets[n].labels, other.targets[n].labels) for n in one.targets]
    return all(np.array_equal(a, b) for a, b in pairs)


# --- cutting -------------------------------------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize("length", [16, 64, 128, 500])
def test_slots_hold_every_token_once_and_rows_never_overflow(corpus, input_format, length):
    for i in range(corpus.shards):
        rows = cut(corpus.shard(i), input_format, length, 1, i)
        order = np.argsort(rows.starts)
        assert np.array_equal(rows.starts[order], np.cumsum(rows.lengths[order]) - rows.lengths[order])
        assert rows.lengths.sum() == len(corpus.shard(i).tokens)
        assert rows.lengths.min() > 0
        assert rows.first[-1] == len(rows.starts)
        assert np.add.reduceat(rows.rooms, rows.first[:-1]).max() <= length


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=12),
    st.sampled_from(INPUT_FORMATS),
    st.integers(8, 70),
)
@settings(max_examples=150, deadline=None)
def test_any_documents_can_be_cut(documents, input_format, length):
    corpus = FakeCorpus([documents])
    rows = cut(corpus.shard(0), input_format, length, 0, 0)
    covered = np.sort(stretches(rows.starts, rows.lengths))
    assert np.array_equal(covered, np.arange(corpus.tokens))
    assert np.add.reduceat(rows.rooms, rows.first[:-1]).max() <= length


@FORMATS
def test_slots_begin_and_end_with_sentences(corpus, input_format):
    shard = corpus.shard(0)
    rows = cut(shard, input_format, 200, 1, 0)  # no sentence is longer
    assert rows.cut == 0
    assert np.isin(rows.starts, shard.sentences).all()
    assert np.isin(rows.starts + rows.lengths, shard.sentences).all()


@pytest.mark.parametrize("input_format", ["segment_pair", "sentence_pair", "doc_sentences"])
def test_only_full_sentences_cross_documents(corpus, input_format):
    def crossing(form):
        shard = corpus.shard(0)
        rows = cut(shard, form, 128, 1, 0)
        first = np.searchsorted(shard.documents, rows.starts, "right")
        return first != np.searchsorted(shard.documents, rows.starts + rows.lengths - 1, "right")

    assert not crossing(input_format).any()
    assert crossing("full_sentences").any()


def test_sentence_pairs_are_of_two_sentences():
    corpus = corpus_of(shards=1, words=6)
    slots, *_ = Plan(corpus, "sentence_pair", 128).slots(0)
    sentences = np.add.reduceat(slots.sentences, slots.text.starts)
    assert set(sentences.tolist()) <= {1, 2}
    assert (sentences == 2).mean() > 0.9


def test_a_tenth_of_segment_pairs_is_short_on_purpose():
    corpus = FakeCorpus([[[3] * 100_000]], longest_word=1)
    rows = cut(corpus.shard(0), "segment_pair", 128, 0, 0)
    long = rows.lengths[rows.lengths > 20]  # shorter ones were cut off to fill rows
    expected = 0.1 * 90 / 124  # drawn evenly from 2 to 125
    assert abs((long < 110).mean() - expected) < 5 * np.sqrt(expected / len(long))


def test_long_sentences_are_cut_before_words_and_counted():
    corpus = FakeCorpus([[[5, 300, 5], [7]]])
    rows = cut(corpus.shard(0), "doc_sentences", 64, 0, 0)
    assert rows.cut == 1
    assert corpus.shard(0).words[rows.starts].all()


def test_a_word_longer_than_a_sequence_is_cut_too():
    corpus = FakeCorpus([[[1, 1, 1]] * 30], longest_word=50)
    rows = cut(corpus.shard(0), "full_sentences", 16, 0, 0)
    assert rows.cut > 0
    assert rows.lengths.max() <= 14


@FORMATS
@pytest.mark.parametrize("length", [128, 512])
def test_rows_are_full(input_format, length):
    # WikiText's figures: 27 tokens a sentence, 35 sentences a document
    corpus = corpus_of(shards=1, documents=250, sentences=35, words=13)
    assert Plan(corpus, input_format, length).fill >= 0.98


def test_documents_no_longer_than_a_paragraph_fill_rows_too():
    corpus = corpus_of(shards=1, documents=3000, sentences=3, words=11)
    for input_format in ("doc_sentences", "segment_pair", "full_sentences"):
        assert Plan(corpus, input_format, 128).fill >= 0.98


def test_most_text_keeps_its_context(corpus):
    rows = cut(corpus.shard(0), "full_sentences", 512, 0, 0)
    assert (rows.lengths**2).sum() / rows.lengths.sum() > 0.75 * 512


def test_the_address_decides_the_cutting(corpus):
    def starts(*address):
        return cut(corpus.shard(0), "segment_pair", 128, *address).starts

    assert np.array_equal(starts(1, 0), starts(1, 0))
    assert not np.array_equal(starts(1, 0), starts(2, 0))


# --- steps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("input_format", ["full_sentences", "doc_sentences"])
def test_an_epoch_holds_every_token_once(corpus, input_format):
    plan = Plan(corpus, input_format, 64, rows_per_step=8)
    seen = [np.zeros(len(corpus.shard(i).tokens), int) for i in range(corpus.shards)]
    for slots, _, epochs in an_epoch(plan):
        for n in np.flatnonzero(epochs == 0):
            start, text = int(slots.ids[n]) & 0xFFFFFFFF, slots.text
            stretch = slice(text.starts[n], text.starts[n] + text.lengths[n])
            shard = corpus.shard(int(slots.ids[n]) >> 32)
            assert np.array_equal(slots.tokens[stretch], shard.tokens[start : start + text.lengths[n]])
            seen[int(slots.ids[n]) >> 32][start : start + text.lengths[n]] += 1
    assert all((counts == 1).all() for counts in seen)


def test_later_epochs_hold_the_same_rows_in_another_order(corpus):
    plan = Plan(corpus, "full_sentences", 64, rows_per_step=1)
    orders = [[plan._find(e * plan.rows + r) for r in range(plan.rows)] for e in range(3)]
    assert orders[0] != orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert len(set(orders[0])) == plan.rows


def test_rows_are_shuffled_across_shards(corpus):
    plan = Plan(corpus, "full_sentences", 64, rows_per_step=32)
    slots, *_ = plan.slots(0)
    assert len(set((slots.ids >> 32).tolist())) > 1


def test_a_step_has_its_rows_and_sequences_fit_them(corpus):
    plan = Plan(corpus, "full_sentences", 64, rows_per_step=16)
    for step in range(5):
        slots, rows, _ = plan.slots(step)
        assert np.array_equal(np.unique(rows), np.arange(16))
        lengths = single(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids)).streams["encoder"].lengths
        assert np.array_equal(lengths, slots.rooms)
        assert np.bincount(rows, lengths).max() <= 64


def test_gathered_flags_are_the_shards(corpus):
    plan = Plan(corpus, "full_sentences", 64, rows_per_step=16)
    slots, *_ = plan.slots(3)
    for n in range(len(slots.lengths)):
        shard, start = corpus.shard(int(slots.ids[n]) >> 32), int(slots.ids[n]) & 0xFFFFFFFF
        here = np.arange(start, start + slots.lengths[n])
        mine = slice(slots.text.starts[n], slots.text.starts[n] + slots.lengths[n])
        assert np.array_equal(slots.words[mine], shard.words[here])
        assert np.array_equal(slots.sentences[mine], np.isin(here, shard.sentences))
        assert np.array_equal(slots.documents[mine], np.isin(here, shard.documents))
        document = corpus.document_tokens(int(slots.document[n]))
        assert shard.tokens[start : start + 1].tobytes() in document.tobytes()


OBJECTIVES = pytest.mark.parametrize(
    ("input_format", "objectives"),
    [
        ("full_sentences", [MaskedLM()]),
        ("doc_sentences", [MaskedLM(unit="span")]),
        ("segment_pair", [NextSentence(), MaskedLM(unit="whole_word")]),
        ("sentence_pair", [MaskedLM(), SentenceOrder()]),
    ],
    ids=["masked_lm", "spans", "next_sentence", "sentence_order"],
)


@OBJECTIVES
def test_a_step_is_the_same_whenever_it_is_made(corpus, input_format, objectives):
    plan = Plan(corpus, input_format, 64, rows_per_step=8, seed=3)
    before = {s: draw(plan, objectives, corpus.tokenizer, 3, s) for s in (0, 1, 40, 700)}
    again = Plan(corpus, input_format, 64, rows_per_step=8, seed=3)
    for step in (700, 1, 40, 0):
        assert examples_equal(before[step], draw(again, objectives, corpus.tokenizer, 3, step))
    assert not examples_equal(before[0], before[1])
    assert not examples_equal(before[0], draw(plan, objectives, corpus.tokenizer, 4, 0))


@OBJECTIVES
@pytest.mark.parametrize("world", [2, 3, 8])
def test_ranks_share_a_step_among_them(corpus, input_format, objectives, world):
    plan = Plan(corpus, input_format, 64, rows_per_step=8)

    def sequences(rank, world):
        example = draw(plan, objectives, corpus.tokenizer, 0, 5, rank, world)
        stream = example.streams["encoder"]
        answers = {
            name: dict(zip(t.index.tolist(), t.labels.tolist(), strict=True)) for name, t in example.targets.items()
        }
        return [
            (tokens.tolist(), [[a[i] for i in range(s, s + len(tokens)) if i in a] for a in answers.values()])
            for s, tokens in zip(stream.starts.tolist(), np.split(stream.tokens, stream.starts[1:]), strict=True)
        ]

    shares = [sequences(rank, world) for rank in range(world)]
    assert [sequence for share in shares for sequence in share] == sequences(0, 1)


def test_a_step_across_two_epochs_takes_each_row_with_its_epoch(corpus):
    plan = Plan(corpus, "doc_sentences", 64, rows_per_step=32)
    step = plan.rows // 32
    _, rows, epochs = plan.slots(step)
    assert np.array_equal(epochs, (rows + step * 32) // plan.rows)
    assert set(epochs.tolist()) == {0, 1}


# --- sequences -----------------------------------------------------------------------------------------------------


def test_a_document_that_begins_inside_a_text_has_a_separator_before_it(corpus):
    tokenizer, plan = corpus.tokenizer, Plan(corpus, "full_sentences", 64, rows_per_step=200)
    slots, *_ = plan.slots(0)
    stream = single(slots, tokenizer, Chance.of(0, 0, slots.ids)).streams["encoder"]
    inner = slots.documents.copy()
    inner[slots.text.starts] = False
    assert inner.any()
    expected = []
    for n, start in enumerate(slots.text.starts):
        expected.append(tokenizer.cls)
        for t in range(start, start + slots.lengths[n]):
            expected += [tokenizer.sep] * bool(inner[t]) + [int(slots.tokens[t])]
        expected.append(tokenizer.sep)
    assert stream.tokens.tolist() == expected
    assert stream.segments is None
    assert np.array_equal(stream.units < 0, stream.tokens < 5)


def test_pairs_are_a_sep_b_sep_with_segments(corpus):
    plan = Plan(corpus, "segment_pair", 128, rows_per_step=100)
    slots, *_ = plan.slots(0)
    stream = single(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids)).streams["encoder"]
    both = 0
    for tokens, segments, text in zip(
        np.split(stream.tokens, stream.starts[1:]),
        np.split(stream.segments, stream.starts[1:]),
        np.split(slots.tokens, slots.text.starts[1:]),
        strict=True,
    ):
        seps = np.flatnonzero(tokens == 3)
        assert tokens[0] == 2
        assert seps[-1] == len(tokens) - 1
        assert np.array_equal(tokens[tokens >= 5], text)
        assert np.array_equal(segments, np.arange(len(tokens)) > seps[0])
        both += len(seps) == 2
    assert both > 0.7 * len(slots.lengths)


def test_borders_between_a_and_b_are_borders_of_sentences_and_change_by_epoch(corpus):
    slots, *_ = Plan(corpus, "segment_pair", 128, rows_per_step=50).slots(0)
    a, b = halves(slots, Chance.of(0, 0, slots.ids))
    assert slots.sentences[b.starts[b.lengths > 0]].all()
    assert np.array_equal(a.lengths + b.lengths, slots.lengths)
    other, _ = halves(slots, Chance.of(0, 1, slots.ids))
    assert (a.lengths != other.lengths).any()


def test_units_are_words(corpus):
    slots, *_ = Plan(corpus, "segment_pair", 64, rows_per_step=100).slots(0)
    stream = single(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids)).streams["encoder"]
    words = stream.units[stream.units >= 0]
    assert np.array_equal(np.diff(words, prepend=-1) != 0, slots.words)


def test_unknown_tokens_are_left_alone(corpus):
    slots, *_ = Plan(corpus, "full_sentences", 64).slots(0)
    slots.tokens[5] = corpus.tokenizer.unk
    stream = single(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids)).streams["encoder"]
    assert (stream.units[stream.tokens == corpus.tokenizer.unk] == -1).all()


# --- bad input -----------------------------------------------------------------------------------------------------


def test_a_corpus_too_small_for_a_step_is_refused_with_what_would_fit():
    corpus = FakeCorpus([[[10, 10], [10]]])
    with pytest.raises(UserError, match=rf"corpora/fake: {corpus.tokens} tokens make 1 rows.*--batch-size 1 would"):
        Plan(corpus, "full_sentences", 128, rows_per_step=32)


def test_an_empty_corpus_is_refused():
    with pytest.raises(UserError, match="0 tokens"):
        Plan(FakeCorpus([]), "full_sentences", 128)


def test_rows_too_short_or_too_few_are_refused(corpus):
    with pytest.raises(UserError, match="length: 3 tokens leave no room for text; at least 8 fit"):
        Plan(corpus, "full_sentences", 3)
    with pytest.raises(UserError, match=r"a step of 4 rows is shared by 5 .*; --batch-size 5 or more would fit"):
        Plan(corpus, "full_sentences", 64, rows_per_step=4).slots(0, 0, 5)


def test_formats_that_do_not_go_together_are_refused():
    both = {"masked_lm": MaskedLM(), "next_sentence": NextSentence()}
    assert formats({"masked_lm": MaskedLM()})[0] == "full_sentences"
    assert formats(both) == ["segment_pair", "sentence_pair"]
    assert formats(both, "sentence_pair") == ["sentence_pair"]
    with pytest.raises(
        UserError, match="next_sentence cannot use full_sentences; fitting: segment_pair, sentence_pair"
    ):
        formats(both, "full_sentences")
    with pytest.raises(UserError, match="next_sentence and sentence_order"):
        refuse_two_cutters({"next_sentence": NextSentence(), "sentence_order": SentenceOrder()})


def test_a_prepared_corpus_is_sampled_whole(tmp_path):
    from unmask.text.corpus.preparation import Training, prepare
    from unmask.text.sources.documents import Sources

    lines = [f"Line {n} tells of {'many ' * (n % 7)}things. It says {n * n}!\n" for n in range(900)]
    source = tmp_path / "text.txt"
    source.write_text("".join(line + "\n" * (n % 9 == 0) for n, line in enumerate(lines)), encoding="utf-8")
    corpus = prepare(
        Sources([str(source)]),
        tmp_path / "c",
        Training("wordpiece", 300),
        valid=0,
        processes=1,
        shard_tokens=4000,
    ).corpus
    assert corpus.shards > 1
    plan = Plan(corpus, "full_sentences", 64, rows_per_step=1)
    tokens = [plan.slots(step)[0].tokens for step in range(plan.rows)]
    expected = np.concatenate([corpus.shard(i).tokens for i in range(corpus.shards)])
    assert np.array_equal(np.bincount(np.concatenate(tokens)), np.bincount(expected))
    example = draw(plan, [MaskedLM(unit="whole_word")], corpus.tokenizer, 0, 0)
    assert len(example.targets["masked_lm"].index) > 0
