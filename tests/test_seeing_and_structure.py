"""Span boundaries, attention by order (UniLM) and structure (StructBERT): what each paper promises."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from fake_corpus import corpus_of
from test_every_objective import SHAPES, batch_of, network_of
from unmask.commands.pretrain import Pretrain
from unmask.models.backbone import backbone_of
from unmask.nn import attention
from unmask.nn.attention import Manner
from unmask.nn.batch import collate
from unmask.nn.layout import Layout
from unmask.objectives.masked_lm import MaskedLM
from unmask.objectives.next_sentence import NextSentence
from unmask.objectives.span_boundary import SpanBoundary
from unmask.objectives.structural import Structural
from unmask.objectives.unified_lm import UnifiedLM, orders
from unmask.text.chance import Chance
from unmask.text.corruption.shuffling import shuffle_trigrams
from unmask.text.example import Example, Stream


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=40, sentences=30, words=8)


# --- span boundaries -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spans(corpus):
    return {"masked_lm": MaskedLM(unit="span"), "span_boundary": SpanBoundary()}


def test_a_span_is_asked_for_between_its_two_neighbours(spans, corpus):
    example = batch_of({**spans, "span_boundary": SpanBoundary(places=64)}, corpus, rows=60)
    stream, hidden, asked = example.streams["encoder"], example.targets["masked_lm"], example.targets["span_boundary"]
    before, after = asked.index.T
    place = before + 1 + asked.places
    assert np.array_equal(place, hidden.index) and np.array_equal(asked.labels, hidden.labels)
    assert not np.isin(asked.index, hidden.index).any(), "both are visible"
    assert all(np.isin(np.arange(b + 1, a), hidden.index).all() for b, a in asked.index[:200].tolist())
    assert (stream.sequence[before] == stream.sequence[after]).all()
    few = {**spans, "span_boundary": SpanBoundary(places=2)}
    assert batch_of(few, corpus, rows=60).targets["span_boundary"].places.max() == 1


def test_the_gradient_reaches_the_two_neighbours_and_nothing_else(spans, corpus):
    network, batch = network_of(spans), collate(batch_of(spans, corpus))
    states = network.states(batch).detach().requires_grad_()
    batch.states["encoder"] = states
    spans["span_boundary"].loss(network, batch)["span_boundary"].total.backward()
    touched = set(torch.nonzero(states.grad.abs().sum(-1)).flatten().tolist())
    assert touched == set(batch.targets["span_boundary"].index.flatten().tolist())


@pytest.mark.parametrize("given", [{"span_boundary": {}}, {"masked_lm": {}, "span_boundary": {}}])
def test_span_boundaries_want_spans(given):
    with pytest.raises(
        ValidationError, match=r"--objective masked_lm,span_boundary --objective\.masked_lm\.unit span would fit"
    ):
        Pretrain(corpus="c", out="o", objective=given)


def test_it_looks_after_masking_however_it_is_named():
    given = Pretrain(corpus="c", out="o", objective={"span_boundary": {}, "masked_lm": {"unit": "span"}})
    assert list(given.objectives) == ["masked_lm", "span_boundary"]


# --- who sees whom -------------------------------------------------------------------------------------------------

LENGTHS = np.array([5, 9, 1, 7])
ORDER = np.concatenate([np.zeros(5), np.arange(9), [3], [0, 0, 0, 3, 4, 5, 6]]).astype(np.int64)


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("row_length", [None, 12, 40])
def test_rows_agree_with_the_definition(row_length, window):
    """Forward and backward, where the order says what is seen."""
    layout, results = Layout.of(LENGTHS, row_length, ORDER), []
    for route in (attention.rows, attention.dense):
        generator = torch.Generator().manual_seed(0)
        qkv = [torch.randn(22, 3, 8, generator=generator).requires_grad_() for _ in range(3)]
        out = route(*qkv, layout, Manner(window))
        out.backward(torch.linspace(-1, 1, out.numel()).view(out.shape))
        results.append([out.detach(), *(x.grad for x in qkv)])
    for mine, reference in zip(*results, strict=True):
        assert torch.allclose(mine, reference, atol=2e-6)


@pytest.mark.parametrize("family", [name for name in SHAPES if SHAPES[name].flow not in ("gru", "elmo")])
def test_nobody_sees_what_the_order_hides(family):
    """The states' gradients by the embeddings are not zero just where order and model allow; in train mode."""
    shape = SHAPES[family].model_copy(
        update={"layers": 1, "global_tokens": "none"}
    )  # who is global sees past any order
    encoder, far = backbone_of(shape).train(), 22 if shape.is_global(0) else shape.window_of(0) // 2
    stream = Stream(np.random.default_rng(0).integers(5, 1000, 22), LENGTHS, order=ORDER)
    sequences, seen = collate(Example({"encoder": stream}), 24).streams["encoder"], []
    encoder.embeddings.register_forward_hook(lambda module, inputs, out: seen.append(out))
    states = encoder(sequences)
    for place in range(22):
        (gradient,) = torch.autograd.grad(states[place].square().sum(), seen[0], retain_graph=True)
        allowed = (stream.sequence == stream.sequence[place]) & (ORDER[place] >= ORDER)
        allowed |= np.arange(22) == place
        allowed &= abs(np.arange(22) - place) <= far
        if shape.causal or shape.flow == "transformer_xl":
            allowed &= np.arange(22) <= place
        touched = (gradient.abs().sum(-1) > 0).numpy()
        # behind the 22 there may be some that make their number even
        assert np.array_equal(touched[:22], allowed) and not touched[22:].any()


def test_the_four_patterns_entry_by_entry():
    stream = Stream(np.zeros(20, int), np.full(4, 5), np.tile([0, 0, 0, 1, 1], 4).astype(np.int8))
    order = orders(stream, np.arange(4)).reshape(4, 5)
    sees = (order[:, :, None] >= order[:, None, :]).astype(int)
    both = np.ones((5, 5), int)
    from_a = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    assert np.array_equal(sees, [both, from_a, np.tril(both), np.triu(both)])


def patterns_of(example):
    """By sequence: 0 both sides, 1 B from A, 2 from the left, 3 from the right; read off the order alone."""
    stream = example.streams["encoder"]
    found = []
    for order, segments in zip(
        np.split(stream.order, stream.starts[1:]), np.split(stream.segments, stream.starts[1:]), strict=True
    ):
        pattern = 0 if not order.any() else 3 if order[-1] < 0 else 1 if order[1] == 0 else 2
        assert set(segments.tolist()) <= {0: {0, 1}, 1: {4, 5}, 2: {2}, 3: {3}}[pattern]
        found.append(pattern)
    return np.array(found)


def paired(example):
    """[N] whether a sequence holds two texts: those of one sentence have two separators, [CLS] and [SEP], no more."""
    stream = example.streams["encoder"]
    return np.add.reduceat(stream.units == -1, stream.starts) > 2


def check_shares(pattern):
    shares = np.bincount(pattern, minlength=4) / len(pattern)
    assert abs(shares - [1 / 3, 1 / 3, 1 / 6, 1 / 6]).max() < 5 * np.sqrt(0.25 / len(pattern))


def test_patterns_are_mixed_as_the_paper_says(corpus):
    example = batch_of({"unified_lm": UnifiedLM()}, corpus, rows=600)
    check_shares(patterns_of(example)[paired(example)])


def test_beside_next_sentence_the_mixture_stays_and_b_is_never_learned_from_another_text(corpus):
    given = {"next_sentence": NextSentence(), "unified_lm": UnifiedLM()}
    example = batch_of(given, corpus, rows=600)
    pattern, asked = patterns_of(example), example.targets["next_sentence"]
    stream = example.streams["encoder"]
    check_shares(pattern[paired(example)])
    assert (pattern[stream.sequence[asked.index]] == 0).all(), "asked only where both texts are seen"
    assert abs(asked.labels.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(asked.labels))


def test_states_are_those_of_transformers_with_the_same_mask(corpus):
    """BERT under UniLM's patterns: states and gradients, in train mode."""
    transformers = pytest.importorskip("transformers")
    from unmask.hub.names import to_theirs

    network = network_of({"unified_lm": UnifiedLM()})
    shape = network.backbone.shape
    config = transformers.BertConfig(
        vocab_size=1000, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, type_vocab_size=6, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.BertForMaskedLM(config).train()
    tensors = {name: p.detach() for name, p in network.named_parameters()}
    missing, unexpected = theirs.load_state_dict(to_theirs(shape, tensors), strict=False)
    assert not unexpected and set(missing) <= {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    example = batch_of({"unified_lm": UnifiedLM()}, corpus, rows=8)
    stream, states = example.streams["encoder"], network.train().states(collate(example))
    sees = stream.order[:, None] >= stream.order[None, :]
    pull = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    for n, start in enumerate(stream.starts.tolist()):
        mine = slice(start, start + int(stream.lengths[n]))
        mask = torch.where(torch.from_numpy(sees[mine, mine]), 0.0, torch.finfo(torch.float32).min)[None, None]
        tokens, segments = (torch.from_numpy(x[mine].astype(np.int64))[None] for x in (stream.tokens, stream.segments))
        out = theirs.bert(input_ids=tokens, token_type_ids=segments, attention_mask=mask).last_hidden_state[0]
        assert (states[mine] - out).abs().max() < 1e-5
        ours, other = (
            torch.autograd.grad((x * pull[: len(x)]).sum(), w, retain_graph=True)[0]
            for x, w in (
                (states[mine], network.backbone.blocks[0].attention.out.weight),
                (out, theirs.bert.encoder.layer[0].attention.output.dense.weight),
            )
        )
        assert torch.allclose(ours, other, atol=1e-4 * other.abs().max())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"unified_lm": {"mask": 0.9, "random": 0.2}}, "more than 1"),
        ({"unified_lm": {"bidirectional": 0.5}}, "must add up to 1"),
        ({"unified_lm": {}, "masked_lm": {}}, "give one of the two"),
        (
            {"next_sentence": {}, "unified_lm": {"bidirectional": 0.2, "sequence_to_sequence": 0.8, "left_to_right": 0,
                                                 "right_to_left": 0}},
            "only half of them are in order",
        ),
    ],
)  # fmt: skip
def test_mixtures_that_cannot_be_are_refused(given, why):
    with pytest.raises(ValidationError, match=why):
        Pretrain(corpus="c", out="o", objective=given)


# --- structure -----------------------------------------------------------------------------------------------------


def test_the_three_relations_are_balanced_and_true(corpus):
    example = batch_of({"structural": Structural()}, corpus, rows=600)
    labels = example.targets["structural"].labels
    counts = np.bincount(labels, minlength=3)
    assert abs(counts / len(labels) - 1 / 3).max() < 5 * np.sqrt(0.25 / len(labels))


def test_relations_are_what_they_say(corpus):
    from unmask.text.sampling.plan import Plan

    plan = Plan(corpus, "segment_pair", 64, rows_per_step=60)
    slots, *_ = plan.slots(0)
    example = Structural().sample(slots, corpus.tokenizer, Chance.of(0, 0, slots.ids))
    stream, asked = example.streams["encoder"], example.targets["structural"]
    texts = np.split(slots.tokens, slots.text.starts[1:])
    for first, label in zip(asked.index.tolist(), asked.labels.tolist(), strict=True):
        n = stream.sequence[first]
        mine = slice(first, first + int(stream.lengths[n]))
        tokens, segments = stream.tokens[mine], stream.segments[mine]
        a, b = (tokens[(segments == s) & (tokens >= 5)].tolist() for s in (0, 1))
        whole = texts[n].tolist()
        assert (a + b == whole, b + a == whole) == (label == 0, label == 1)


def test_shuffled_places_are_rebuilt():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 60, 300)
    tokens = np.arange(5, 5 + lengths.sum())
    units = np.where(rng.random(len(tokens)) < 0.1, -1, np.arange(len(tokens)))
    taken = np.flatnonzero((rng.random(len(tokens)) < 0.15) & (units >= 0))
    stream = Stream(tokens, lengths, None, units)
    after, targets = shuffle_trigrams(stream, Chance.of(0, 0, np.arange(300)), 0.5, taken)
    rebuilt = after.tokens.copy()
    rebuilt[targets.index] = targets.labels
    assert np.array_equal(rebuilt, tokens)
    thirds = targets.index.reshape(-1, 3)
    assert (np.diff(thirds) == 1).all() and len(np.unique(targets.index)) == len(targets.index)
    assert all(set(after.tokens[t]) == set(tokens[t]) and (after.tokens[t] != tokens[t]).any() for t in thirds)
    assert (units[targets.index] >= 0).all() and not np.isin(targets.index, taken).any()
    assert (stream.sequence[thirds[:, 0]] == stream.sequence[thirds[:, 2]]).all()


def test_a_twentieth_of_the_trigrams_is_shuffled(corpus):
    """Each way of shuffling as often; and a trigram may begin at any place."""
    stream = Stream(np.arange(300_000), np.full(100, 3000), None, np.arange(300_000))
    after, targets = shuffle_trigrams(stream, Chance.of(0, 0, np.arange(100)), 0.05, np.empty(0, int))
    chosen = len(targets.index) / 3
    assert abs(chosen - 5000) < 5 * np.sqrt(5000)
    moves = after.tokens[targets.index.reshape(-1, 3)] - targets.index.reshape(-1, 3)[:, :1]
    kinds, counts = np.unique(moves, axis=0, return_counts=True)
    assert len(kinds) == 5 and abs(counts / chosen - 0.2).max() < 5 * np.sqrt(0.16 / chosen)
    assert set((targets.index[::3] % 3).tolist()) == {0, 1, 2}


def test_shuffling_leaves_alone_what_masking_hid(corpus):
    both = {"masked_lm": MaskedLM(), "structural": Structural(rate=0.9)}
    example = batch_of(both, corpus, rows=60)
    assert not np.isin(example.targets["trigrams"].index, example.targets["masked_lm"].index).any()


def test_heads_that_answer_in_tokens_share_the_embeddings(corpus):
    network = network_of({"masked_lm": MaskedLM(), "structural": Structural()})
    matrix = network.backbone.embeddings.tokens.weight
    assert all(network.heads[head].vocabulary is matrix for head in ("masked_lm", "trigrams"))
    assert isinstance(network.heads["structural"].classifier, nn.Linear)
