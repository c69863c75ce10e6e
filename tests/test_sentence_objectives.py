"""What the objectives on sentences promise, beside the formulas of their papers written out in loops."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from fake_corpus import FakeCorpus, corpus_of
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.models.shape import Shape
from unmask.nn import dropout
from unmask.nn.batch import collate
from unmask.nn.heads import VocabularyHead
from unmask.nn.network import evaluating
from unmask.objectives.contrastive import Contrastive
from unmask.objectives.quick_thought import QuickThought
from unmask.objectives.skip_thought import SkipThought
from unmask.runs.pretraining import Pretraining
from unmask.text.sampling.plan import Plan, draw
from unmask.training.placement import Placement
from unmask.training.settings import Training

TINY = {"vocab_size": 1000, "width": 32, "dropout": 0, "attention_dropout": 0}
SHAPES = {
    "bert": Shape(layers=2, heads=2, feed_forward=64, max_length=64, **TINY),
    "gru": Shape(family="gru", layers=1, heads=1, feed_forward=1, segments=0, **TINY),
}
OBJECTIVES = {
    "contrastive": Contrastive(group=12),
    "quick_thought": QuickThought(group=12),
    "skip_thought": SkipThought(),
}
families = pytest.mark.parametrize("family", SHAPES)


@pytest.fixture(scope="module")
def corpus():
    """Documents of one sentence too, and some sentences that are longer than a sequence of 32."""
    return corpus_of(shards=2, documents=25, sentences=6, words=8)


def plan_of(corpus, name, rows=16, length=32):
    objective = OBJECTIVES[name]
    return Plan(corpus, objective.input_formats[0], length, rows, together=objective.together)


def example_of(corpus, name, step=0, rows=16):
    return draw(plan_of(corpus, name, rows), [OBJECTIVES[name]], corpus.tokenizer, 0, step)


def network_for(name, family="bert", **changes):
    torch.manual_seed(0)
    return network_of(SHAPES[family].model_copy(update=changes), [OBJECTIVES[name]])


def lively(name, family="bert", **changes):
    """A network whose states differ, and whose scores are small: fresh ones are nearly equal, and their products large,
    so that float32 would round away what is compared."""
    network = network_for(name, family, **changes)
    for parameter, weight in network.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
        elif parameter.endswith("blocks.1.feed_forward_norm.weight"):
            torch.nn.init.constant_(weight, 0.3)
    return network


def texts(stream):
    """Each sequence's tokens, without the special ones around them."""
    return [tuple(x.tolist()[1:-1]) for x in np.split(stream.tokens, stream.starts[1:])]


def pieces(corpus, plan):
    """Of each document its sentences, those that are too long in the parts that they were cut into."""
    for i in range(corpus.shards):
        shard, edges = corpus.shard(i), plan._rows(i).pieces
        for first, last in pairwise(shard.documents):
            inside = edges[(edges >= first) & (edges <= last)]
            yield [tuple(shard.tokens[a:b].tolist()) for a, b in pairwise(inside)]


def steps(plan):
    return range(-(-plan.rows // plan.rows_per_step))


def gradients(network):
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in network.named_parameters()}


def assert_same_gradients(network, mine, other):
    """Those of both losses; what has none but for rounding (a bias of keys) is measured against the largest of all."""
    network.zero_grad()
    mine.backward()
    ours = gradients(network)
    network.zero_grad()
    other.backward()
    theirs = gradients(network)
    most = max(g.norm() for g in theirs.values())
    assert most > 0
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= 1e-5 * max(gradient.norm(), 0.1 * most), name


# --- sentences, their neighbours, their groups ------------------------------------------------------------------------


@pytest.mark.parametrize("input_format", ["single_sentences", "doc_sentences"])
@pytest.mark.parametrize("length", [24, 64])
def test_the_sentences_next_to_a_slot_are_those_of_its_document(corpus, input_format, length):
    plan = Plan(corpus, input_format, length, rows_per_step=50)
    documents = list(pieces(corpus, plan))
    assert length > 24 or plan.cut > 0
    seen = 0
    for step in steps(plan):
        slots, *_ = plan.slots(step)
        before, after = (slots.adjacent(side) for side in (False, True))
        for n in range(len(slots.lengths)):
            mine = tuple(slots.tokens[slots.text.starts[n] :][: slots.lengths[n]].tolist())
            document = documents[slots.document[n]]
            first, last = span_of(document, mine, slots.ids[n], corpus, slots.document[n])
            for text, k in ((before, first - 1), (after, last)):
                found = tuple(text.tokens[text.starts[n] :][: text.lengths[n]].tolist())
                assert found == (document[k] if 0 <= k < len(document) else ())
                seen += bool(found)
    assert seen > 50


def span_of(document, text, number, corpus, k):
    """Which pieces of a document a slot is made of, found by where its first token stands."""
    shard = corpus.shard(number >> 32)
    place = (number & 0xFFFFFFFF) - shard.documents[k - shard.first_document]
    ends = np.cumsum([0, *map(len, document)])
    first, last = np.searchsorted(ends, [place, place + len(text)])
    assert sum(document[first:last], ()) == text
    return first, last


def test_single_sentences_are_single(corpus):
    plan = plan_of(corpus, "contrastive", length=64)
    slots = [plan.slots(step)[0] for step in steps(plan)]
    found = Counter(t for s in slots for t in map(tuple, np.split(s.tokens, s.text.starts[1:])))
    assert sum(found.values()) >= sum(len(d) for d in pieces(corpus, plan))
    assert set(found) == {sentence for document in pieces(corpus, plan) for sentence in document}


def test_groups_are_of_about_the_size_asked_for_and_the_same_for_any_number_of_ranks(corpus):
    plan = Plan(corpus, "single_sentences", 64, rows_per_step=40, together=20)
    assert plan.groups > 3
    whole, *_ = plan.slots(1)
    sizes = np.bincount(whole.groups)
    assert len(sizes) == plan.groups and abs(sizes.mean() - 20) < 4 and sizes.min() > 10 and sizes.max() < 30
    for world in range(2, plan.groups + 1):
        parts = [plan.slots(1, rank, world)[0] for rank in range(world)]
        assert np.array_equal(np.concatenate([part.groups for part in parts]), whole.groups)
        assert np.array_equal(np.concatenate([part.ids for part in parts]), whole.ids)
        assert not set.intersection(*(set(part.groups) for part in parts))


def test_a_group_is_never_shared_and_what_is_proposed_fits(corpus):
    plan = Plan(corpus, "single_sentences", 64, rows_per_step=8, together=20)
    assert plan.groups == 2
    with pytest.raises(UserError, match=r"8 rows holds 2 groups of sentences .* shared by 4 .* or smaller") as refused:
        plan.slots(0, 0, 4)
    (rows,) = re.findall(r"--batch-size (\d+) would fit", str(refused.value))
    Plan(corpus, "single_sentences", 64, rows_per_step=int(rows), together=20).slots(0, 0, 4)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(("ranks", "accumulated"), [(2, 1), (1, 3), (2, 2)])
def test_ranks_and_pieces_come_to_the_loss_and_gradients_of_one(corpus, name, ranks, accumulated):
    network, plan = lively(name), plan_of(corpus, name, rows=32)

    def losses(world, pieces):
        found, settings = [], Training(accumulate=pieces)
        for rank in range(world):
            place = Placement(torch.device("cpu"), torch.float32, rank, world)
            work = Pretraining(network, {name: OBJECTIVES[name]}, plan, None, settings, place)
            found += [loss for batch in work.batches(0) for loss in work.losses(batch).values()]
        return sum(loss.total for loss in found), sum(loss.count for loss in found)

    (one, count), (several, counts) = losses(1, 1), losses(ranks, accumulated)
    assert count == counts > 0
    torch.testing.assert_close(several, one, rtol=1e-5, atol=0)
    assert_same_gradients(network, several, one)


# --- contrastive ------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_papers():
    assert (Contrastive().temperature, Contrastive().group, QuickThought().group) == (0.05, 64, 400)
    assert SkipThought().decoder == "gru"


def test_each_sentence_stands_twice_and_nothing_is_lost(corpus):
    plan = plan_of(corpus, "contrastive")
    found = Counter()
    for step in steps(plan):
        example = draw(plan, [OBJECTIVES["contrastive"]], corpus.tokenizer, 0, step)
        first, second = texts(example.streams["encoder"])[::2], texts(example.streams["encoder"])[1::2]
        assert first == second
        assert (
            example.targets["contrastive"].index.tolist() == example.streams["encoder"].starts.reshape(-1, 2).tolist()
        )
        found.update(first)
    whole = Counter(sentence for document in pieces(corpus, plan) for sentence in document)
    assert not whole - found  # the last step goes on into the next epoch


def groups_of(corpus, name, step=0):
    """The numbers of the sentences of each group, by a plan's slots."""
    slots, *_ = plan_of(corpus, name).slots(step)
    return [np.flatnonzero(slots.groups == g).tolist() for g in np.unique(slots.groups)]


def simcse(network, batch, groups, temperature=0.05):
    """Gao 2021, equation 4, sentence by sentence."""
    states = network.backbone(batch.streams["encoder"])
    head, total = network.heads["contrastive"], 0.0
    for group in groups:
        for i in group:
            z = torch.tanh(head.dense(states[batch.targets["contrastive"].index[i, 0]]))
            others = [torch.tanh(head.dense(states[batch.targets["contrastive"].index[j, 1]])) for j in group]
            scores = torch.stack([z @ o / z.norm() / o.norm() / temperature for o in others])
            total = total - torch.log(scores.exp()[group.index(i)] / scores.exp().sum())
    return total


def test_its_loss_is_that_of_the_paper(corpus):
    network, example = lively("contrastive", dropout=0.1, attention_dropout=0.1), example_of(corpus, "contrastive")
    groups = groups_of(corpus, "contrastive")
    assert len(groups) > 2
    dropout.seed(0, 0, 0)
    batch = collate(example)
    batch.asked.clear()  # what is left out of the last layer has no dropout either
    loss = OBJECTIVES["contrastive"].loss(network, batch)["contrastive"]
    dropout.seed(0, 0, 0)
    reference = simcse(network, collate(example), groups)
    assert loss.count == sum(map(len, groups))
    torch.testing.assert_close(loss.total, reference, rtol=1e-5, atol=0)
    assert_same_gradients(network, loss.total, reference)


def test_dropout_tells_the_copies_apart_also_where_nothing_is_learned(corpus):
    network, objective = network_for("contrastive", dropout=0.1), OBJECTIVES["contrastive"]
    example = example_of(corpus, "contrastive")
    for _ in range(2):
        batch = collate(example)
        with evaluating(network):
            dropout.seed(0, 0, 0)
            loss = objective.loss(network, batch)["contrastive"]
            assert not network.training
        pairs = network.states_at(batch, "contrastive")
        assert not torch.isclose(pairs[:, 0], pairs[:, 1]).all(1).any()
    total, count = loss.figures["alignment"]
    unit = F.normalize(pairs, dim=-1)
    torch.testing.assert_close(total, sum(((a - b) ** 2).sum() for a, b in unit))
    assert count == len(pairs)
    total, count = loss.figures["uniformity"]
    far = [
        ((unit[i, 0] - unit[j, 0]) ** 2).sum() for g in groups_of(corpus, "contrastive") for i in g for j in g if i != j
    ]
    assert count == len(far)
    torch.testing.assert_close(total, torch.stack(far).mul(-2).exp().sum(), rtol=1e-4, atol=0)


def test_held_out_figures_are_the_same_each_time_and_name_alignment_and_uniformity(corpus):
    plan, network = plan_of(corpus, "contrastive"), network_for("contrastive", dropout=0.1)
    place = Placement(torch.device("cpu"), torch.float32)
    work = Pretraining(network, {"contrastive": OBJECTIVES["contrastive"]}, plan, plan, Training(), place)
    figures = work.evaluate()
    assert set(figures) == {"loss", *(f"{w}/contrastive" for w in ("loss", "accuracy", "alignment", "uniformity"))}
    assert figures["alignment/contrastive"] > 0 > figures["uniformity/contrastive"] > -4
    assert work.evaluate() == figures


def test_a_sentence_alone_in_its_group_has_no_wrong_answer():
    corpus = FakeCorpus([[[5]]])
    network, plan = network_for("contrastive"), Plan(corpus, "single_sentences", 64, 1, together=64)
    with evaluating(network):
        batch = collate(draw(plan, [Contrastive()], corpus.tokenizer, 0, 0))
        loss = Contrastive().loss(network, batch)["contrastive"]
    assert float(loss.total) == 0 and loss.figures["uniformity"][1] == 0
    assert Contrastive().figures({"uniformity/contrastive": 0.0}) == {}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "this model has none; --model.dropout 0.1 would fit"),
        ({"model": "bert-tiny", "objective": "contrastive,masked_lm"}, "give it alone"),
        ({"model": "bert-tiny", "objective": "quick_thought,masked_lm"}, "quick_thought reads sentences whole"),
        ({"model": "gru-tiny"}, "contrastive cannot train gru-tiny"),
        ({"model": "bert-tiny", "input_format": "full_sentences"}, "fitting: single_sentences"),
    ],
)
def test_what_it_cannot_learn_from_is_refused(settings, why):
    with pytest.raises((ValidationError, UserError), match=why):
        Pretrain(**{"corpus": "c", "out": "o", "objective": "contrastive", **settings})


def test_dropout_makes_any_encoder_fit():
    for objective, model in (
        ({"contrastive": {}}, {"name": "modernbert-mini", "dropout": 0.1}),
        ({"contrastive": {"dropout": 0.2}}, "modernbert-mini"),
    ):
        shape = Pretrain(corpus="c", out="o", objective=objective, model=model).resolved(100).model
        assert shape.dropout == (0.1 if isinstance(model, dict) else 0.2)


# --- quick thoughts ---------------------------------------------------------------------------------------------------


def asked_of(example):
    """By answer: the sentence, its true neighbour, and all that are offered."""
    targets, stream = example.targets["quick_thought"], example.streams["encoder"]
    sentences, candidates = texts(stream), texts(example.streams["candidates"])
    for index, label, offered in zip(targets.index, targets.labels, targets.places, strict=True):
        there = offered[offered >= 0]
        assert len(set(there.tolist())) == len(there)
        yield (
            sentences[np.searchsorted(stream.starts, index)],
            candidates[offered[label]],
            [candidates[c] for c in there],
        )


def test_every_neighbour_of_every_sentence_is_asked_for_and_no_other(corpus):
    plan = plan_of(corpus, "quick_thought")
    found = Counter()
    for step in steps(plan):
        example = draw(plan, [OBJECTIVES["quick_thought"]], corpus.tokenizer, 0, step)
        found.update((sentence, true) for sentence, true, _ in asked_of(example))
    pairs = Counter()
    for document in pieces(corpus, plan):
        pairs.update(pairwise(document))
        pairs.update(zip(document[1:], document[:-1], strict=True))
    assert not pairs - found
    assert set(found) == set(pairs)


def test_candidates_are_the_group_without_the_sentence_and_its_other_neighbour():
    # long enough that no sentence comes twice
    corpus = corpus_of(shards=2, documents=20, sentences=8, words=10, seed=3)
    plan = plan_of(corpus, "quick_thought", rows=24, length=64)
    around = {}
    for document in pieces(corpus, plan):
        for k, sentence in enumerate(document):
            around[sentence] = {document[j] for j in (k - 1, k + 1) if 0 <= j < len(document)}
    slots, *_ = plan.slots(0)
    groups, which = {}, slots.groups[slots.parted[1]]
    for group, sentence in zip(
        which, texts(draw(plan, [OBJECTIVES["quick_thought"]], corpus.tokenizer, 0, 0).streams["encoder"]), strict=True
    ):
        groups.setdefault(group, set()).add(sentence)
    assert len(groups) > 2
    for sentence, true, offered in asked_of(draw(plan, [OBJECTIVES["quick_thought"]], corpus.tokenizer, 0, 0)):
        assert sentence not in offered
        assert true in around[sentence] and set(offered) & around[sentence] == {true}
        (mine,) = (members for members in groups.values() if sentence in members)
        near = set.union(*(around[member] for member in mine))
        assert mine - {sentence} - around[sentence] <= set(offered) <= (mine | near)


@families
def test_quick_thought_loss_is_that_of_the_paper(corpus, family):
    """Logeswaran 2018, equations 1 and 2: f and g encode each sentence alone here."""
    network, example = lively("quick_thought", family), example_of(corpus, "quick_thought")
    f, g = network.backbone, network.companions["candidates"]
    encoder, candidates = (collate(example).streams[name] for name in ("encoder", "candidates"))
    batch = collate(example)
    loss = OBJECTIVES["quick_thought"].loss(network, batch)["quick_thought"]
    us, vs = (x(s)[s.layout.cu_seqlens[:-1]] for x, s in ((f, encoder), (g, candidates)))
    starts, total = example.streams["encoder"].starts.tolist(), 0.0
    asked = batch.targets["quick_thought"]
    for index, label, offered in zip(asked.index.tolist(), asked.labels.tolist(), asked.places.tolist(), strict=True):
        u = us[starts.index(index)]
        scores = {c: (u * vs[c]).sum() for c in offered if c >= 0}
        weights = {c: s.exp() for c, s in scores.items()}
        total = total - (weights[offered[label]] / sum(weights.values())).log()
    torch.testing.assert_close(loss.total, total, rtol=1e-5, atol=0)
    assert_same_gradients(network, loss.total, total)


def test_nothing_is_decoded(corpus):
    network = network_for("quick_thought")
    assert not list(network.heads.parameters()) and not any(isinstance(m, VocabularyHead) for m in network.modules())
    f, g = network.backbone, network.companions["candidates"]
    assert not any(a is b for a in f.parameters() for b in g.parameters())


# --- skip-thoughts ----------------------------------------------------------------------------------------------------


def written(example, side):
    """(the sentence, what the decoder reads, what it is to say) of each neighbour on one side."""
    encoder, stream, asked = example.streams["encoder"], example.streams[side], example.targets[side]
    sentences = texts(encoder)
    assert np.array_equal(asked.index, np.arange(len(stream.tokens)))
    for a, n in zip(stream.starts, stream.lengths, strict=True):
        (told,) = set(asked.places[a : a + n].tolist())
        yield (
            sentences[encoder.starts.tolist().index(told)],
            stream.tokens[a : a + n].tolist(),
            asked.labels[a : a + n].tolist(),
        )


def test_every_neighbour_is_written_whole(corpus):
    plan, tokenizer = plan_of(corpus, "skip_thought"), corpus.tokenizer
    found = {"sentence_before": Counter(), "sentence_after": Counter()}
    for step in steps(plan):
        example = draw(plan, [OBJECTIVES["skip_thought"]], tokenizer, 0, step)
        for side, counts in found.items():
            for sentence, read, said in written(example, side):
                assert read[0] == tokenizer.cls and said[-1] == tokenizer.sep and read[1:] == said[:-1]
                counts[sentence, tuple(said[:-1])] += 1
    documents = list(pieces(corpus, plan))
    after = Counter(pair for d in documents for pair in pairwise(d))
    before = Counter(pair[::-1] for pair in after.elements())
    for counts, pairs in ((found["sentence_after"], after), (found["sentence_before"], before)):
        assert not pairs - counts and set(counts) == set(pairs)


@families
@pytest.mark.parametrize("decoder", ["gru", "transformer"])
def test_a_decoder_sees_what_it_has_written_and_its_own_sentence(corpus, family, decoder):
    objective = SkipThought(decoder=decoder)
    torch.manual_seed(0)
    network = network_of(SHAPES[family], [objective])
    batch = collate(example_of(corpus, "skip_thought"))
    side, stream = "sentence_after", batch.streams["sentence_after"]
    asked = batch.targets[side]
    states = network.states(batch).detach().requires_grad_()
    logits = network.heads[side](stream, states[asked.places])
    edges = stream.layout.cu_seqlens.tolist()
    n = next(n for n in range(3, len(edges)) if edges[n + 1] - edges[n] > 4)
    t = edges[n] + 2
    (gradient,) = torch.autograd.grad(logits[t].square().sum(), states, retain_graph=True)
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [asked.places[t]]
    tokens = stream.tokens.clone()
    tokens[t + 1 :] = 7
    stream.tokens = tokens
    again = network.heads[side](stream, states[asked.places])
    assert torch.equal(again[: t + 1], logits[: t + 1]) and not torch.isclose(again[t + 1], logits[t + 1]).all()


def kiros(network, batch):
    """Kiros 2015, equations 1 to 9, word by word: an encoder, and a decoder for each side."""

    def gates(gru, x, h):
        weights = [
            dict(gru.named_parameters())[n] for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        ]
        (wr, wz, w), (ur, uz, u), (ar, az, a), (br, bz, b) = (m.chunk(3) for m in weights)
        r, z = torch.sigmoid(wr @ x + ur @ h + ar + br), torch.sigmoid(wz @ x + uz @ h + az + bz)
        return (1 - z) * torch.tanh(w @ x + a + r * (u @ h + b)) + z * h

    words, (encoder,) = network.backbone.embeddings["tokens"].weight, network.backbone.blocks
    stream, total = batch.streams["encoder"], 0.0
    vectors = {}
    for first, end in zip(stream.layout.cu_seqlens[:-1].tolist(), stream.layout.cu_seqlens[1:].tolist(), strict=True):
        h = torch.zeros(words.shape[1])
        for token in [*stream.tokens[first + 1 : end], stream.tokens[first]]:
            h = gates(encoder.gru, words[token], h)
        vectors[first] = h
    for side in ("sentence_before", "sentence_after"):
        head, asked, written = network.heads[side], batch.targets[side], batch.streams[side]
        h = torch.zeros(words.shape[1])
        for t, token in enumerate(written.tokens.tolist()):
            h = torch.zeros_like(h) if written.positions[t] == 0 else h
            h = gates(head.recurrence.gru, torch.cat([words[token], vectors[int(asked.places[t])]]), h)
            total = total - (words @ h + head.bias).log_softmax(-1)[asked.labels[t]]
    return total


def test_skip_thought_loss_is_that_of_the_paper(corpus):
    network = lively("skip_thought", "gru")
    batch = collate(example_of(corpus, "skip_thought", rows=3))
    loss = sum(loss.total for loss in OBJECTIVES["skip_thought"].loss(network, batch).values())
    reference = kiros(network, batch)
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=0)
    assert_same_gradients(network, loss, reference)


def test_documents_of_one_sentence_ask_nothing():
    corpus = FakeCorpus([[[4]] * 30])
    for name in ("skip_thought", "quick_thought"):
        network = network_for(name)
        with evaluating(network):
            losses = OBJECTIVES[name].loss(network, collate(example_of(corpus, name, rows=2)))
        assert all(loss.count == 0 and float(loss.total) == 0 for loss in losses.values())


def test_sentences_with_alike_neighbours_come_closer_than_others():
    """Twelve sentences of words of their own; those whose numbers are equal modulo 3 stand between the same two."""
    corpus = FakeCorpus([[[1, 1, 1]] * 400], longest_word=1)
    kinds = np.random.default_rng(0).integers(0, 12, 400)
    corpus.shard(0).tokens[:] = np.stack([100 + kinds % 3, 200 + kinds, 300 + kinds % 3], axis=1).ravel()
    plan, objective = Plan(corpus, "single_sentences", 16, 16), SkipThought()
    network = network_for("skip_thought", "gru")
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-2, weight_decay=0)
    for step in range(150):
        batch = collate(draw(plan, [objective], corpus.tokenizer, 0, step))
        losses = objective.loss(network, batch).values()
        optimizer.zero_grad()
        sum(loss.total / loss.count for loss in losses).backward()
        optimizer.step()
    vectors = F.normalize(vectors_of(network, [[2, 200 + kind, 3] for kind in range(12)]), dim=-1)
    alike = np.equal.outer(np.arange(12) % 3, np.arange(12) % 3)
    cosines = (vectors @ vectors.T).numpy()
    apart = cosines[~alike]
    np.fill_diagonal(alike, False)
    assert cosines[alike].mean() > 0.8 > apart.mean() + 0.3


@torch.no_grad()
def vectors_of(network, sequences):
    from unmask.text.example import Example, Stream

    lengths = np.array([len(ids) for ids in sequences])
    batch = collate(Example({"encoder": Stream(np.concatenate(sequences), lengths)}))
    return network.states(batch)[batch.streams["encoder"].layout.cu_seqlens[:-1]]
