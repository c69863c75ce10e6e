"""A trained model of masked_next_token fills masks from both sides, writes from the left, and tells how likely a text
is: as a model that reads in one of these ways only, with the same weights."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from test_every_objective import SHAPES
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.inference.model import Model
from unmask.inference.perplexity import perplexity
from unmask.models.backbone import backbone_of
from unmask.nn.network import Network
from unmask.objectives.masked_next_token import MaskedNextToken
from unmask.text.tokens.tokenizer import Tokenizer

PROMPTS = [[2, *range(40, 40 + n)] for n in (3, 9, 1, 12)]
each_family = pytest.mark.parametrize("family", ["bert", "modernbert", "deberta"])


@pytest.fixture(scope="module")
def tokenizer():
    words = [f"{a}{b}" for a in ("ba", "ke", "li", "mo", "nu", "ra", "si", "to") for b in ("d", "f", "g", "n", "s")]
    return Tokenizer.train([" ".join(words)] * 3, "wordpiece", 300)


def both(family, tokenizer):
    """The model, and one that only reads from the left: the same weights."""
    torch.manual_seed(3)
    shape = SHAPES[family].model_copy(update={"vocab_size": tokenizer.size, "init_std": 0.3})
    network = network_of(shape, [MaskedNextToken()]).eval()
    left = shape.model_copy(update={"causal": True})
    backbone = backbone_of(left).eval()
    backbone.load_state_dict(network.backbone.state_dict())
    twin = Network(backbone, {"causal_lm": network.heads["masked_next_token"]})
    return Model(Path("it"), shape, network, tokenizer), Model(Path("twin"), left, twin.eval(), tokenizer)


@each_family
@pytest.mark.parametrize("settings", [{}, {"beams": 3}, {"sample": True, "top_k": 9}])
def test_it_writes_as_a_model_that_reads_from_the_left(family, settings, tokenizer):
    model, twin = both(family, tokenizer)
    written = model.generate(PROMPTS, max_new_tokens=20, **settings)
    assert written == twin.generate(PROMPTS, max_new_tokens=20, **settings)
    assert len(set(written)) == len(PROMPTS) and len(set(" ".join(written).split())) > 20


@each_family
def test_a_text_is_as_likely_as_a_model_says_that_reads_from_the_left(family, tokenizer):
    texts = [np.arange(5, 75), np.arange(30, 60)]
    mine, theirs = (perplexity(model, texts, 32) for model in both(family, tokenizer))
    assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-6) and mine["tokens"] == theirs["tokens"] == 100
    assert math.isfinite(mine["perplexity"])


@each_family
def test_a_mask_is_filled_by_what_the_place_before_it_says_of_both_sides(family, tokenizer):
    model, _ = both(family, tokenizer)
    mask = tokenizer.tokens([tokenizer.mask])[0]
    words = tokenizer.tokens(range(20, 24))
    text = f"{words[0]} {words[1]} {mask} {words[2]} {words[3]}"
    (ids,) = model.sequences([text])
    (place,) = np.flatnonzero(ids == tokenizer.mask)
    states = torch.from_numpy(model.hidden([ids])[0])
    with torch.no_grad():
        chances = model.network.heads["masked_next_token"](states[place - 1])[: tokenizer.size].softmax(-1)
    ((best, *_),) = model.fill(text, 3)
    assert best[0] == tokenizer.tokens([int(chances.argmax())])[0]
    assert best[1] == pytest.approx(chances.max().item(), rel=1e-5)
    other = model.fill(text.replace(words[3], words[0]), 3)
    assert other[0][0][1] != pytest.approx(best[1], rel=1e-6), "what follows a mask is seen"


def test_what_has_no_place_before_it_is_refused(tokenizer, monkeypatch):
    model, _ = both("bert", tokenizer)
    mask = tokenizer.tokens([tokenizer.mask])[0]
    assert len(model.fill(f"{mask} {mask}", 2)) == 2, "the token that begins all texts stands before the first mask"
    monkeypatch.setattr(Tokenizer, "opens", False)
    with pytest.raises(UserError, match=r"begins with a mask, whose answer would stand before it; begin with a word"):
        model.fill(f"{mask} bad")
