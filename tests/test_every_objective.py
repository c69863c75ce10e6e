"""What must be true of all objectives. The folder is walked, so that a new file is covered without being named."""

import numpy as np
import pytest
import torch

from fake_corpus import corpus_of, with_fields
from unmask.commands.pretrain import Pretrain
from unmask.config import folder
from unmask.inference import building
from unmask.models.reformer_parts import ReformerParts
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.losses import cross_entropy, token_cross_entropy
from unmask.presets import PRESETS, T5
from unmask.text.sampling.plan import Plan, draw, formats, stages

SHAPES = {
    "bert": Shape(vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64, max_length=64, dropout=0,
                  attention_dropout=0),
    "modernbert": Shape(family="modernbert", vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64,
                        max_length=64, positions="rotary", norm="before", norm_eps=1e-5, bias=False, gated=True,
                        segments=0, window=16, global_every=3, dropout=0, attention_dropout=0),
    "longformer": Shape(family="longformer", vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64,
                        max_length=64, segments=1, window=16, global_every=0, global_tokens="first", dropout=0,
                        attention_dropout=0),
    "gru": Shape(family="gru", vocab_size=1000, width=32, layers=1, heads=1, feed_forward=1, segments=0, dropout=0,
                 attention_dropout=0),
    "xlnet": Shape(family="xlnet", vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64, max_length=64,
                   positions="relative", embedding_norm=False, dropout=0, attention_dropout=0),
    "transformer_xl": PRESETS["transformer-xl-tiny"].model_copy(
        update={"vocab_size": 1000, "width": 32, "heads": 2, "feed_forward": 64, "max_length": 64, "dropout": 0,
                "activation_dropout": 0}
    ),
    "bart": Shape(family="bart", vocab_size=1000, width=32, layers=2, decoder_layers=2, heads=2, feed_forward=64,
                  max_length=64, norm_eps=1e-5, segments=0, dropout=0, attention_dropout=0),
    "t5": T5.model_copy(update={"vocab_size": 1000, "width": 32, "layers": 2, "decoder_layers": 2, "heads": 2,
                                "feed_forward": 64, "max_length": 64, "dropout": 0, "attention_dropout": 0,
                                "activation_dropout": 0}),
    "elmo": Shape(family="elmo", vocab_size=1000, width=64, layers=2, heads=1, feed_forward=64, segments=0, dropout=0,
                  attention_dropout=0, positions="none", embedding_norm=False, init_std=0.2),
    "deberta": Shape(family="deberta", vocab_size=1000, width=32, layers=2, heads=2, feed_forward=64, max_length=64,
                     positions="disentangled", segments=0, dropout=0, attention_dropout=0),
    "mobilebert": Shape(family="mobilebert", vocab_size=1000, width=32, embedding_width=16, bottleneck=24, layers=2,
                        heads=2, feed_forward=48, feed_forwards=2, max_length=64, activation="relu", norm_kind="none",
                        dropout=0, attention_dropout=0),
    "reformer": PRESETS["reformer-tiny"].model_copy(
        update={"vocab_size": 1000, "width": 64, "heads": 2, "head_width": 16, "feed_forward": 64, "max_length": 64,
                "dropout": 0, "activation_dropout": 0, "attention_dropout": 0,
                "reformer": ReformerParts(local_chunk=8, lsh_chunk=8, hashes=2, axial=(8, 8))}
    ),
    "elmo-transformer": Shape(family="elmo-transformer", vocab_size=1000, width=64, layers=2, heads=2, feed_forward=64,
                              segments=0, max_length=64, dropout=0, attention_dropout=0),
}  # fmt: skip
OBJECTIVES = folder("unmask.objectives")
each = pytest.mark.parametrize("name", sorted(OBJECTIVES))
suited = [
    (name, family)
    for name in sorted(OBJECTIVES)
    for family, shape in SHAPES.items()
    if shape.flow in OBJECTIVES[name].flows
    and not (OBJECTIVES[name].one_sided and shape.tells_later)
    and not (name == "replaced_token_detection" and family in ("mobilebert", "reformer"))  # which is refused
]
USUAL = {"encoder": "bert", "gru": "gru", "xlnet": "xlnet", "encoder_decoder": "bart", "elmo": "elmo"}
"""Of a flow, the shape in which it is tested where one is enough."""

PACE = {
    "quick_thought": 3e-3,
    "skip_thought": 4e-2,
    "prefix_lm": 4e-3,
    "span_corruption": 4e-3,
    "mixture_of_denoisers": 4e-3,
}
"""Learning rates of those that do not learn by heart at 0.01: two encoders part; a state has to carry words; a decoder
has to find what it reads."""


@pytest.fixture
def corpus(request):
    """Such texts as an objective wants."""
    found = corpus_of(shards=2, documents=20, sentences=20, words=6)
    return with_fields(found) if OBJECTIVES[request.node.callspec.params["name"]].fields else found


def usual(objectives):
    """The family whose flow suits them all."""
    first, *others = (objective.flows for objective in objectives)
    return next(USUAL[flow] for flow in first if all(flow in flows for flows in others))


def chosen(name):
    """The objective and what it needs, as the command line makes them."""
    given = {**OBJECTIVES[name].needs, name: {}}
    model = f"{usual([OBJECTIVES[other] for other in given])}-tiny"
    return Pretrain(corpus="corpus", out="out", model=model, length=64, objective=given).objectives


def tokenizer_of(objectives, corpus):
    """That of the corpus, with the special tokens that the objectives need."""
    return corpus.tokenizer.plus([token for o in objectives.values() for token in o.extra_tokens()])


def batch_of(objectives, corpus, rows=16, seed=0, step=0):
    plan = Plan(corpus, formats(objectives)[0], 64, rows_per_step=rows, seed=seed)
    return draw(plan, list(objectives.values()), tokenizer_of(objectives, corpus), seed, step)


def network_of(objectives, family=None):
    fitting = [shape for shape in SHAPES.values() if all(shape.flow in o.flows for o in objectives.values())]
    shape = SHAPES[family] if family else fitting[0]
    for objective in objectives.values():
        shape = objective.model(shape)
    extra = sum(len(objective.extra_tokens()) + 4 * objective.fields for objective in objectives.values())
    shape = shape.model_copy(update={"vocab_size": shape.vocab_size + extra})
    torch.manual_seed(0)
    return building.network_of(shape, objectives.values())


@each
def test_the_seed_decides_everything(name, corpus):
    first, again, other = (batch_of(chosen(name), corpus, seed=seed) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def same(one, other):
    """Whether a model would be given the same, and asked the same."""
    return all(
        np.array_equal(getattr(a[key], part), getattr(b[key], part))
        for a, b, parts in ((one.streams, other.streams, ("tokens", "lengths")),
                            (one.targets, other.targets, ("index", "labels")))
        for key in a
        for part in parts
    )  # fmt: skip


@each
def test_special_tokens_are_never_touched(name, corpus):
    """Those of the text stay where they are. Where a text is rewritten the first and the last do, and all are in what
    is read or in what is written; what comes in besides is a mask or a token that the objective asked for.
    """
    objectives = chosen(name)
    plan, tokenizer = Plan(corpus, formats(objectives)[0], 64, rows_per_step=16), tokenizer_of(objectives, corpus)
    before, *_, after = stages(*slots_of(plan), list(objectives.values()), tokenizer, 0)
    marks = {tokenizer.mask, *tokenizer.ids(tokenizer.extra).tolist()}
    for stream, was in before.streams.items():
        now = after.streams[stream]
        if was.units is None:  # written, not read: it holds nothing but answers
            continue
        if "decoder" not in set(after.streams) - set(before.streams):
            assert np.array_equal(was.tokens[was.units < 0], now.tokens[was.units < 0])
            assert np.array_equal(was.lengths, now.lengths)
            continue
        for one, other, written in zip(texts_of(was), texts_of(now), texts_of(after.streams["decoder"]), strict=True):
            assert (one[0], one[-1]) == (other[0], other[-1])
            specials = [token for token in one if tokenizer.special[token]]
            assert {token for token in other if tokenizer.special[token]} - marks <= set(specials)
            assert all((other + written).count(token) >= specials.count(token) for token in specials)


def slots_of(plan):
    slots, _, epochs = plan.slots(0)
    return slots, epochs


def texts_of(stream):
    return [text.tolist() for text in np.split(stream.tokens, stream.starts[1:])]


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
        assert losses[head].count == (asked.among or len(asked.index))
        assert len(asked.index) == len(asked.labels) > 0


@each
def test_a_label_is_a_token_or_its_meaning_is_told(name, corpus, monkeypatch):
    """Or it is the number of one that is offered to choose from."""
    objectives = chosen(name)
    batch, network = collate(batch_of(objectives, corpus)), network_of(objectives)
    told = {head: len(words) for o in objectives.values() for head, words in o.meanings.items()}
    widths = {}

    def seen(logits, labels, **counting):
        widths[id(labels)] = logits.shape[1]
        return cross_entropy(logits, labels, **counting)

    def of_tokens(said, vectors, bias, labels, costs=None):
        widths[id(labels)] = len(vectors)
        return token_cross_entropy(said, vectors, bias, labels, costs)

    for module in ("unmask.nn.losses", "unmask.nn.network"):
        monkeypatch.setattr(f"{module}.cross_entropy", seen)
    monkeypatch.setattr("unmask.nn.heads.token_cross_entropy", of_tokens)
    for objective in objectives.values():
        objective.loss(network, batch)
    for head, asked in batch.targets.items():
        offered = asked.places is not None and asked.places.ndim == 2
        choices = asked.places.shape[1] if offered else told.get(head, tokenizer_of(objectives, corpus).size)
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
        batch.forget()
        losses = [loss for o in objectives.values() for loss in o.loss(network, batch).values() if loss.count]
        known[step % 4] = all(float(loss.total.detach()) < 0.1 * loss.count for loss in losses)
        if all(known):
            break
        optimizer.zero_grad()
        sum(loss.total / loss.count for loss in losses).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    for batch in batches:
        batch.forget()
        for loss in (loss for o in objectives.values() for loss in o.loss(network, batch).values()):
            assert float(loss.total.detach()) < 0.2 * loss.count or not loss.count
