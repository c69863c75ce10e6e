"""Reformers against transformers' classes of the same weights: states, logits, losses and gradients, within 1e-5 of the
largest number of each in the reference.

What a text comes to there hangs on how it is padded: buckets are sorted with the padding behind, the first chunk looks
back on the last one, and how many buckets there are goes by the padded length of the first batch. What is compared is
therefore a text by itself, which they fill up to whole chunks (in evaluation by themselves, in training they want it
done, and with axial positions up to the last place). Ours are packed, and a text's numbers do not hang on others'.
"""

import numpy as np
import pytest
import torch

from unmask import hub
from unmask.hub.names import to_theirs
from unmask.hub.shapes import write_shape
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn import lsh
from unmask.nn.batch import collate
from unmask.nn.chunked import filled
from unmask.nn.network import Network
from unmask.text.example import Example, Stream, Targets

transformers = pytest.importorskip("transformers")
LENGTHS = [7, 31, 1, 64, 8, 12, 9]
FULL = [64, 57, 60]
"""Those that fill all places, as their axial positions want in training."""


def shape_of(parts, **changed):
    return Shape(
        **{"family": "reformer", "vocab_size": 199, "width": 96, "layers": 4, "heads": 4, "head_width": 11,
           "feed_forward": 70, "max_length": 64, "positions": "learned", "norm": "before", "embedding_norm": False,
           "tied": False, "segments": 0, "dropout": 0, "attention_dropout": 0, "activation": "relu",
           "reformer": {"local_chunk": 8, "lsh_chunk": 8, **parts}, **changed}
    )  # fmt: skip


AXIAL = {"positions": "axial"}
CASES = {
    "reformer": (shape_of({}), LENGTHS),
    "reformer, from the left": (shape_of({}, causal=True), LENGTHS),
    "reformer, both ways, three rounds": (shape_of({"hashes": 3}), LENGTHS),
    "reformer, from the left, three rounds": (shape_of({"hashes": 3}, causal=True), LENGTHS),
    "reformer, local alone": (shape_of({"attention": "local"}), LENGTHS),
    "reformer, lsh alone, from the left": (shape_of({"attention": "lsh", "hashes": 2}, causal=True), LENGTHS),
    "reformer, other chunks": (shape_of({"local_chunk": 4, "lsh_chunk": 6, "hashes": 2}), [7, 31, 1, 60, 5, 12, 4, 6]),
    "reformer, other chunks, from the left": (
        shape_of({"local_chunk": 8, "lsh_chunk": 4, "attention": "local,local,lsh"}, causal=True),
        LENGTHS,
    ),
    "reformer, as many buckets as told": (shape_of({"buckets": 6, "hashes": 2}), LENGTHS),
    "reformer, buckets found by two hashes": (shape_of({"buckets": (4, 6), "hashes": 2}, causal=True), LENGTHS),
    "reformer, so many that two hashes find them": (shape_of({"lsh_chunk": 2, "local_chunk": 2}), LENGTHS),
    "reformer, axial": (shape_of({"axial": (8, 8), "hashes": 2}, **AXIAL), LENGTHS),
    "reformer, axial, from the left": (shape_of({"axial": (4, 16), "axial_width": 20}, causal=True, **AXIAL), LENGTHS),
    "reformer, a chunk of tokens at once": (shape_of({"feed_forward_chunk": 8, "hashes": 2}, causal=True), LENGTHS),
    "reformer, larger": (
        shape_of({"local_chunk": 16, "lsh_chunk": 16, "hashes": 4}, max_length=512, width=128, heads=2, head_width=32),
        [300, 17, 512, 16],
    ),
}
every = pytest.mark.parametrize("case", CASES)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _their_rotations(monkeypatch):
    """In training too those that a hash_seed draws there."""
    own = lsh.rotations
    monkeypatch.setattr(lsh, "rotations", lambda *sizes: own(*sizes[:4], None, sizes[5]))


def network_of(shape):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten.

    They are as large as they can be before float32 itself, in which both rebuild states, is off by more than is asked.
    """
    torch.manual_seed(5)
    network = Network(backbone_of(shape), {name: make() for name, make in hub.heads_of(shape).items()})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.08 if "blocks" in name else 0.12)
    return network


def reference_of(network, shape):
    """Transformers' class, given our weights by its own strict loading."""
    cls = transformers.ReformerModelWithLMHead if shape.causal else transformers.ReformerForMaskedLM
    model = cls(transformers.ReformerConfig(**write_shape(shape, "config.json"), pad_token_id=0))
    theirs = to_theirs(shape, dict(network.named_parameters()))
    missing, unexpected = model.load_state_dict({n: t.detach().clone() for n, t in theirs.items()}, strict=False)
    assert missing == ["lm_head.bias"] and not unexpected
    return model


def alone(model, shape, ids, wanted, training):
    """What it says of one text, which in training is filled up; and its mean loss."""
    for module in model.modules():
        if hasattr(module, "num_buckets"):  # of the first text it ever saw, otherwise
            module.num_buckets = write_shape(shape, "c")["num_buckets"]
    places = len(ids)
    if training:
        axial = shape.positions == "axial"
        places = shape.max_length if axial else int(filled([places], list(shape.reformer.chunks.values()))[0])
    mask = (torch.arange(places) < len(ids)).long()[None]
    labels = torch.full((1, places), -100)
    labels[0, : len(ids)] = wanted
    padded = torch.zeros(1, places, dtype=torch.long)
    padded[0, : len(ids)] = ids
    out = model(padded, attention_mask=mask, labels=labels, output_hidden_states=True)
    return [states[0, : len(ids)] for states in out.hidden_states], out.logits[0, : len(ids)], out.loss


def batch_of(shape, lengths):
    """Texts end to end; of each token the next one is asked, or any."""
    tokens = np.random.default_rng(3).integers(1, shape.vocab_size, sum(lengths)).astype(np.int32)
    stream = Stream(tokens, np.array(lengths))
    if not shape.causal:
        targets = {"masked_lm": Targets(np.arange(len(tokens)), (tokens * 7 + 3) % 199)}
        return collate(Example({"encoder": stream}, targets))
    first = np.setdiff1d(np.arange(len(tokens)), stream.starts) - 1
    return collate(Example({"encoder": stream}, {"causal_lm": Targets(first, tokens[first + 1].astype(np.int64))}))


def wanted_of(shape, tokens):
    """The labels that their class takes: it shifts them itself where it reads from the left."""
    return tokens if shape.causal else (tokens * 7 + 3) % 199


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@every
def test_states_and_logits(case, training, agreement):
    shape, lengths = CASES[case]
    lengths = FULL if training and shape.positions == "axial" else lengths
    network = network_of(shape).train(training)
    model = reference_of(network, shape).train(training)
    batch, near = batch_of(shape, lengths), agreement(case, model)
    with torch.no_grad():
        ours = network.backbone.layers(batch.streams["encoder"])
        logits = network.heads["causal_lm" if shape.causal else "masked_lm"](ours[-1])
        assert torch.equal(ours[-1], network.backbone(batch.streams["encoder"]))
        start = 0
        for ids in batch.streams["encoder"].tokens.split(lengths):
            states, theirs, _ = alone(model, shape, ids, wanted_of(shape, ids), training)
            own = slice(start, start := start + len(ids))
            assert len(ours) == len(states) == shape.layers + 1
            for mine, reference in zip(ours[:-1], states[:-1], strict=True):
                near("states", mine[own].chunk(2, -1)[1], reference)
            assert theirs.std() > 0.1  # else agreement would say nothing
            near("logits", logits[own], theirs)


@every
def test_losses_and_gradients_of_every_parameter(case, agreement):
    shape, lengths = CASES[case]
    lengths = FULL if shape.positions == "axial" else lengths
    network = network_of(shape).train()
    model = reference_of(network, shape).train()
    batch, near = batch_of(shape, lengths), agreement(case, model)
    loss = next(iter(network.answer(batch, list(network.heads)).values()))
    loss.total.backward()

    total = 0.0
    for ids in batch.streams["encoder"].tokens.split(lengths):
        if (asked := len(ids) - shape.causal) > 0:
            _, _, mean = alone(model, shape, ids, wanted_of(shape, ids), training=True)
            (mean * asked).backward()
            total += mean.item() * asked
    near("loss", loss.total, torch.tensor(total))

    mine = to_theirs(shape, {name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    reference = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(mine) == set(reference)
    for name, gradient in reference.items():
        near("gradients", mine[name], gradient, name)


def test_there_a_text_hangs_on_its_padding_and_here_it_does_not():
    """The last chunk, on which the first looks back, is one of padding there."""
    shape = shape_of({"buckets": 4})
    network = network_of(shape).eval()
    model = reference_of(network, shape).eval()
    batch = batch_of(shape, [31, 64])
    short, long = batch.streams["encoder"].tokens.split([31, 64])
    mask = torch.arange(64)[None] < torch.tensor([[31], [64]])
    with torch.no_grad():
        padded = model(torch.stack([torch.nn.functional.pad(short, (0, 33)), long]), attention_mask=mask.long()).logits
        by_itself = model(short[None]).logits[0]
        ours = network.heads["masked_lm"](network.backbone(batch.streams["encoder"]))
    assert torch.allclose(ours[:31], by_itself, atol=1e-5) and torch.allclose(ours[31:], padded[1], atol=1e-5)
    assert (padded[0, :31] - by_itself).abs().max() > 1e-2 * by_itself.abs().max()
