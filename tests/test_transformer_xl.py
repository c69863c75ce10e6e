"""Transformer-XL against the paper's formulas written out, and what its memory may and may not do.

A number agrees when it is no further off than 1e-5 times the largest of its kind in the reference.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unmask.inference.generation.generate import generate
from unmask.inference.generation.settings import Generation
from unmask.inference.generation.writer import Writer
from unmask.inference.model import Model
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.relative import carried
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.heads import CausalLMHead
from unmask.nn.losses import cross_entropy
from unmask.nn.network import Network
from unmask.presets import PRESETS
from unmask.text.example import Example, Stream, Targets

NEAR = 1e-5
SMALL = PRESETS["transformer-xl-tiny"].model_copy(
    update={"vocab_size": 199, "width": 48, "layers": 3, "heads": 4, "feed_forward": 100, "max_length": 64,
            "dropout": 0.0, "activation_dropout": 0.0}
)  # fmt: skip
SHAPES = {"small": SMALL, "one layer": SMALL.model_copy(update={"layers": 1, "width": 30, "heads": 3})}
LENGTHS, BEFORE = [7, 31, 1, 64, 12], [5, 0, 9, 20, 0]
MODES = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


# --- the reference ----------------------------------------------------------------------------------------------------


def reference(weights, shape, texts, first=None, sees=None):
    """States [B, L, D] of padded texts after the embeddings and after every layer (Dai 2019, §3.3), nothing clever.

    Args:
        weights: tensors by our names, the backbone's.
        shape: the model's.
        texts: lists of ids, which are padded.
        first: [B] places that each text begins behind; of those before none is seen.
        sees: [L, L] bool who sees whom; none: all up to itself.
    """
    size, heads = max(map(len, texts)), shape.heads
    ids = torch.tensor([[0] * (size - len(text)) + text for text in texts])  # padded on the left, distances do not care
    there = torch.tensor([[False] * (size - len(text)) + [True] * len(text) for text in texts])
    sees = torch.ones(size, size).tril().bool() if sees is None else sees
    seen = sees[None] & there[:, None] | torch.eye(size).bool()  # [B, L, L]; padding sees itself
    place = torch.arange(size)
    h = weights["embeddings.tokens.weight"][ids] * shape.width**0.5
    u, v = (weights[f"blocks.0.attention.{kind}_bias"] for kind in ("content", "position"))
    states = [h]
    for layer in range(shape.layers):
        w = {name.removeprefix(f"blocks.{layer}."): t for name, t in weights.items()}
        q, k, value = (
            (h @ w[f"attention.{part}.weight"].T).view(*h.shape[:2], heads, -1) for part in ("query", "key", "value")
        )
        r = sinusoid(place[:, None] - place, shape.width) @ w["attention.distance.weight"].T
        r = r.view(size, size, heads, -1)  # [L, L, H, W] for i - j
        a = torch.einsum("bihw,bjhw->bhij", q, k)
        b = torch.einsum("bihw,ijhw->bhij", q, r)
        c = torch.einsum("hw,bjhw->bhj", u, k)[:, :, None]
        d = torch.einsum("hw,ijhw->hij", v, r)[None]
        scores = ((a + b + c + d) / math.sqrt(q.shape[-1])).masked_fill(~seen[:, None], -math.inf)
        mixed = torch.einsum("bhij,bjhw->bihw", scores.softmax(-1), value).flatten(2)
        h = normed(h + mixed @ w["attention.out.weight"].T, w, "attention_norm", shape)
        inner = F.relu(h @ w["feed_forward.into.weight"].T + w["feed_forward.into.bias"])
        h = normed(
            h + inner @ w["feed_forward.out.weight"].T + w["feed_forward.out.bias"], w, "feed_forward_norm", shape
        )
        states.append(h)
    return [x[there] for x in states]


def sinusoid(distance, width):
    """[…, D] the sines, then the cosines."""
    angle = distance[..., None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.cat([angle.sin(), angle.cos()], -1)


def normed(x, w, name, shape):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + shape.norm_eps).sqrt()
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def network_of(shape=SMALL):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten."""
    torch.manual_seed(5)
    network = Network(backbone_of(shape), {"causal_lm": CausalLMHead(shape)})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.2 if "attention" in name else 0.12)
    return network


def theirs(network):
    """The same weights as leaves of another graph, by the backbone's names."""
    return {name: p.detach().clone().requires_grad_() for name, p in network.backbone.named_parameters()}


def texts_of(lengths=LENGTHS, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 199, length).tolist() for length in lengths]


def stream(texts, places=None):
    return Stream(np.concatenate([np.array(text, int) for text in texts]), np.array([*map(len, texts)]), places=places)


def sequences(texts, places=None, row_length=None):
    return collate(Example({"it": stream(texts, places)}), row_length).streams["it"]


def agree(mine, other, what=""):
    assert mine.shape == other.shape
    assert (mine - other).abs().max().item() <= NEAR * other.abs().max().item(), what


# --- what it computes -------------------------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("row_length", [None, 80])
def test_states_are_those_of_the_formulas(shape, training, row_length):
    network = network_of(SHAPES[shape]).train(training)
    with torch.no_grad():
        mine = network.backbone.layers(sequences(texts_of(), row_length=row_length))
        other = reference(theirs(network), SHAPES[shape], texts_of())
    assert len(mine) == len(other) == SHAPES[shape].layers + 1
    for one, two in zip(mine, other, strict=True):
        agree(one, two)
    assert other[-1].std() > 0.1  # else agreement would say nothing


@MODES
@pytest.mark.parametrize("remembered", [False, True], ids=["alone", "memory"])
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradients_are_those_of_the_formulas(shape, remembered, training):
    """With a memory: the text before is read without gradient, here as in a pass of its own."""
    network, texts = network_of(SHAPES[shape]).train(training), texts_of()
    before = texts_of(BEFORE if remembered else [0] * 5, seed=4)
    batch = collate(Example(streams_of(texts, before), {"causal_lm": asked_of(texts)}), 80)
    loss, weights = network.answer(batch, ["causal_lm"])["causal_lm"], theirs(network)
    states = with_memory(weights, SHAPES[shape], texts, before)
    logits = states[batch.targets["causal_lm"].index] @ weights["embeddings.tokens.weight"].T
    other = F.cross_entropy(logits, batch.targets["causal_lm"].labels, reduction="sum")
    agree(network.states(batch), states)
    agree(network.logits(batch, "causal_lm"), logits)
    agree(loss.total, other)
    loss.total.backward()
    other.backward()
    for name, parameter in network.backbone.named_parameters():
        assert weights[name].grad.abs().max() > 1e-5, name
        agree(parameter.grad, weights[name].grad, name)


def streams_of(texts, before):
    """The texts, and what stands before them as a memory."""
    if not any(map(len, before)):
        return {"encoder": stream(texts)}
    places = np.concatenate([np.arange(-len(text), 0) for text in before])
    return {"encoder": stream(texts), "memory": stream(before, places)}


def asked_of(texts):
    """Every token but the first of each text, of the one before it."""
    whole = stream(texts)
    index = np.setdiff1d(np.arange(len(whole.tokens)), whole.starts)
    return Targets(index - 1, whole.tokens[index])


def with_memory(weights, shape, texts, before):
    """Last states of texts whose layers look back on states of others, which are constants: one text at a time.

    The whole is read in one pass; what stands before is then put in the place of what it was, layer by layer.
    """
    found = []
    for text, earlier in zip(texts, before, strict=True):
        held = [x.detach() for x in reference(weights, shape, [earlier])] if earlier else None
        found.append(looking_back(weights, shape, text, held))
    return torch.cat(found)


def looking_back(weights, shape, text, held):
    """Last states [L, D] of a text whose layer n looks back on ``held[n]`` [M, D] (§3.2)."""
    if held is None:
        return reference(weights, shape, [text])[-1]
    one_layer = shape.model_copy(update={"layers": 1})
    h = weights["embeddings.tokens.weight"][torch.tensor(text)] * shape.width**0.5
    for layer in range(shape.layers):
        w = {name.replace(f"blocks.{layer}.", "blocks.0."): t for name, t in weights.items()
             if name.startswith(f"blocks.{layer}.")}  # fmt: skip
        w |= {f"blocks.0.attention.{kind}_bias": weights[f"blocks.0.attention.{kind}_bias"]
              for kind in ("content", "position")}  # fmt: skip
        # one layer over the memory and the text, as if both were embeddings
        both = torch.cat([held[layer], h])
        w["embeddings.tokens.weight"] = both / shape.width**0.5
        h = reference(w, one_layer, [list(range(len(both)))])[-1][len(held[layer]) :]
    return h


# --- recurrence -------------------------------------------------------------------------------------------------------

SIZES = np.array([[10, 10, 10, 4], [3, 12, 7, 1], [6, 6, 6, 6]])
"""Of three texts, four segments each."""


def in_segments(network, texts, most):
    """Last-layer and other states of texts [T, D] that are read segment by segment, and logits."""
    backbone, memory, found = network.backbone, None, [[] for _ in range(SMALL.layers + 1)]
    where = [np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]) for sizes in SIZES]
    for part in range(SIZES.shape[1]):
        here = [places[part] for places in where]
        segments = [[text[n] for n in places] for text, places in zip(texts, here, strict=True)]
        read = sequences(segments, np.concatenate(here))
        states = backbone.layers(read, memory)
        memory = carried(memory, read, states[:-1], most) if most else None
        for kept, x in zip(found, states, strict=True):
            kept.append(torch.split(x, SIZES[:, part].tolist()))
    whole = [torch.cat([part[n] for n in range(len(texts)) for part in kept]) for kept in found]
    return whole, network.heads["causal_lm"](whole[-1])


@pytest.mark.parametrize("most", [100, 9, 5, 0])
def test_segments_with_memory_are_one_long_pass_inside_its_reach(most):
    """A token sees its segment up to itself and so many tokens before it: in one pass that is a mask."""
    network, texts = network_of().eval(), texts_of(SIZES.sum(1))
    with torch.no_grad():
        mine, logits = in_segments(network, texts, most)
        other = [[] for _ in mine]
        for text, sizes in zip(texts, SIZES, strict=True):
            place = torch.arange(len(text))
            begin = torch.from_numpy(np.repeat(np.cumsum(sizes) - sizes, sizes))
            sees = (place <= place[:, None]) & (place >= begin[:, None] - most)
            for kept, x in zip(other, reference(theirs(network), SMALL, [text], sees=sees), strict=True):
                kept.append(x)
        for one, two in zip(mine, other, strict=True):
            agree(one, torch.cat(two))
        agree(logits, network.heads["causal_lm"](torch.cat(other[-1])))
        whole = network.backbone(sequences(texts))
    same = (mine[-1] - whole).abs().max() <= NEAR * whole.abs().max()
    assert same == (most == 100)  # then the memory holds all; else less is seen


def test_a_memory_holds_the_last_tokens_of_each_sequence():
    network, texts = network_of().eval(), texts_of([6, 2, 4])
    first, second = sequences(texts), sequences(texts_of([3, 1, 5], seed=9), np.r_[6:9, 2:3, 4:9])
    with torch.no_grad():
        states = network.backbone.layers(first)
        memory = carried(None, first, states[:-1], 3)
        assert memory.sequences.layout.lengths == (3, 2, 3)
        assert memory.sequences.positions.tolist() == [3, 4, 5, 0, 1, 1, 2, 3]
        assert memory.sequences.tokens.tolist() == [*texts[0][3:], *texts[1], *texts[2][1:]]
        assert torch.equal(memory.states[1], states[1][[3, 4, 5, 6, 7, 9, 10, 11]])
        again = carried(memory, second, network.backbone.layers(second, memory)[:-1], 4)
    assert again.sequences.positions.tolist() == [5, 6, 7, 8, 0, 1, 2, 5, 6, 7, 8]


@pytest.mark.parametrize("remembered", [False, True], ids=["alone", "memory"])
def test_a_token_sees_nothing_that_follows(remembered):
    network, texts = network_of().eval(), texts_of()
    before = texts_of(BEFORE if remembered else [0] * 5, seed=4)

    def states(changed):
        with torch.no_grad():
            return network.states(collate(Example(streams_of(changed, before)), 80))

    reference_TD, whole = states(texts), stream(texts)
    for place in range(0, len(whole.tokens), 7):
        n, at = int(whole.sequence[place]), int(whole.position[place])
        other = [list(text) for text in texts]
        other[n][at] = (other[n][at] + 50) % 199
        moved = (states(other) != reference_TD).any(-1).numpy()
        assert np.array_equal(moved, (whole.sequence == n) & (whole.position >= at))


def test_a_token_of_the_memory_is_seen_by_its_own_sequence_and_teaches_nothing():
    network, texts, before = network_of().eval(), texts_of(), texts_of(BEFORE, seed=4)
    before[3][2] = 1  # a token that stands nowhere else
    batch = collate(Example(streams_of(texts, before), {"causal_lm": asked_of(texts)}), 80)
    memory = network.backbone.beside(batch)
    assert not any(state.requires_grad for state in memory.states)
    network.states(batch).sum().backward()
    assert not network.backbone.embeddings.tokens.weight.grad[1].any()
    other = [list(text) for text in before]
    other[3][2] = 2
    with torch.no_grad():
        one, two = (network.states(collate(Example(streams_of(texts, x)), 80)) for x in (before, other))
    whole = stream(texts)
    assert np.array_equal((one != two).any(-1).numpy(), whole.sequence == 3)


# --- writing ----------------------------------------------------------------------------------------------------------


class Ids:
    """A tokenizer of which nothing is needed but numbers."""

    sep, size, names, special = -1, 199, {}, np.zeros(199, bool)


def test_what_is_written_on_is_what_would_be_read_anew():
    """More tokens than a past has room for at first, and some texts leave on the way."""
    network, texts = network_of().eval(), texts_of([5, 17, 1, 9])
    writer = Writer(network.backbone, network.heads["causal_lm"], 199, sequences(texts))
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        scores = writer.begin()
        for step in range(80):
            anew = network.heads["causal_lm"](torch.stack([network.backbone(sequences([x]))[-1] for x in texts]))
            agree(scores, anew)
            if step == 40:
                writer.pick(torch.tensor([3, 1]))
                texts = [texts[3], texts[1]]
            more = rng.integers(3, 199, len(texts))
            texts = [[*text, int(token)] for text, token in zip(texts, more, strict=True)]
            scores = writer.add(torch.from_numpy(more))


def test_greedy_texts_are_those_of_reading_all_anew():
    network, texts = network_of().eval(), texts_of([5, 17, 1, 9])
    with torch.no_grad():
        for block in network.backbone.blocks:  # what is near counts much, so that it does not repeat one token for ever
            block.attention.distance.weight.mul_(20)
            block.attention.out.weight.mul_(4)
    model = Model("it", SMALL, network, Ids())
    written = generate(model, texts, Generation(max_new_tokens=30))
    with torch.no_grad():
        for _ in range(30):
            best = [network.heads["causal_lm"](network.backbone(sequences([x]))[-1]).argmax().item() for x in texts]
            texts = [[*text, token] for text, token in zip(texts, best, strict=True)]
    assert written == texts and len({token for text in texts for token in text[17:]}) > 20
    assert len(generate(model, texts_of([5, 9]), Generation(max_new_tokens=9, beams=3))[0]) == 14


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*SHAPES.values(), PRESETS["transformer-xl-tiny"], PRESETS["xlnet-tiny"]])
def test_parameters_are_counted(shape):
    with torch.device("meta"):
        assert sum(p.numel() for p in backbone_of(shape).parameters()) == parameters(shape)


def test_the_base_is_as_large_as_the_papers():
    """Table 1: 151M."""
    assert round(parameters(PRESETS["transformer-xl-base"]) / 1e6) == 151


@pytest.mark.parametrize("other", [{"causal": False}, {"segments": 2}, {"norm": "before"}, {"positions": "learned"}])
def test_parts_that_it_has_not_are_refused(other):
    with pytest.raises(ValueError, match="does not go with family transformer_xl"):
        Shape(**{**SMALL.model_dump(), **other})


def test_dropout_is_for_training():
    network = network_of(SMALL.model_copy(update={"dropout": 0.1, "attention_dropout": 0.1}))
    given = sequences(texts_of())
    evaluated = network.eval().backbone(given)
    assert torch.equal(evaluated, network.eval().backbone(given))
    assert not torch.equal(evaluated, network.train().backbone(given))


def test_losses_leave_as_sums():
    network, texts = network_of(), texts_of()
    batch = collate(Example(streams_of(texts, texts_of(BEFORE)), {"causal_lm": asked_of(texts)}))
    loss = network.answer(batch, ["causal_lm"])["causal_lm"]
    assert loss.count == sum(LENGTHS) - len(LENGTHS)
    agree(loss.total, cross_entropy(network.logits(batch, "causal_lm"), batch.targets["causal_lm"].labels).total)
