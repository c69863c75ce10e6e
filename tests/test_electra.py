"""ELECTRA: its parts and numbers are transformers', and what its two networks learn of each other is the paper's."""

import numpy as np
import pytest
import torch

from unmask.hub.names import to_theirs
from unmask.hub.shapes import write_shape
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.heads import CausalLMHead, MaskedLMHead, ReplacedTokenHead, SpanBoundaryHead
from unmask.nn.network import Network
from unmask.text.example import Example, Stream, Targets

ELECTRA = Shape(
    family="electra", vocab_size=199, width=48, layers=3, heads=4, feed_forward=100, max_length=64, dropout=0,
    attention_dropout=0, embedding_width=20,
)  # fmt: skip
PLAIN = ELECTRA.model_copy(update={"embedding_width": None})
LENGTHS = np.array([7, 31, 1, 64, 12])
DISCRIMINATOR = ("replaced_token_detection", ReplacedTokenHead, "ElectraForPreTraining")
GENERATOR = ("masked_lm", MaskedLMHead, "ElectraForMaskedLM")


def network_of(shape, heads):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten."""
    torch.manual_seed(5)
    network = Network(Encoder(shape), heads)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.12)
    return network


def padded(values):
    rows = np.zeros((len(LENGTHS), LENGTHS.max()), np.int64)
    for row, text in zip(rows, np.split(values, np.cumsum(LENGTHS)[:-1]), strict=True):
        row[: len(text)] = text
    return torch.from_numpy(rows)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("shape", [ELECTRA, PLAIN], ids=["narrow embeddings", "embeddings of the model's width"])
@pytest.mark.parametrize("name, head, cls", [DISCRIMINATOR, GENERATOR])
def test_states_logits_loss_and_gradients_are_transformers(name, head, cls, shape, training):
    """Packed against padded."""
    transformers = pytest.importorskip("transformers")
    network = network_of(shape, {name: head(shape)}).train(training)
    config = transformers.ElectraConfig(**write_shape(shape, "c"), attn_implementation="eager")
    model = getattr(transformers, cls)(config).train(training)
    theirs = to_theirs("electra", dict(network.named_parameters()))
    missing, unexpected = model.load_state_dict({n: t.detach().clone() for n, t in theirs.items()}, strict=False)
    assert set(missing) <= {"generator_lm_head.weight"} and not unexpected

    rng = np.random.default_rng(3)
    tokens, segments = rng.integers(3, 199, LENGTHS.sum()), rng.integers(0, 2, LENGTHS.sum())
    labels = rng.integers(0, 2 if name == DISCRIMINATOR[0] else 199, LENGTHS.sum())
    mask = torch.from_numpy(np.arange(LENGTHS.max()) < LENGTHS[:, None])
    wanted = padded(labels) if name == DISCRIMINATOR[0] else padded(labels).masked_fill(~mask, -100)
    said = model(
        input_ids=padded(tokens), token_type_ids=padded(segments), attention_mask=mask.long(), labels=wanted,
        output_hidden_states=True,
    )  # fmt: skip
    targets = Targets(np.arange(LENGTHS.sum()), labels)
    batch = collate(Example({"encoder": Stream(tokens, LENGTHS, segments)}, {name: targets}))
    for mine, reference in zip(network.backbone.layers(batch.streams["encoder"]), said.hidden_states, strict=True):
        assert (mine - reference[mask]).abs().max() <= 1e-5
    logits = network.logits(batch, name)
    logits = logits[:, 1] if name == DISCRIMINATOR[0] else logits
    assert said.logits[mask].std() > 0.1
    assert (logits - said.logits[mask]).abs().max() <= 1e-5 * said.logits[mask].abs().max()
    loss = network.answer(batch, [name])[name]
    assert loss.total.item() / loss.count == pytest.approx(said.loss.item(), rel=1e-5)
    (loss.total / loss.count).backward()
    said.loss.backward()
    mine = to_theirs("electra", {name: p.grad for name, p in network.named_parameters()})
    for weight, parameter in model.named_parameters():
        # keys' biases move all scores of a query alike: their gradient is zero but for rounding
        scale = max(parameter.grad.abs().max().item(), 1e-2)
        assert (mine[weight] - parameter.grad).abs().max() <= 1e-5 * scale, weight


@pytest.mark.parametrize("parts", [{}, {"norm": "before"}, {"positions": "rotary", "bias": False, "segments": 0},
                                   {"norm": "before", "embedding_norm": False}])  # fmt: skip
@pytest.mark.parametrize("width", [None, 20])
def test_parameters_are_counted(parts, width):
    shape = Shape(**{**ELECTRA.model_dump(), "family": "bert", "embedding_width": width, **parts})
    assert shape.parameters == sum(p.numel() for p in Encoder(shape).parameters())


def test_any_head_answers_in_the_width_of_tokens():
    heads = {"masked_lm": MaskedLMHead(ELECTRA), "causal_lm": CausalLMHead(ELECTRA),
             "span_boundary": SpanBoundaryHead(ELECTRA, 5, 6)}  # fmt: skip
    network = network_of(ELECTRA, heads)
    every = np.arange(9)
    places = {"span_boundary": Targets(np.stack([every, every], 1), every, places=every % 5)}
    targets = {name: places.get(name, Targets(every, every)) for name in heads}
    batch = collate(Example({"encoder": Stream(np.arange(9) + 3, np.array([9]))}, targets))
    for name, head in network.heads.items():
        assert network.logits(batch, name).shape == (9, 199)
        assert head.vocabulary is network.backbone.embeddings.tokens.weight
