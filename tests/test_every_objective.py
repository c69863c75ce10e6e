"""What must be true of all objectives. The folder is walked, so that a new file is covered without being named."""

import numpy as np
import pytest
import torch

from fake_corpus import corpus_of
from unmask.commands.pretrain import Pretrain
from unmask.config import folder
from unmask.inference import building
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.losses import cross_entropy
from unmask.text.chance import Chance
from unmask.text.sampling.plan import Plan, draw, formats

SHAPES = {
    "bert": Shape(vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64, max_length=64, dropout=0,
                  attention_dropout=0),
    "modernbert": Shape(family="modernbert", vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64,
                        max_length=64, positions="rotary", norm="before", norm_eps=1e-5, bias=False, gated=True,
                        segments=0, window=16, global_every=3, dropout=0, attention_dropout=0),
    "gru": Shape(family="gru", vocab_size=1000, width=32, layers=1, heads=1, feed_forward=1, segments=0, dropout=0,
                 attention_dropout=0),
    "xlnet": Shape(family="xlnet", vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64, max_length=64,
                   positions="relative", embedding_norm=False, dropout=0, attention_dropout=0),
}  # fmt: skip
OBJECTIVES = folder("unmask.objectives")
each = pytest.mark.parametrize("name", sorted(OBJECTIVES))
suited = [
    (name, family) for name in sorted(OBJECTIVES) for family in SHAPES if SHAPES[family].flow in OBJECTIVES[name].flows
]
USUAL = {"encoder": "bert", "gru": "gru", "xlnet": "xlnet"}
"""Of a flow, the shape in which it is tested where one is enough."""

PACE = {"quick_thought": 3e-3, "skip_thought": 4e-2}
"""Learning rates of those that do not learn by heart at 0.01: two encoders part; a state has to carry words."""


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=20, sentences=20, words=6)


def usual(objectives):
    """The family whose flow suits them all."""
    first, *others = (objective.flows for objective in objectives)
    return next(USUAL[flow] for flow in first if all(flow in flows for flows in others))


def chosen(name):
    """The objective and what it needs, as the command line makes them."""
    given = {**OBJECTIVES[name].needs, name: {}}
    model = f"{usual([OBJECTIVES[other] for other in given])}-tiny"
    return Pretrain(corpus="corpus", out="out", model=model, length=64, objective=given).objectives


def batch_of(objectives, corpus, rows=16, seed=0, step=0):
    plan = Plan(corpus, formats(objectives)[0], 64, rows_per_step=rows, seed=seed)
    return draw(plan, list(objectives.values()), corpus.tokenizer, seed, step)


def network_of(objectives, family=None):
    fitting = [shape for shape in SHAPES.values() if all(shape.flow in o.flows for o in objectives.values())]
    shape = SHAPES[family] if family else fitting[0]
    for objective in objectives.values():
        shape = objective.model(shape)
    torch.manual_seed(0)
    return building.network_of(shape, objectives.values())


@each
def test_the_seed_decides_everything(name, corpus):
    first, again, other = (batch_of(chosen(name), corpus, seed=seed) for seed in (0, 0, 1))
    for key in first.targets:
        assert np.array_equal(first.targets[key].index, again.targets[key].index)
        assert np.array_equal(first.targets[key].labels, again.targets[key].labels)
    assert np.array_equal(first.streams["encoder"].tokens, again.streams["encoder"].tokens)
    assert not all(
        np.array_equal(first.targets[key].labels, other.targets[key].labels) for key in first.targets
    ) or not np.array_equal(first.streams["encoder"].tokens, other.streams["encoder"].tokens)


@each
def test_special_tokens_are_never_touched(name, corpus):
    objectives = chosen(name)
    plan = Plan(corpus, formats(objectives)[0], 64, rows_per_step=16)
    slots, _, epochs = plan.slots(0)
    chance = Chance.of(0, epochs, slots.ids)
    sampler = next((o for o in objectives.values() if o.samples), objectives[name])
    before = sampler.sample(slots, corpus.tokenizer, chance)
    after = before
    for objective in objectives.values():
        after = objective.corrupt(after, corpus.tokenizer, chance)
    fixed = before.streams["encoder"].units < 0
    assert np.array_equal(before.streams["encoder"].tokens[fixed], after.streams["encoder"].tokens[fixed])
    assert np.array_equal(before.streams["encoder"].lengths, after.streams["encoder"].lengths)


@each
def test_targets_say_where_the_answers_are(name, corpus):
    objectives = chosen(name)
    example, network = batch_of(objectives, corpus, rows=64), network_of(objectives)
    assert set(example.targets) == {asked for o in objectives.values() for asked in o.weights()}
    assert set(network.heads) == {head for o in objectives.values() for head in o.answers()}
    batch = collate(example)
    losses = {head: loss for o in objectives.values() for head, loss in o.loss(network, batch).items()}
    for head, asked in example.targets.items():
        assert asked.index.min() >= 0 and asked.index.max() < len(example.streams[asked.stream].tokens)
        assert asked.labels.min() >= 0 and bool(losses[head].total.isfinite())
        assert losses[head].count == len(asked.index) == len(asked.labels) > 0


@each
def test_a_label_is_a_token_or_its_meaning_is_told(name, corpus, monkeypatch):
    """Or it is the number of one that is offered to choose from."""
    objectives = chosen(name)
    batch, network = collate(batch_of(objectives, corpus)), network_of(objectives)
    told = {head: len(words) for o in objectives.values() for head, words in o.meanings.items()}
    widths = {}

    def seen(logits, labels):
        widths[id(labels)] = logits.shape[1]
        return cross_entropy(logits, labels)

    for module in ("unmask.nn.losses", "unmask.nn.network"):
        monkeypatch.setattr(f"{module}.cross_entropy", seen)
    for objective in objectives.values():
        objective.loss(network, batch)
    for head, asked in batch.targets.items():
        offered = asked.places is not None and asked.places.ndim == 2
        choices = asked.places.shape[1] if offered else told.get(head, len(corpus.tokenizer.special))
        assert widths[id(asked.labels)] == choices
        assert not offered or (asked.places.gather(1, asked.labels[:, None]) >= 0).all()


@pytest.mark.parametrize(("name", "family"), suited)
def test_its_heads_learn_and_no_others(name, family, corpus):
    """Every parameter of an objective's heads gets a gradient; heads of others get none."""
    objectives = chosen(name)
    network = network_of(objectives, family)
    batch = collate(batch_of(objectives, corpus))
    mine = objectives[name].loss(network, batch)
    sum(loss.total for loss in mine.values()).backward()
    for head, module in network.heads.items():
        for parameter in (p for n, p in module.named_parameters() if n != "vocabulary"):
            learns = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            assert learns == (head in objectives[name].answers())
    # relative segments tell two texts apart: where there is one, they are not looked at
    idle = {n for n, _ in network.backbone.named_parameters() if "attention.segment" in n}
    idle = idle if batch.streams["encoder"].segments is None else set()
    assert {n for n, p in network.backbone.named_parameters() if p.grad is None} == idle
    assert all(p.grad is not None for p in network.companions.parameters())


@each
def test_four_batches_can_be_learned_by_heart(name, corpus):
    objectives = chosen(name)
    network = network_of(objectives, usual(objectives.values()))
    batches = [collate(batch_of(objectives, corpus, rows=2, step=step)) for step in range(4)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=PACE.get(name, 1e-2), weight_decay=0)
    known = [False] * 4
    for step in range(480):
        batch = batches[step % 4]
        batch.states.clear()
        losses = [loss for o in objectives.values() for loss in o.loss(network, batch).values() if loss.count]
        known[step % 4] = all(float(loss.total.detach()) < 0.1 * loss.count for loss in losses)
        if all(known):
            break
        optimizer.zero_grad()
        sum(loss.total / loss.count for loss in losses).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    for batch in batches:
        batch.states.clear()
        for loss in (loss for o in objectives.values() for loss in o.loss(network, batch).values()):
            assert float(loss.total.detach()) < 0.2 * loss.count or not loss.count
