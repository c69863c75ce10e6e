"""What the objectives of pairs and of masking promise."""

import numpy as np
import pytest
from pydantic import ValidationError

from fake_corpus import FakeCorpus, corpus_of
from unmask.errors import UserError
from unmask.objectives.masked_lm import MaskedLM
from unmask.objectives.next_sentence import NextSentence
from unmask.objectives.sentence_order import SentenceOrder
from unmask.text.chance import Chance
from unmask.text.sampling.plan import Plan, draw


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=3, documents=30, sentences=30, words=8)


@pytest.fixture(scope="module")
def plan(corpus):
    return Plan(corpus, "segment_pair", 128, rows_per_step=150)


def segments_of(example):
    """By sequence: (A, B) as lists of tokens without the special ones."""
    stream = example.streams["encoder"]
    parts = zip(np.split(stream.tokens, stream.starts[1:]), np.split(stream.segments, stream.starts[1:]), strict=True)
    return [(t[(s == 0) & (t >= 5)].tolist(), t[(s == 1) & (t >= 5)].tolist()) for t, s in parts]


def labels_of(example, name):
    """Answers by number of sequence."""
    targets, stream = example.targets[name], example.streams["encoder"]
    assert np.isin(targets.index, stream.starts).all()
    return dict(zip(np.searchsorted(stream.starts, targets.index).tolist(), targets.labels.tolist(), strict=True))


def holds(whole, part):
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))


@pytest.mark.parametrize("input_format", ["segment_pair", "sentence_pair"])
def test_next_sentence_negatives_come_from_other_documents(corpus, input_format):
    plan = Plan(corpus, input_format, 128, rows_per_step=100)
    slots, *_ = plan.slots(0)
    example = NextSentence().sample(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids))
    texts = np.split(slots.tokens, slots.text.starts[1:])
    labels, segments = labels_of(example, "next_sentence"), segments_of(example)
    shards = [corpus.shard(i) for i in range(corpus.shards)]
    sentences = {tuple(x.tolist()) for shard in shards for x in np.split(shard.tokens, shard.sentences[1:-1])}
    whole = []
    for n, (a, b) in enumerate(segments):
        document = corpus.document_tokens(int(slots.document[n])).tolist()
        assert (n in labels) == bool(b)
        assert holds(document, a)
        if labels.get(n) == 1:
            assert not holds(document, b) or len(b) < 3  # one or two tokens may stand anywhere
            whole.append(tuple(b) in sentences)
            others = (corpus.document_tokens(k).tolist() for k in range(corpus.documents))
            assert any(holds(other, b) for other in others)
        else:
            assert a + b == texts[n].tolist()
    # a sentence is cut only where none is short enough
    assert input_format == "segment_pair" or np.mean(whole) > 0.9
    assert (example.streams["encoder"].lengths <= slots.rooms).all()
    assert abs(np.mean(list(labels.values())) - 0.5) < 4 * 0.5 / np.sqrt(len(labels))


def test_length_does_not_tell_next_from_random(plan, corpus):
    slots, *_ = plan.slots(1)
    example = NextSentence().sample(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids))
    labels = labels_of(example, "next_sentence")
    used = example.streams["encoder"].lengths / slots.rooms
    random = [used[n] for n, label in labels.items() if label == 1]
    assert np.mean(random) > 0.95  # the one that follows uses all of its room


def test_next_sentence_needs_two_documents():
    plan = Plan(FakeCorpus([[[9] * 400]]), "segment_pair", 64, rows_per_step=4)
    with pytest.raises(UserError, match="corpora/fake: one document only"):
        draw(plan, [NextSentence()], plan.corpus.tokenizer, 0, 0)


def test_next_sentence_finds_another_document_in_another_shard():
    corpus = FakeCorpus([[[9] * 100], [[9] * 100]])  # one document in each
    plan = Plan(corpus, "segment_pair", 64, rows_per_step=20)
    slots, *_ = plan.slots(0)
    example = NextSentence().sample(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids))
    labels = labels_of(example, "next_sentence")
    for n, (_, b) in enumerate(segments_of(example)):
        if n in labels:
            owner = slots.document[n] if labels[n] == 0 else 1 - slots.document[n]
            assert holds(corpus.document_tokens(int(owner)).tolist(), b)
    assert set(labels.values()) == {0, 1}


def test_next_sentence_cuts_a_sentence_where_no_other_fits():
    corpus = FakeCorpus([[[2] * 50, [60] * 50]], longest_word=1)
    slots, *_ = Plan(corpus, "segment_pair", 32, rows_per_step=4).slots(0)
    example = NextSentence().sample(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids))
    assert (example.streams["encoder"].lengths <= slots.rooms).all()
    assert all(b for n, (_, b) in enumerate(segments_of(example)) if n in labels_of(example, "next_sentence"))


@pytest.mark.parametrize("input_format", ["segment_pair", "sentence_pair"])
def test_sentence_order_swaps_the_same_two_segments(corpus, input_format):
    slots, *_ = Plan(corpus, input_format, 128, rows_per_step=100).slots(0)
    example = SentenceOrder().sample(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids))
    texts = np.split(slots.tokens, slots.text.starts[1:])
    labels = labels_of(example, "sentence_order")
    for n, (a, b) in enumerate(segments_of(example)):
        assert (n in labels) == bool(b)
        assert (b + a if labels.get(n) else a + b) == texts[n].tolist()
    assert abs(np.mean(list(labels.values())) - 0.5) < 4 * 0.5 / np.sqrt(len(labels))
    assert (example.streams["encoder"].lengths <= slots.rooms).all()


def test_objectives_combine(plan, corpus):
    example = draw(plan, [MaskedLM(), NextSentence()], corpus.tokenizer, 0, 0)
    stream, hidden = example.streams["encoder"], example.targets["masked_lm"]
    assert set(example.targets) == {"masked_lm", "next_sentence"}
    assert (stream.units[hidden.index] >= 0).all()
    assert (stream.tokens[stream.starts] == corpus.tokenizer.cls).all()


# --- static and dynamic masking ------------------------------------------------------------------------------------


def maskings(objectives, epochs):
    """By epoch: what a batch of the same slots looks like."""
    corpus = corpus_of(shards=1, documents=10, words=8)
    plan = Plan(corpus, "segment_pair", 64, rows_per_step=32)
    slots, rows, _ = plan.slots(0)

    class Fixed:
        def __init__(self, epoch):
            self.epoch = epoch

        def slots(self, *step):
            return slots, rows, np.full(len(rows), self.epoch)

    examples = [draw(Fixed(e), objectives, corpus.tokenizer, 0, 0) for e in epochs]
    return [e.streams["encoder"].tokens.tolist() for e in examples]


@pytest.mark.parametrize("others", [[], [NextSentence()]], ids=["alone", "with next_sentence"])
def test_static_maskings_come_again_after_dupe_factor_epochs(others):
    made = maskings([MaskedLM(masking="static"), *others], range(20))
    assert made[:10] == made[10:]
    assert all(made[i] != made[j] for i in range(10) for j in range(i))


def test_dynamic_maskings_never_come_again():
    made = maskings([MaskedLM()], range(20))
    assert all(made[i] != made[j] for i in range(20) for j in range(i))


# --- configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"mask": 0.8, "random": 0.3}, "more than 1"),
        ({"rate": 0}, "greater than 0"),
        ({"rate": 1.5}, "less than 1"),
        ({"unit": "sentence"}, "whole_word"),
        ({"unit": "span", "rate": 0.6}, "at most 0.5"),
        ({"dupe_factor": 5}, "masking static"),
        ({"masking": "static", "dupe_factor": 0}, "greater than or equal to 1"),
    ],
)
def test_impossible_settings_are_refused(settings, why):
    with pytest.raises(ValidationError, match=why):
        MaskedLM(**settings)


def test_settings_reload_equal():
    for objective in (MaskedLM(), MaskedLM(masking="static", dupe_factor=4, unit="span", rate=0.2)):
        assert MaskedLM(**objective.model_dump()) == objective


# --- heads ---------------------------------------------------------------------------------------------------------


def test_heads_answer_by_the_names_of_their_targets():
    from unmask.models.shape import Shape

    shape = Shape.model_construct(width=16, vocab_size=50, norm_eps=1e-5, bias=True)
    for objective in (MaskedLM(), NextSentence(), SentenceOrder()):
        assert tuple(objective.heads(shape)) == objective.answers()
