"""Pre-training that begins with a model that is there."""

from __future__ import annotations

import pytest
import torch

from small_base import EXACT, base, sentences
from unmask import calls
from unmask.commands.convert import Convert
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.inference.loading import load
from unmask.runs.pretraining import take_over

SETTINGS = {"length": 32, "batch_size": 8, "steps": 3, "seed": 5, **EXACT}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A base, the same in Hugging Face's form, and a corpus of its tokenizer."""
    folder = tmp_path_factory.mktemp("home")
    base(folder / "base")
    calls.call(Convert, str(folder / "base"), to="hf", out=folder / "hf")
    text = "\n\n".join(" ".join(words) + "." for words in sentences(600))
    (folder / "text.txt").write_text(text)
    calls.call(Prepare, str(folder / "text.txt"), out=folder / "corpus", tokenizer=folder / "hf", valid=0.05)
    return folder


def weights_of(network):
    return {name: p.detach().clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("where", ["base", "hf"])
def test_it_begins_with_the_weights_of_its_base(home, tmp_path, where):
    """With a learning rate too small to move anything, what is saved at the end is the base."""
    calls.call(
        Pretrain, home / "corpus", base=str(home / where), out=tmp_path / "a", lr=1e-30, weight_decay=0, **SETTINGS
    )
    before, after = weights_of(load(home / "base").network), weights_of(load(tmp_path / "a").network)
    assert set(after) == {name for name in before if not name.startswith("heads.next_sentence")}
    assert all(torch.allclose(after[name], before[name], rtol=0, atol=1e-25) for name in after)


def test_it_goes_on_as_any_run(home, tmp_path):
    given = {"base": str(home / "base"), "out": tmp_path / "a", "lr": 1e-2, **SETTINGS}
    result = calls.call(Pretrain, home / "corpus", **given)
    assert result["base"] == str(home / "base") and result["steps"] == 3
    assert calls.call(Pretrain, home / "corpus", **given) == result
    assert "beginning with" in (tmp_path / "a" / "report.html").read_text() and result["fresh"] == []


def test_what_the_base_lacks_is_said(home, tmp_path, capsys):
    """Which is what begins at random."""
    given = {"base": str(home / "base"), "out": tmp_path / "a", "objective": "replaced_token_detection", **SETTINGS}
    fresh = ["the generator", "the generator head", "the replaced_token_detection head"]
    assert calls.call(Pretrain, home / "corpus", **given)["fresh"] == fresh
    assert f"begins at random, for it is not there: {', '.join(fresh)}" in capsys.readouterr().err
    assert f"({', '.join(fresh)} at random)" in (tmp_path / "a" / "report.html").read_text()


def test_its_own_model_may_be_named(home, tmp_path):
    """As a recipe does that is used for one stage after the other; the vocabulary is the corpus's."""
    shape = load(home / "base").shape.model_dump(exclude={"vocab_size"})
    calls.call(Pretrain, home / "corpus", base=str(home / "base"), model=shape, out=tmp_path / "a", **SETTINGS)
    assert load(tmp_path / "a").shape == load(home / "base").shape


def test_segments_that_the_base_does_not_know_are_new(home):
    model = load(home / "base")
    config = Pretrain(corpus="c", out="o", length=32, objective="unified_lm").resolved(0, model.shape)
    network = network_of(config.model, config.objectives.values())
    fresh = network.backbone.embeddings.segments.weight.detach().clone()
    take_over(network, model.network)
    segments = network.backbone.embeddings.segments.weight
    assert torch.equal(segments[:2], model.encoder.embeddings.segments.weight) and torch.equal(segments[2:], fresh[2:])
    assert network.heads["masked_lm"].vocabulary is network.backbone.embeddings.tokens.weight


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"model": "bert-tiny"}, "brings its own; leave --model out"),
        ({"model": {"max_length": 900, "dropout": 0.2}}, "leave --model.dropout, --model.max-length out"),
        ({"model": {"name": "bert-tiny", "dropout": 0.2}}, "brings its own model; leave --model.dropout out"),
        ({"length": 64}, "the base reads up to 48 tokens"),
        ({"base": "nowhere"}, "does not exist"),
        (
            {"objective": "denoising"},
            "denoising cannot train .*; --objective could be causal_lm, contrastive, .*masked_lm",
        ),
    ],
)
def test_what_does_not_suit_the_base_is_refused(home, tmp_path, settings, why):
    with pytest.raises(UserError, match=why):
        calls.call(
            Pretrain, home / "corpus", **{"base": str(home / "base"), "out": tmp_path / "a", **SETTINGS, **settings}
        )
    assert not (tmp_path / "a").exists()


def test_another_tokenizer_is_refused(home, tmp_path):
    calls.call(Prepare, str(home / "text.txt"), out=tmp_path / "corpus", vocab_size=60)
    with pytest.raises(UserError, match=r"has another tokenizer than .*; prepare the text with"):
        calls.call(Pretrain, tmp_path / "corpus", base=str(home / "base"), out=tmp_path / "a", **SETTINGS)
