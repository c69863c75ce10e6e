"""Permutation language modelling: what is asked, in which order, and what stands beside it."""

import numpy as np
import pytest
import torch

import unmask
from fake_corpus import FakeCorpus, corpus_of
from small_base import EXACT, classified, sentences, tagged
from unmask import calls
from unmask.commands.finetune import Finetune
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.objectives.permutation_lm import PermutationLM
from unmask.text.chance import Chance
from unmask.text.corruption.permutation import choose_in_context, factorisation_order, queries
from unmask.text.example import Stream
from unmask.text.sampling.plan import Plan, draw


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=40, sentences=30, words=10)


def drawn(corpus, input_format="full_sentences", rows=100, length=128, step=0, **settings):
    plan = Plan(corpus, input_format, length, rows)
    return draw(plan, [PermutationLM(**settings)], corpus.tokenizer, 0, step)


def places_of(example):
    """Where the content stream has what is asked for."""
    stream, asked = example.streams["encoder"], example.streams["query"]
    return stream.starts[asked.sequence] + asked.places


@pytest.mark.parametrize("k", [3, 6, 10])
@pytest.mark.parametrize("words", [1, 2, 3])
def test_one_in_k_tokens_is_predicted(k, words):
    units = (
        np.tile(np.repeat(np.arange(256 // words), words), 400) + np.repeat(np.arange(400), 256 // words * words) * 256
    )
    bits = np.random.default_rng(0).integers(0, 2**63, len(units), dtype=np.uint64)
    share = len(choose_in_context(units, bits, k, 5)) / len(units)
    # spans come in windows of one length each: their number varies about as that of spans of 3
    assert abs(share - 1 / k) < 5 * (3 * words / k / len(units)) ** 0.5


def test_spans_are_whole_words_and_shorter_ones_likelier():
    length = 60_000
    units = np.arange(length)
    chosen = choose_in_context(units, np.random.default_rng(1).integers(0, 2**63, length, dtype=np.uint64), 20, 5)
    sizes = np.diff(np.flatnonzero(np.diff(chosen, prepend=-2, append=length + 2) != 1))
    counts = np.bincount(sizes, minlength=6)[1:6]
    assert counts.sum() > 0.95 * len(sizes)  # two windows' spans seldom touch
    expected = (1 / np.arange(1, 6)) / (1 / np.arange(1, 6)).sum()
    assert np.abs(counts / counts.sum() - expected).max() < 0.03


def test_what_is_asked(corpus):
    """Whole words, never special ones; labels are what stands there, and nothing in the text is replaced."""
    example = drawn(corpus)
    stream, index, asked = example.streams["encoder"], places_of(example), example.targets["permutation_lm"]
    assert asked.stream == "query" and np.array_equal(asked.index, np.arange(len(index)))
    assert np.array_equal(asked.labels, stream.tokens[index]) and (stream.units[index] >= 0).all()
    assert (np.diff(index) > 0).all() and abs(len(index) / (stream.units >= 0).sum() - 1 / 6) < 0.01
    chosen = np.isin(np.arange(len(stream.tokens)), index)
    together = np.flatnonzero(np.diff(stream.units) == 0)
    assert (chosen[together] == chosen[together + 1]).all()
    plan = Plan(corpus, "full_sentences", 128, 100)
    slots, _, epochs = plan.slots(0)
    before = PermutationLM().sample(slots, corpus.tokenizer, Chance.of(0, epochs, slots.ids))
    assert np.array_equal(before.streams["encoder"].tokens, stream.tokens)


def test_the_order(corpus):
    """What is given has number 0, targets and marks have the numbers from 1 on, each once, by chance."""
    example = drawn(corpus)
    stream, index = example.streams["encoder"], places_of(example)
    marks = np.flatnonzero(np.isin(stream.tokens, (corpus.tokenizer.cls, corpus.tokenizer.sep)))
    first, ranks = [], []
    for here in np.split(np.arange(len(stream.tokens)), stream.starts[1:]):
        order, counted = stream.order[here], np.isin(here, index) | np.isin(here, marks)
        if counted.all():
            continue
        assert np.array_equal(np.sort(order[counted]), 1 + np.arange(counted.sum())) and not order[~counted].any()
        first.append(order[0] == 1)
        ranks.append(np.corrcoef(here[counted], order[counted])[0, 1])
    assert 0 < np.mean(first) < 0.3  # [CLS] is not always first
    assert abs(np.mean(ranks)) < 0.1 and np.std(ranks) > 0.1  # nor is anything in the order of the text


def test_a_query_sees_all_that_is_lower_than_its_own_number(corpus):
    example = drawn(corpus)
    stream, asked, index = example.streams["encoder"], example.streams["query"], places_of(example)
    assert np.array_equal(asked.order, stream.order[index] - 1)
    assert np.array_equal(asked.sequence, stream.sequence[index])
    assert (asked.tokens == corpus.tokenizer.mask).all()
    lowest = np.minimum.reduceat(stream.order, stream.starts)
    assert (asked.order >= lowest[asked.sequence]).all(), "every query sees something"


def test_segments_go_with_the_queries(corpus):
    example = drawn(corpus, "segment_pair")
    assert np.array_equal(example.streams["query"].segments, example.streams["encoder"].segments[places_of(example)])


def test_where_everything_is_asked_the_first_token_is_given():
    stream = Stream(np.array([2, 7, 3, 2, 8, 9, 3]), np.array([3, 4]), units=np.array([-1, 0, -1, -1, 1, 2, -1]))
    index, marks = np.array([1, 4]), stream.units < 0
    order = factorisation_order(stream, index, marks, np.arange(7, dtype=np.uint64))
    assert order.tolist() == [0, 1, 2, 1, 2, 0, 3]
    ordered = Stream(stream.tokens, stream.lengths, order=order)
    assert queries(ordered, index, 4).order.tolist() == [0, 1]


def test_texts_of_one_word_and_texts_without_any():
    corpus = FakeCorpus([[[1, 1], [1], [1, 2, 1]] * 30])
    for step in range(5):
        example = drawn(corpus, "sentence_pair", rows=8, length=16, step=step)
        stream, asked = example.streams["encoder"], example.streams["query"]
        assert (asked.order >= np.minimum.reduceat(stream.order, stream.starts)[asked.sequence]).all()
    units = np.full(9, -1)
    assert not len(choose_in_context(units, np.zeros(9, np.uint64), 6, 5))


@pytest.mark.parametrize("input_format", ["full_sentences", "doc_sentences", "segment_pair"])
def test_the_memory_is_what_stands_beside_a_sequence_in_its_document(corpus, input_format):
    plan = Plan(corpus, input_format, 64, 200)
    slots, _, epochs = plan.slots(0)
    chance = Chance.of(0, epochs, slots.ids)
    example = PermutationLM(memory=0.5).sample(slots, corpus.tokenizer, chance)
    memory, lengths, sides = example.streams["memory"], example.streams["encoder"].lengths, [0, 0]
    assert (memory.lengths <= slots.rooms // 2).all()
    for n, (begin, length) in enumerate(zip(memory.starts, memory.lengths, strict=True)):
        shard, first = corpus.shard(int(slots.ids[n] >> 32)), int(slots.ids[n] & 0xFFFFFFFF)
        tokens, places = memory.tokens[begin : begin + length], memory.places[begin : begin + length]
        after, end = int(length > 0 and places[0] > 0), first + slots.lengths[n]
        where = slice(end, end + length) if after else slice(first - length, first)
        assert np.array_equal(tokens, shard.tokens[where]) and where.start >= 0
        assert np.array_equal(places, np.arange(length) + (lengths[n] if after else -length))
        borders = shard.documents
        assert not ((borders > where.start) & (borders < where.stop)).any(), "no document's border lies in it"
        if length:
            assert (where.start if after else where.stop) not in borders, "nor between it and the text"
            sides[after] += 1
    assert min(sides) > 0.3 * sum(sides) > 20


def test_without_memory_there_is_none(corpus):
    assert set(drawn(corpus, memory=0).streams) == {"encoder", "query"}
    alone = FakeCorpus([[[3]] * 40])  # no document goes beyond its sequence
    assert set(drawn(alone, "doc_sentences", rows=4, length=16).streams) == {"encoder", "query"}


def test_ranks_share_a_step(corpus):
    """What two processes draw together is what one draws."""
    plan, objective = Plan(corpus, "full_sentences", 64, 20), [PermutationLM()]
    whole = draw(plan, objective, corpus.tokenizer, 0, 3)
    parts = [draw(plan, objective, corpus.tokenizer, 0, 3, rank, 2) for rank in range(2)]
    for name in ("encoder", "query", "memory"):
        for what in ("tokens", "order", "places", "lengths"):
            found = [getattr(example.streams[name], what) for example in (whole, *parts)]
            assert all(x is None for x in found) or np.array_equal(found[0], np.concatenate(found[1:])), (name, what)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps."""
    home = tmp_path_factory.mktemp("trained")
    lines = [" ".join(words).capitalize() + "." for words in sentences(300)]
    (home / "text.txt").write_text("\n\n".join("\n".join(lines[n : n + 10]) for n in range(0, 300, 10)))
    calls.call(Prepare, str(home / "text.txt"), out=home / "corpus", vocab_size=120, valid=0.05)
    model = {"name": "xlnet-tiny", "width": 32, "feed_forward": 64}
    few = {"length": 32, "batch_size": 8, "steps": 2}
    calls.call(
        Pretrain, home / "corpus", objective="permutation_lm", model=model, out=home / "run", **few, **EXACT
    )  # fmt: skip
    return home / "run"


@pytest.mark.parametrize(
    ("task", "rows", "tuning"),
    [("classify", classified, "full"), ("classify", classified, "frozen"), ("tag", tagged, {"freeze_first": {"n": 1}})],
    ids=["classify", "frozen", "tag"],
)
def test_what_it_trained_is_fine_tuned(trained, tmp_path, task, rows, tuning):
    """Tasks read the content; of what it needs for its queries nothing moves."""
    files = {name: rows(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
    tuned = calls.call(
        Finetune, str(trained), task=task, tuning=tuning, out=tmp_path / "tuned", epochs=1, seeds=[1], **files, **EXACT
    )
    assert tuned.predict([["the", "film"] if task == "tag" else "the film"])[0].labels
    before, after = (unmask.load(run).network.backbone for run in (trained, tmp_path / "tuned"))
    assert torch.equal(before.embeddings.query, after.embeddings.query)
    moved = not torch.equal(before.blocks[1].feed_forward.into.weight, after.blocks[1].feed_forward.into.weight)
    assert moved == (tuning != "frozen")
