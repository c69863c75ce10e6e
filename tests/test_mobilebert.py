"""MobileBERT's parts by their definition; that it agrees with transformers is tested beside the others."""

import numpy as np
import pytest
import torch

from test_every_objective import SHAPES
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.shape import Shape
from unmask.nn.embeddings import with_neighbours
from unmask.nn.heads import MaskedLMHead
from unmask.nn.layout import Layout
from unmask.nn.norm import NoNorm
from unmask.objectives.causal_lm import CausalLM
from unmask.objectives.masked_next_token import MaskedNextToken
from unmask.objectives.replaced_token_detection import ReplacedTokenDetection
from unmask.objectives.unified_lm import UnifiedLM
from unmask.presets import PRESETS

SMALL = SHAPES["mobilebert"]


def test_trigrams_are_neighbours_of_one_text():
    x, lengths = torch.randn(9, 2), [4, 1, 3, 1]
    found = with_neighbours(x, Layout.of(np.array(lengths)))
    rows = []
    for text in x.split(lengths):
        for n in range(len(text)):
            after = text[n + 1] if n + 1 < len(text) else torch.zeros(2)
            before = text[n - 1] if n else torch.zeros(2)
            rows.append(torch.cat([after, text[n], before]))
    assert torch.equal(found, torch.stack(rows))


@pytest.mark.parametrize("changes", [{}, {"feed_forwards": 1}, {"feed_forwards": 4, "heads": 3}, {"segments": 0}])
def test_parameters_are_counted(changes):
    shape = SMALL.model_copy(update=changes)
    assert sum(p.numel() for p in backbone_of(shape).parameters()) == parameters(shape)


def test_it_is_as_large_as_the_papers():
    """25.3 M with the pooler and the head of masked LM, whose vocabulary is the embeddings' (Table 1)."""
    shape = PRESETS["mobilebert-base"]
    head = 512 * 513 + 2 * 512 + 30522
    assert parameters(shape) + 512 * 513 + head == pytest.approx(25.3e6, rel=0.01)


def test_answers_read_more_than_the_vectors_of_tokens():
    torch.manual_seed(0)
    head, states = MaskedLMHead(SMALL), torch.randn(5, SMALL.width)
    said = head.norm(torch.relu(head.dense(states)))
    assert head.beside is not None and head.vocabulary.shape[1] + head.beside.shape[1] == SMALL.width
    by_hand = said[:, :16] @ head.vocabulary.T + said[:, 16:] @ head.beside.T + head.bias
    assert torch.allclose(head(states), by_hand, atol=1e-6)
    assert MaskedLMHead(SHAPES["bert"]).beside is None


@pytest.mark.parametrize("objective", [CausalLM, UnifiedLM, MaskedNextToken])
def test_a_trigram_would_tell_the_next_token(objective):
    with pytest.raises(ValueError, match="trigrams tell of the next token, so that none is hidden; bert would fit"):
        objective().suits(SMALL)


def test_a_generator_that_shares_its_embeddings_is_as_wide():
    with pytest.raises(ValueError, match="generator 1 and generator_depth below 1 would fit"):
        ReplacedTokenDetection().suits(SMALL)
    whole = ReplacedTokenDetection(generator=1.0, generator_depth=0.5)
    whole.suits(SMALL)
    assert whole.companions(SMALL)["generator"] == SMALL.model_copy(update={"layers": 1})


def test_no_norm_adds_up_in_float32():
    norm = NoNorm(3).to(torch.bfloat16)
    norm(torch.ones(4096, 3, dtype=torch.bfloat16)).sum().backward()
    assert norm.bias.grad.tolist() == norm.weight.grad.tolist() == [4096] * 3
    exact = NoNorm(3)
    torch.nn.init.normal_(exact.weight)
    assert torch.equal(exact(torch.eye(3)), torch.diag(exact.weight) + exact.bias)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bottleneck": None}, "bottleneck none does not go with family mobilebert; 128 would fit"),
        ({"heads": 5}, "heads must divide the width; 5 does not divide 24"),
        ({"causal": True}, "causal True does not go with family mobilebert; False would fit"),
        ({"positions": "rotary"}, "positions rotary does not go with family mobilebert; learned would fit"),
        ({"family": "bert"}, "bottleneck 24 does not go with family bert; None would fit"),
        ({"embedding_width": 40}, "embedding_width 40 is above width 32, which would fit"),
    ],
)
def test_what_does_not_fit_is_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Shape(**{**SMALL.model_dump(), **settings})
