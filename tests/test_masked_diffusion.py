"""What masked diffusion promises: its loss is the bound, the bound is above what the model says, and it writes."""

import itertools
import math
from dataclasses import dataclass, field
from math import factorial
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fake_corpus import FakeTokenizer, corpus_of
from test_every_objective import network_of, slots_of
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.inference.building import network_of as built
from unmask.inference.generation.generate import generate
from unmask.inference.generation.settings import Generation
from unmask.inference.model import Model
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.losses import cross_entropy
from unmask.objectives.masked_diffusion import LEAST, MaskedDiffusion
from unmask.text.chance import Chance
from unmask.text.example import Example, Stream
from unmask.text.sampling.plan import Plan, stages

TEXT = [2, 6, 5, 7, 3]  # three ordinary tokens; of these there are three as well
LENGTH = 3
SHAPE = Shape(vocab_size=8, width=16, layers=2, heads=2, feed_forward=32, max_length=16, dropout=0, attention_dropout=0)


@dataclass
class Letters:
    """A tokenizer of five special tokens and three others."""

    pad: int = 0
    cls: int = 2
    sep: int = 3
    mask: int = 4
    size: int = 8
    names: dict[str, str] = field(default_factory=dict)

    @property
    def special(self):
        return np.arange(self.size) < 5


@pytest.fixture(scope="module")
def network():
    """Random weights, large enough that what is seen makes a difference."""
    torch.manual_seed(1)
    network = built(SHAPE, [MaskedDiffusion()]).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight") and "norm" not in name:
                parameter.mul_(12)
    return network


def said(network, texts):
    """Scores [N, L, V] of texts of this length."""
    stream = Stream(np.concatenate(texts), np.array([len(text) for text in texts]))
    with torch.no_grad():
        states = network.backbone(collate(Example({"encoder": stream})).streams["encoder"])
        return network.heads["masked_lm"](states).view(len(texts), -1, 8).double()


def hidden(text, places):
    return [4 if place in places else token for place, token in enumerate(text)]


def surprises(network, text):
    """For every set of hidden places, what each of them costs."""
    sets = [set(s) for n in range(1, LENGTH + 1) for s in itertools.combinations(range(1, LENGTH + 1), n)]
    scores = said(network, [hidden(text, places) for places in sets]).log_softmax(-1)
    return {frozenset(s): {p: -float(one[p, text[p]]) for p in s} for s, one in zip(sets, scores, strict=True)}


def bound(network, text):
    """The integral over all rates, by the beta function."""
    return sum(
        factorial(len(places) - 1) * factorial(LENGTH - len(places)) / factorial(LENGTH) * sum(each.values())
        for places, each in surprises(network, text).items()
    )  # fmt: skip


def repeated(count):
    units = np.tile([-1, 0, 1, 2, -1], count)
    example = Example({"encoder": Stream(np.tile(TEXT, count), np.full(count, 5), units=units)})
    return MaskedDiffusion().corrupt(example, Letters(), Chance.of(0, 0, np.arange(count)))


def test_the_weighted_loss_is_an_unbiased_estimate_of_the_bound(network):
    """On a text of three tokens, of which all eight ways to hide some can be reckoned up."""
    count, costs = 40_000, surprises(network, TEXT)
    example = repeated(count)
    asked = example.targets["masked_lm"]
    owner, place = asked.index // 5, asked.index % 5
    sets = [frozenset(each) for each in np.split(place, np.searchsorted(owner, np.arange(1, count)))]
    losses = np.array([costs[sets[n]][p] for n, p in zip(owner.tolist(), place.tolist(), strict=True)])
    each = np.bincount(owner, losses * asked.costs, minlength=count)
    exact = bound(network, TEXT)
    assert abs(each.mean() - exact) < 4 * each.std() / math.sqrt(count) + 2 * LEAST * exact
    assert each.std() / math.sqrt(count) < 0.02 * exact, "else it would say little"
    batch = collate(repeated(500))
    (loss,) = MaskedDiffusion().loss(network, batch).values()
    assert loss.count == 500 * LENGTH
    assert float(loss.total.detach()) == pytest.approx(each[:500].sum(), rel=1e-5)


def likelihood(network, text, allowed):
    """Exactly: the mean over all orders in which the tokens may come, of the product of their probabilities."""
    orders = list(itertools.permutations(range(1, LENGTH + 1)))
    total = 0.0
    for order in orders:
        chance = 1.0
        for n, place in enumerate(order):
            scores = said(network, [hidden(text, set(order[n:]))])[0, place].masked_fill(~allowed, -math.inf)
            chance *= float(scores.softmax(-1)[text[place]])
        total += chance / len(orders)
    return total


def all_texts():
    return [[2, *letters, 3] for letters in itertools.product((5, 6, 7), repeat=LENGTH)]


def test_the_bound_is_above_the_models_own_perplexity(network):
    allowed = torch.ones(8, dtype=torch.bool)
    apart = [bound(network, text) + math.log(likelihood(network, text, allowed)) for text in all_texts()]
    assert min(apart) > -1e-6 and max(apart) > 0.05, "and it is not just that"


def test_the_perplexity_that_is_told_is_that_of_the_bound():
    assert MaskedDiffusion().figures({"loss/masked_lm": math.log(30)}) == {"perplexity_at_most": pytest.approx(30)}
    assert MaskedDiffusion().figures({}) == {}


# --- what is hidden --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corrupted():
    corpus = corpus_of(shards=2, documents=60, sentences=40, words=8)
    return stages(*slots_of(Plan(corpus, "full_sentences", 128, 250)), [MaskedDiffusion()], corpus.tokenizer, 0)


def test_any_share_of_a_text_is_hidden(corrupted):
    before, after = corrupted
    was, now, asked = before.streams["encoder"], after.streams["encoder"], after.targets["masked_lm"]
    masked = np.zeros(len(was.tokens), bool)
    masked[asked.index] = True
    assert (now.tokens[masked] == FakeTokenizer().mask).all() and (was.units[masked] >= 0).all()
    assert np.array_equal(now.tokens[~masked], was.tokens[~masked])
    assert np.array_equal(asked.labels, was.tokens[masked]) and asked.among == (was.units >= 0).sum()
    ordinary = np.bincount(was.sequence[was.units >= 0])
    shares = np.bincount(was.sequence[masked], minlength=len(ordinary)) / ordinary
    long = shares[ordinary > 60]
    assert abs(long.mean() - 0.5) < 5 / math.sqrt(12 * len(long)) and abs(long.std() - 12**-0.5) < 0.04
    rates = 1 / asked.costs
    for n in np.flatnonzero(ordinary > 60):
        (rate,) = set(rates[was.sequence[asked.index] == n].tolist()) or {0.0}
        assert abs(shares[n] - rate) < 5 * math.sqrt(0.25 / ordinary[n])


def test_answers_count_what_they_cost(network):
    logits = torch.randn(70, 8, requires_grad=True)
    labels, costs = torch.arange(70) % 8, torch.rand(70) * 9
    loss = cross_entropy(logits, labels, costs=costs)
    (mine,) = torch.autograd.grad(loss.total, logits)
    expected = (torch.nn.functional.cross_entropy(logits, labels, reduction="none") * costs).sum()
    (reference,) = torch.autograd.grad(expected, logits)
    assert torch.allclose(loss.total, expected, rtol=1e-5) and torch.allclose(mine, reference, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(cross_entropy(logits, labels, costs=costs).total, expected, rtol=1e-5)


def test_accuracy_is_of_what_was_asked():
    corpus = corpus_of()
    plan = Plan(corpus, "full_sentences", 64, 8)
    *_, example = stages(*slots_of(plan), [MaskedDiffusion()], corpus.tokenizer, 0)
    network = network_of({"masked_diffusion": MaskedDiffusion()}).eval()
    with torch.no_grad():
        (loss,) = MaskedDiffusion().loss(network, collate(example)).values()
    right, over = loss.figures["accuracy"]
    assert over == len(example.targets["masked_lm"].index) < loss.count and 0 <= float(right) <= over


@pytest.mark.parametrize("other", ["masked_lm", "next_sentence", "unified_lm"])
def test_nothing_goes_beside_it(other):
    with pytest.raises(ValidationError, match="weighs up whole texts"):
        Pretrain(corpus="c", out="o", objective=f"masked_diffusion,{other}")


# --- writing ---------------------------------------------------------------------------------------------------------


def model_of(network):
    return Model(Path("it"), SHAPE, network, Letters())


def test_texts_are_drawn_by_their_likelihood(network):
    """All masks one by one in any order: 27 texts, each as often as the model says."""
    count, ordinary = 8000, torch.tensor(~Letters().special)
    prompts = [[2, 4, 4, 4, 3]] * count
    drawn = generate(model_of(network), prompts, Generation(sample=True, seed=2))
    chances = np.array([likelihood(network, text, ordinary) for text in all_texts()])
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    counts = np.array([drawn.count(text) for text in all_texts()])
    assert counts.sum() == count
    often = chances * count >= 5
    square = ((counts - chances * count) ** 2 / (chances * count))[often].sum()
    freedom = often.sum() - 1
    assert freedom > 5 and square < freedom + 5 * math.sqrt(2 * freedom)


def test_the_surest_come_first(network):
    (text,) = generate(model_of(network), [[2, 4, 4, 4, 3]], Generation())
    expected = [2, 4, 4, 4, 3]
    while 4 in expected:
        chances = said(network, [expected])[0].masked_fill(torch.tensor(Letters().special), -math.inf).softmax(-1)
        place = max((p for p, token in enumerate(expected) if token == 4), key=lambda p: float(chances[p].max()))
        expected[place] = int(chances[place].argmax())
    assert text == expected


def test_masks_are_filled_or_come_behind_a_text(network):
    model = model_of(network)
    texts = generate(model, [[2, 6, 3], [2, 4, 6, 4, 3], [2, 7]], Generation(max_new_tokens=4))
    assert texts[0][:2] == [2, 6] and texts[0][-1] == 3 and len(texts[0]) == 7
    assert texts[1][2] == 6 and len(texts[1]) == 5 and texts[2][:2] == [2, 7] and len(texts[2]) == 6
    assert all(token > 4 for text in texts for token in text[1:-1])
    alone = [generate(model, [ids], Generation(max_new_tokens=4))[0] for ids in ([2, 6, 3], [2, 4, 6, 4, 3], [2, 7])]
    assert texts == alone


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_fewer_steps_fill_several_at_a_time(network, steps):
    reads = []
    handle = network.backbone.register_forward_hook(lambda *_: reads.append(1))
    (text,) = generate(model_of(network), [[2, 6, 3]], Generation(max_new_tokens=4, steps=steps))
    handle.remove()
    assert len(reads) == steps and len(text) == 7 and 4 not in text


@pytest.mark.parametrize(("settings", "why"), [
    ({"beams": 2}, "fills masks all over a text"), ({"steps": 9, "max_new_tokens": 3}, "a text has 3 masks"),
    ({"max_new_tokens": 20}, "max_new_tokens 13 would fit"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(network, settings, why):
    with pytest.raises(UserError, match=why):
        generate(model_of(network), [[2, 6, 3]], Generation(**settings))
