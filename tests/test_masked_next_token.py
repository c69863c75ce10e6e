"""GPT-BERT's two modes: what is asked in each, at which place, and what a token may see; and rates that change."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fake_corpus import corpus_of
from test_every_objective import SHAPES
from unmask.commands.pretrain import Pretrain
from unmask.inference.building import network_of
from unmask.models.backbone import backbone_of
from unmask.nn.batch import collate
from unmask.objectives.causal_lm import CausalLM
from unmask.objectives.masked_lm import MaskedLM
from unmask.objectives.masked_next_token import MaskedNextToken
from unmask.runs.pretraining import Pretraining
from unmask.text.sampling.plan import Plan, draw
from unmask.training.placement import Placement
from unmask.training.settings import Training

HALF = MaskedNextToken(causal=0.5, rate=0.3)
each_family = pytest.mark.parametrize("family", ["bert", "modernbert"])


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=60, sentences=30, words=10)


def drawn(corpus, objective=HALF, rows=100, length=64, step=0):
    """A step, what it was made of, and whether each sequence [N] is read from the left."""
    plan = Plan(corpus, "doc_sentences", length, rows)
    example, plain = (draw(plan, [asked], corpus.tokenizer, 0, step) for asked in (objective, CausalLM()))
    order = example.streams["encoder"].order
    return example, plain, np.maximum.reduceat(order, example.streams["encoder"].starts) > 0


def test_a_hidden_token_is_asked_for_at_the_place_before_it(corpus):
    example, plain, causal = drawn(corpus)
    stream, before, hidden = example.streams["encoder"], plain.streams["encoder"], example.targets["masked_next_token"]
    assert np.array_equal(hidden.labels, before.tokens[hidden.index + 1])
    assert np.array_equal(stream.sequence[hidden.index], stream.sequence[hidden.index + 1])
    assert (stream.units[hidden.index + 1] >= 0).all() and not causal[stream.sequence[hidden.index]].any()
    changed = np.flatnonzero(stream.tokens != before.tokens)
    assert np.isin(changed, hidden.index + 1).all() and len(changed) > 0.85 * len(hidden.index)
    words = (stream.units >= 0) & ~causal[stream.sequence]
    assert abs(len(hidden.index) / words.sum() - 0.3) < 0.02


def test_what_is_read_from_the_left_is_asked_as_causal_lm_asks(corpus):
    example, plain, causal = drawn(corpus)
    stream, asked, wanted = example.streams["encoder"], example.targets["next_token"], plain.targets["causal_lm"]
    mine = causal[stream.sequence[wanted.index]]
    assert np.array_equal(asked.index, wanted.index[mine]) and np.array_equal(asked.labels, wanted.labels[mine])
    assert np.array_equal(asked.labels, stream.tokens[asked.index + 1])  # nothing is hidden there
    assert np.array_equal(stream.order, np.where(causal[stream.sequence], stream.position, 0))


def test_one_sequence_in_sixteen_is_read_from_the_left(corpus):
    causal = np.concatenate([drawn(corpus, MaskedNextToken(), rows=200, step=step)[2] for step in range(4)])
    assert abs(causal.mean() - 1 / 16) < 5 * (1 / 16 * 15 / 16 / len(causal)) ** 0.5
    assert MaskedNextToken(weight=2).weights() == {"masked_next_token": 2 * 15 / 16, "next_token": 2 / 16}


@each_family
def test_each_mode_is_the_model_that_it_is_named_after(corpus, family):
    """By one set of weights: states of the one are an encoder's, and of the other those of a causal model."""
    torch.manual_seed(0)
    network = network_of(SHAPES[family], [HALF])
    causal_model = backbone_of(SHAPES[family].model_copy(update={"causal": True}))
    causal_model.load_state_dict(network.backbone.state_dict())
    example, _, causal = drawn(corpus, rows=20)
    stream = example.streams["encoder"]
    sequences = collate(example.with_stream(replace(stream, order=None))).streams["encoder"]
    with torch.no_grad():
        states = network.states(collate(example))
        expected = torch.where(
            torch.from_numpy(causal[stream.sequence])[:, None], causal_model(sequences), network.backbone(sequences)
        )
    assert (states - expected).abs().max() <= 1e-5 * expected.abs().max()


@each_family
def test_the_one_is_blind_to_what_follows_and_the_other_sees_all(corpus, family):
    torch.manual_seed(0)
    network = network_of(SHAPES[family].model_copy(update={"window": None}), [HALF])
    example, _, causal = drawn(corpus, rows=20)
    batch, stream = collate(example), example.streams["encoder"]
    with torch.no_grad():
        before = network.states(batch).clone()
        batch.forget()
        changed = stream.starts + stream.lengths // 2
        batch.streams["encoder"].tokens[changed] = (batch.streams["encoder"].tokens[changed] + 7) % 900 + 5
        moved = (network.states(batch) != before).any(-1).numpy()
    behind = stream.position >= (stream.lengths // 2)[stream.sequence]
    assert np.array_equal(moved, np.where(causal[stream.sequence], behind, True))


def test_one_head_learns_from_both(corpus):
    network = network_of(SHAPES["bert"], [HALF])
    batch = collate(drawn(corpus, rows=20)[0])
    assert list(network.heads) == ["masked_next_token"]
    losses = HALF.loss(network, batch)
    for mode in ("masked_next_token", "next_token"):
        gradients = torch.autograd.grad(losses[mode].total, list(network.parameters()), retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients)
        assert losses[mode].count == len(batch.targets[mode].index)


@pytest.mark.parametrize(("causal", "absent"), [(1e-6, "next_token"), (1 - 1e-6, "masked_next_token")])
def test_a_step_may_hold_one_mode_only(corpus, causal, absent):
    objective = MaskedNextToken(causal=causal)
    losses = objective.loss(network_of(SHAPES["bert"], [objective]), collate(drawn(corpus, objective, rows=4)[0]))
    assert losses[absent].count == 0 and losses[absent].total == 0
    assert all(loss.count > 0 for mode, loss in losses.items() if mode != absent)


def test_it_goes_with_no_other():
    with pytest.raises(ValidationError, match="masked_next_token reads some texts from the left, next_sentence from"):
        Pretrain(corpus="corpus", out="out", objective="masked_next_token,next_sentence")


# --- rates that change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective", [MaskedLM(rate=0.3, last_rate=0.1), MaskedNextToken(rate=0.3, last_rate=0.1, causal=0.01)]
)
def test_a_rate_falls_in_a_straight_line(corpus, objective):
    """As a function of the step alone; held-out text is always masked at the last rate."""
    plan, place = Plan(corpus, "doc_sentences", 64, 100), Placement(torch.device("cpu"), torch.float32)
    network = network_of(SHAPES["bert"], [objective])
    work, again = (Pretraining(network, {"it": objective}, plan, plan, Training(steps=10), place) for _ in range(2))
    (head,) = objective.answers()

    def share(batch):
        words = batch.tokens - 2 * len(batch.streams["encoder"].layout.lengths)
        return batch.counts[head] / words

    for step, rate in ((0, 0.3), (3, 0.24), (9, 0.12)):
        (batch,), (same,) = work.batches(step, step / 10), again.batches(step, step / 10)
        assert abs(share(batch) - rate) < 0.02
        assert torch.equal(batch.targets[head].labels, same.targets[head].labels)
    assert abs(share(next(work._held_out_batches())) - 0.1) < 0.015


def test_without_a_last_rate_it_stays():
    assert MaskedLM(rate=0.2).at(0.7).rate == MaskedLM(rate=0.2).rate
    assert MaskedNextToken().at(1.0).rate == pytest.approx(0.15)


def test_static_masking_has_one_rate():
    with pytest.raises(ValidationError, match="its rate cannot change; leave last_rate out"):
        MaskedLM(masking="static", last_rate=0.1)
    with pytest.raises(ValidationError, match=r"rate 0.6 leaves no words between spans"):
        MaskedLM(unit="span", last_rate=0.6)
