"""A longformer: what a window hides, and what global tokens carry past it. Agreement with transformers: test_parity."""

import numpy as np
import pytest
import torch

from unmask.commands.pretrain import Pretrain
from unmask.config import build
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.longformer import global_tokens
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.presets import PRESETS
from unmask.runs.estimate import _numbers_per_token
from unmask.tasks.classify import Classify
from unmask.text.example import Example, Stream

SHAPE = Shape(
    family="longformer", vocab_size=90, width=32, layers=1, heads=4, feed_forward=48, max_length=400, segments=2,
    window=8, global_every=0, global_tokens="first", dropout=0, attention_dropout=0,
)  # fmt: skip
LENGTHS = [5, 300, 1, 90, 16]


def changed(**settings):
    return Shape(**{**SHAPE.model_dump(), **settings})


def sequences_of(lengths, segments=None):
    tokens = np.random.default_rng(1).integers(0, 90, sum(lengths))
    return collate(Example({"encoder": Stream(tokens, np.array(lengths), segments)})).streams["encoder"]


def seen_by(shape, place, lengths=LENGTHS, segments=None):
    """[T] whether what stands there moves the state of one token."""
    encoder, sequences, seen = backbone_of(shape).eval(), sequences_of(lengths, segments), []
    encoder.embeddings.register_forward_hook(lambda module, inputs, out: seen.append(out))
    states = encoder(sequences)
    return torch.autograd.grad(states[place].square().sum(), seen[0])[0].abs().sum(-1) > 0


def test_a_token_sees_its_window_and_the_first_token():
    seen = seen_by(SHAPE, 5 + 100)
    assert seen.nonzero().flatten().tolist() == [5, *range(5 + 96, 5 + 105)]


def test_without_global_tokens_it_sees_its_window_alone():
    assert seen_by(changed(global_tokens="none"), 5 + 100).nonzero().flatten().tolist() == [*range(5 + 96, 5 + 105)]


def test_the_first_token_sees_all_of_its_text_and_nothing_else():
    assert seen_by(SHAPE, 5).nonzero().flatten().tolist() == [*range(5, 305)]


def test_through_a_global_token_all_is_seen_of_all_after_two_layers():
    assert seen_by(changed(layers=2), 5 + 100).nonzero().flatten().tolist() == [*range(5, 305)]


def test_each_layer_has_its_own_window():
    assert seen_by(changed(layers=2, window=(4, 10), global_tokens="none"), 105).sum() == 2 * (2 + 5) + 1
    assert changed(layers=2, window="4,10").window == (4, 10)


def test_of_two_texts_the_first_one_can_be_global():
    """Its tokens, without the separator behind; where there is one text, its first token alone."""
    lengths = [9, 6, 1]
    segments = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1] + [0] * 6 + [0])
    of_pair = global_tokens(sequences_of(lengths, segments), of_question=True)
    assert of_pair.nonzero().flatten().tolist() == [0, 1, 2, 9, 15]
    first = global_tokens(sequences_of(lengths, segments))
    assert first.tolist() == global_tokens(sequences_of(lengths), of_question=True).tolist()
    assert first.nonzero().flatten().tolist() == [0, 9, 15]


@pytest.mark.parametrize("tokens", ["none", "first", "question"])
@pytest.mark.parametrize("window", [8, 64])
def test_states_do_not_depend_on_company(tokens, window):
    shape, segments = changed(global_tokens=tokens, window=window, layers=3), halves(LENGTHS)
    encoder, together = backbone_of(shape).eval(), sequences_of(LENGTHS, segments)
    states, start = encoder(together), 0
    for length in LENGTHS:
        own = slice(start, start + length)
        stream = Stream(together.tokens[own].numpy(), np.array([length]), segments[own])
        alone = encoder(collate(Example({"encoder": stream})).streams["encoder"])
        assert (alone - states[own]).abs().max() <= 1e-5 * states.abs().max()
        start += length


def halves(lengths):
    return np.concatenate([np.arange(length) >= length // 2 for length in lengths]).astype(np.int8)


def test_a_question_is_seen_past_the_window():
    shape = changed(global_tokens="question", layers=1)
    seen = seen_by(shape, 5 + 200, segments=halves(LENGTHS)).nonzero().flatten().tolist()
    assert seen == [*range(5, 5 + 149), *range(5 + 196, 5 + 205)]


def test_its_parameters_are_counted():
    for shape in (SHAPE, changed(layers=3, bias=False), PRESETS["longformer-tiny"]):
        assert parameters(shape) == sum(p.numel() for p in backbone_of(shape).parameters())
    assert (
        round(parameters(PRESETS["longformer-base"]) / 1e6) == 148
    )  # 125 of RoBERTa, 3 of positions, 21 of global ones


def test_memory_is_counted_by_what_is_seen():
    short, long = (_numbers_per_token(PRESETS["longformer-base"], length) for length in (1024, 4096))
    assert short == long < _numbers_per_token(PRESETS["roberta-base"], 4096) / 3


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"window": None}, "window none does not go with family longformer; 512 would fit"),
        ({"window": (8, 8)}, "window has 2 widths for 1 layers"),
        ({"window": 1}, "greater than or equal to 2"),
        ({"causal": True}, "global_tokens none would fit"),
        ({"decoder_layers": 2}, "decoder_layers 2 does not go with family longformer; 0 would fit"),
        ({"family": "bert"}, "global_tokens first does not go with family bert; none would fit"),
        ({"global_tokens": "some"}, "'none', 'first' or 'question'"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        changed(**settings)


@pytest.mark.parametrize("window", ["1", "64,1"])
def test_what_is_no_window_is_told_what_fits(window):
    with pytest.raises(UserError, match="a whole number at least 2 or a list, each a whole number at least 2 or none"):
        build(Pretrain, {"corpus": "c", "out": "o", "model": "longformer-tiny", "model.window": window})


@pytest.mark.parametrize("objective", ["causal_lm", "unified_lm", "masked_next_token"])
def test_what_hides_what_comes_later_has_no_global_tokens(objective):
    """They would tell it."""
    given = {"corpus": "c", "out": "o", "model": "longformer-tiny", "objective": objective}
    with pytest.raises(UserError, match=r"--model\.global-tokens none would fit"):
        build(Pretrain, given)
    config = build(Pretrain, {**given, "model.global_tokens": "none"}).resolved(90)
    assert network_of(config.model, config.objectives.values()).backbone.shape.global_tokens == "none"


def test_a_classified_first_token_sees_all_of_its_text():
    """As in transformers, whatever a masked LM without global tokens was read from."""
    blind = changed(global_tokens="none")
    assert Classify(pool="cls").model(blind) == SHAPE
    assert Classify(pool="mean").model(blind) == blind
    assert Classify(pool="cls").model(PRESETS["bert-tiny"]) == PRESETS["bert-tiny"]


def test_a_question_stays_what_is_global():
    asked = changed(global_tokens="question")
    assert Classify(pool="cls").model(asked) == asked
