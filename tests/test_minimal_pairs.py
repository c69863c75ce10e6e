"""Minimal pairs: the likelihood of a sentence, by both kinds of models and by one that is both."""

from pathlib import Path

import numpy as np
import pytest
import torch

from minimal_pairs import MODES, accuracy, likelihoods, modes_of, read_pairs, table
from small_base import SHAPE, sentences, tokenizer
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.inference.model import Model
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.objectives.causal_lm import CausalLM
from unmask.objectives.masked_lm import MaskedLM
from unmask.objectives.masked_next_token import MaskedNextToken
from unmask.objectives.next_sentence import NextSentence
from unmask.text.example import Example, Stream

TEXTS = [" ".join(words) for words in sentences(12)]
OBJECTIVES = {"masked_lm": MaskedLM(), "causal_lm": CausalLM(), "masked_next_token": MaskedNextToken()}
each_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: f"{mode.head} {mode.name}")


def model_of(objective):
    tokens = tokenizer()
    shape = objective.model(Shape(**SHAPE, vocab_size=tokens.size))
    torch.manual_seed(1)
    network = network_of(shape, [objective]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Model("a model", shape, network, tokens, [], torch.device("cpu"))


def one_by_one(model, text, mode):
    """A sentence's likelihood, a token at a time, each from a reading of its own."""
    (encoded,) = model.tokenizer.encode([text])
    ids = np.array([model.tokenizer.cls, *encoded.ids, model.tokenizer.sep])
    total = 0.0
    for place in range(1, len(ids) - 1):
        read = np.where(np.arange(len(ids)) == place, model.tokenizer.mask, ids) if mode.masked else ids[:place]
        order = None if mode.masked else np.arange(len(read))
        stream = Stream(read, np.array([len(read)]), order=order)
        with torch.no_grad():
            logits = model.network.heads[mode.head](model.network.states(collate(Example({"encoder": stream}))))
        total += logits[place - mode.shift].log_softmax(-1)[ids[place]].item()
    return total


@each_mode
def test_a_likelihood_is_the_sum_over_tokens(mode):
    model = model_of(OBJECTIVES[mode.head])
    found, expected = likelihoods(model, TEXTS, mode), [one_by_one(model, text, mode) for text in TEXTS]
    assert np.allclose(found, expected, rtol=1e-5, atol=0)
    assert np.std(expected) > 1  # else agreement would say nothing


def test_one_model_has_both_modes():
    assert [mode.name for mode in modes_of(model_of(MaskedNextToken()))] == ["masked", "causal"]
    with pytest.raises(UserError, match=r"a model: has none of the heads .*; masked_lm, causal_lm, masked_next_token"):
        modes_of(model_of(NextSentence()))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.head != "causal_lm"], ids=lambda mode: mode.name)
def test_the_likelier_one_counts(mode):
    model = model_of(OBJECTIVES[mode.head])
    (lovely,) = model.tokenizer.encode(["lovely"])
    with torch.no_grad():
        model.network.heads[mode.head].bias[lovely.ids] += 50
    pairs = [("the film is dull", "the film is lovely")] * 3 + [("a lovely story", "a poor story")]
    assert accuracy(model, pairs, mode) == 0.75


def test_files_of_pairs(tmp_path: Path):
    (tmp_path / "likes.txt").write_text("the film is bad\nthe film is fine\na bad play\na fine play\n")
    assert read_pairs(tmp_path / "likes.txt", 1) == [("the film is bad", "the film is fine")]
    (tmp_path / "broken.txt").write_text("one\ntwo\nthree\n")
    with pytest.raises(UserError, match=r"broken.txt: has 3 lines; pairs of a wrong sentence and a right one"):
        read_pairs(tmp_path / "broken.txt", None)
    lines = table({"it": model_of(MaskedNextToken())}, [tmp_path / "likes.txt"], None).splitlines()
    assert lines[0] == "| pairs | it masked | it causal |" and lines[2].startswith("| likes | ")
    assert lines[-1].startswith("| mean | ")
