"""A BERT or RoBERTa made a longformer: what a window shows whole is read as before, and it goes on from there."""

import numpy as np
import pytest
import torch

from small_base import EXACT, base, sentences
from unmask import calls
from unmask.commands.convert import Convert
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.inference.lengthening import with_windows
from unmask.inference.loading import load

KINDS = {"bert": {}, "roberta": {"family": "roberta", "segments": 1}}


@pytest.fixture(params=KINDS)
def model(request, tmp_path):
    return load(base(tmp_path / "base", **KINDS[request.param]))


def texts(*lengths):
    rng = np.random.default_rng(0)
    return [rng.integers(5, 60, length) for length in lengths]


def test_texts_within_a_window_are_read_as_before(model):
    """Whoever sees all sees no more through a window as wide; and a global token looks as any other did."""
    longer = with_windows(model, window=40, length=150)
    given = texts(21, 3, 1, 12)
    for layer in range(model.shape.layers + 1):
        for mine, before in zip(longer.hidden(given, layer), model.hidden(given, layer), strict=True):
            assert np.abs(mine - before).max() <= 1e-5 * np.abs(before).max()
    assert longer.heads == ["masked_lm"] and any("next_sentence" in note for note in longer.notes)
    batch = model.batch(given)
    assert torch.allclose(longer.network.heads["masked_lm"](longer.network.states(longer.batch(given))),
                          model.network.heads["masked_lm"](model.network.states(batch)), atol=1e-5)  # fmt: skip


def test_longer_texts_are_read_by_windows(model):
    (mine,), (before,) = with_windows(model, window=8).hidden(texts(48)), model.hidden(texts(48))
    assert np.abs(mine - before).max() > 1e-2
    assert with_windows(model, window=8, length=400).hidden(texts(400))[0].shape == (400, 32)


def test_positions_are_repeated(model):
    before = model.encoder.get_parameter("embeddings.positions.weight")
    after = with_windows(model, window=8, length=100).encoder.get_parameter("embeddings.positions.weight")
    assert torch.equal(after, torch.cat([before, before, before[:4]]))


def test_nothing_of_the_model_is_changed(model):
    weights = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    longer = with_windows(model, window=8)
    with torch.no_grad():
        for parameter in longer.network.parameters():
            parameter.add_(1)
    assert all(torch.equal(p, weights[name]) for name, p in model.network.named_parameters())
    vocabulary = longer.network.heads["masked_lm"].vocabulary
    assert vocabulary is longer.encoder.get_parameter("embeddings.tokens.weight")


def test_it_goes_on_by_masked_lm_and_back_to_transformers(model, tmp_path):
    notes = calls.call(Convert, str(tmp_path / "base"), to="hf", window=8, max_length=128, out=tmp_path / "long")
    assert any("opened with transformers (AutoModelForMaskedLM)" in note for note in notes)
    shape = load(tmp_path / "long").shape
    assert (shape.family, shape.window, shape.max_length, shape.global_tokens) == ("longformer", 8, 128, "first")
    text = "\n\n".join(" ".join(words) + "." for words in sentences(600))
    (tmp_path / "text.txt").write_text(text)
    calls.call(Prepare, str(tmp_path / "text.txt"), out=tmp_path / "corpus", tokenizer=tmp_path / "long", valid=0.05)
    result = calls.call(
        Pretrain, tmp_path / "corpus", base=str(tmp_path / "long"), length=128, steps=2, batch_size=4,
        out=tmp_path / "run", **EXACT,
    )  # fmt: skip
    assert result["steps"] == 2
    notes = calls.call(Convert, str(tmp_path / "run"), to="hf", out=tmp_path / "hf")
    assert any("opened with transformers (AutoModelForMaskedLM)" in note for note in notes)


@pytest.mark.parametrize(
    ("shape", "settings", "why"),
    [
        (
            {"positions": "rotary"},
            {"window": 8},
            "bert or roberta, whose positions are learned, would fit",
        ),
        ({}, {"window": 8, "length": 48}, "reads 48 tokens already; more would fit"),
        ({"causal": True}, {"window": 8}, "cannot become a longformer"),
    ],
)
def test_what_cannot_become_one_is_refused(tmp_path, shape, settings, why):
    model = load(base(tmp_path / "base", **shape))
    with pytest.raises(UserError, match=why):
        with_windows(model, **settings)
