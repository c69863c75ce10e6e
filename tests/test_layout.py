"""Texts in one batch never see each other, on any route, and linear layers see nothing but their tokens."""

import numpy as np
import pytest
import torch
from torch import nn

from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn import attention
from unmask.nn.attention import Manner
from unmask.nn.batch import collate
from unmask.nn.even import missing
from unmask.nn.heads import MaskedLMHead
from unmask.nn.layout import Layout
from unmask.nn.network import Network
from unmask.text.example import Example, Stream, Targets

LENGTHS = [5, 17, 1, 9, 16, 2]
WINDOWS = [None, 6]
ROUTES = {"rows": attention.rows, "dense": attention.dense}
BERT = Shape(vocab_size=90, width=32, layers=2, heads=4, feed_forward=48, max_length=64)
MODERNBERT = Shape(
    family="modernbert", vocab_size=90, width=32, layers=4, heads=4, feed_forward=48, max_length=64, positions="rotary",
    norm="before", norm_eps=1e-5, bias=False, gated=True, segments=0, window=8, global_every=3,
)  # fmt: skip


def heads_of(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(sum(lengths), 3, 8, generator=generator) for _ in range(3)]


def split(x, lengths):
    return torch.split(x, list(lengths))


@pytest.mark.parametrize("row_length", [None, 24, 40, 200])
@pytest.mark.parametrize("window", WINDOWS)
def test_rows_agree_with_the_definition(row_length, window):
    """Forward and backward."""
    layout = Layout.of(np.array(LENGTHS), row_length)
    results = []
    for route in ROUTES.values():
        qkv = [x.requires_grad_() for x in heads_of(LENGTHS)]
        out = route(*qkv, layout, Manner(window))
        out.backward(torch.linspace(-1, 1, out.numel()).view(out.shape))
        results.append([out.detach(), *(x.grad for x in qkv)])
    for mine, reference in zip(*results, strict=True):
        assert torch.allclose(mine, reference, atol=2e-6)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_definition_is_attention_in_each_text_alone(window):
    qkv = heads_of(LENGTHS)
    together = attention.dense(*qkv, Layout.of(np.array(LENGTHS)), Manner(window))
    for q, k, v, out in zip(*(split(x, LENGTHS) for x in (*qkv, together)), strict=True):
        far = torch.arange(len(q))
        mask = (far[:, None] - far).abs() > (window or 10**6) // 2
        scores = torch.einsum("qhw,khw->hqk", q, k) / 8**0.5
        alone = torch.einsum("hqk,khw->qhw", scores.masked_fill(mask, -torch.inf).softmax(-1), v)
        assert torch.allclose(alone, out, atol=1e-6)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("route", ROUTES)
def test_a_changed_text_leaves_the_others_bit_equal(route, window):
    layout = Layout.of(np.array(LENGTHS), 40)
    q, k, v = heads_of(LENGTHS)
    before = split(ROUTES[route](q, k, v, layout, Manner(window)), LENGTHS)
    changed = 3
    for x in (q, k, v):
        split(x, LENGTHS)[changed].mul_(-3).add_(1)
    after = split(ROUTES[route](q, k, v, layout, Manner(window)), LENGTHS)
    for n, (one, other) in enumerate(zip(before, after, strict=True)):
        assert torch.equal(one, other) == (n != changed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA's kernel")
@pytest.mark.parametrize("window", WINDOWS)
def test_the_kernel_for_different_lengths_agrees(window):
    device = torch.device("cuda")
    layout = Layout.of(np.array(LENGTHS)).to(device)
    results = []
    for route in (attention.varlen, attention.dense):
        qkv = [x.to(device, torch.bfloat16).requires_grad_() for x in heads_of(LENGTHS)]
        out = route(*qkv, layout, Manner(window))
        out.float().sum().backward()
        results.append([out.detach(), *(x.grad for x in qkv)])
    for mine, reference in zip(*results, strict=True):
        assert (mine - reference).abs().max() < 0.03


def stream_of(lengths, seed=1):
    return Stream(np.random.default_rng(seed).integers(0, 90, sum(lengths)), np.array(lengths))


@pytest.mark.parametrize("row_length", [None, 40])
@pytest.mark.parametrize("shape", [BERT, MODERNBERT], ids=["bert", "modernbert"])
def test_states_do_not_depend_on_company(shape, row_length):
    encoder, stream = Encoder(shape).eval(), stream_of(LENGTHS)
    together = encoder(collate(Example({"encoder": stream}), row_length).streams["encoder"])
    for n, start in enumerate(stream.starts):
        alone = Stream(stream.tokens[start : start + LENGTHS[n]], np.array([LENGTHS[n]]))
        states = encoder(collate(Example({"encoder": alone})).streams["encoder"])
        assert torch.allclose(states, together[start : start + LENGTHS[n]], atol=2e-6)


@pytest.mark.parametrize("shape", [BERT, MODERNBERT], ids=["bert", "modernbert"])
def test_gradients_do_not_cross_texts(shape):
    encoder, stream = Encoder(shape).eval(), stream_of([6, 5, 4])
    sequences = collate(Example({"encoder": stream}), 20).streams["encoder"]
    seen = []
    encoder.embeddings.register_forward_hook(lambda module, inputs, out: seen.append(out))
    states = encoder(sequences)
    gradient = torch.autograd.grad(states[6:11].square().sum(), seen[0])[0]
    touched = gradient.abs().sum(-1) > 0
    assert touched.tolist() == [False] * 6 + [True] * 5 + [False] * (len(touched) - 11)


@pytest.mark.parametrize("shape", [BERT, MODERNBERT], ids=["bert", "modernbert"])
def test_linear_layers_see_tokens_and_nothing_else(shape):
    """T tokens in every linear layer and norm of the encoder; only the M wanted ones behind the last scores."""
    network = Network(Encoder(shape), {"masked_lm": MaskedLMHead(shape)})
    wanted = np.array([3, 20, 48])
    targets = {"masked_lm": Targets(wanted, np.array([1, 2, 3]))}
    batch = collate(Example({"encoder": stream_of(LENGTHS)}, targets), 40)
    rows = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.LayerNorm):
            module.register_forward_hook(lambda m, inputs, out, name=name: rows.__setitem__(name, inputs[0].shape[:-1]))
    assert network.logits(batch, "masked_lm").shape == (3, 90)
    assert len(rows) == sum(isinstance(m, nn.Linear | nn.LayerNorm) for m in network.modules())
    for name, found in rows.items():
        behind = name.startswith(("heads.", f"backbone.blocks.{shape.layers - 1}.", "backbone.norm"))
        few = behind and not name.endswith((".qkv", ".attention_norm" if shape.norm == "before" else ".qkv"))
        assert tuple(found) == (_rounded_up(3) if few else _rounded_up(sum(LENGTHS)),), name


def _rounded_up(count):
    """To what comes again; what is computed of the last few nobody looks at."""
    return count + missing(count)


def test_rows_hold_every_sequence_whole_and_in_order():
    layout = Layout.of(np.array(LENGTHS), 20)
    starts = layout.places[layout.cu_seqlens[:-1].long()]
    for start, length, begin in zip(starts.tolist(), LENGTHS, layout.cu_seqlens.tolist(), strict=False):
        places = layout.places[begin : begin + length].tolist()
        assert places == list(range(start, start + length))
        assert start // 20 == (start + length - 1) // 20  # no sequence crosses a row's end
    assert len(set(layout.places.tolist())) == sum(LENGTHS)
    assert max(layout.places) < layout.rows * layout.row_length
    assert layout.cu_seqlens.tolist() == [0, *np.cumsum(LENGTHS)]
    assert layout.max_length == max(LENGTHS)


def test_rows_grow_to_the_longest_sequence():
    assert Layout.of(np.array([3, 50, 4]), 10).row_length == 50


@pytest.mark.parametrize("lengths", [LENGTHS, [8, 8, 8]])
def test_laying_in_rows_loses_nothing(lengths):
    layout = Layout.of(np.array(lengths), 24)
    x = torch.arange(sum(lengths) * 2.0).view(-1, 2) + 1
    laid = layout.to_rows(x)
    assert laid.shape == (layout.rows, 24, 2)
    assert torch.equal(layout.from_rows(laid), x)
    assert laid.count_nonzero() == x.numel()  # empty places hold zeros


def test_the_owner_of_every_token():
    assert Layout.of(np.array([2, 1, 3])).sequence().tolist() == [0, 0, 1, 2, 2, 2]


def test_dropout_of_probabilities_keeps_their_mean():
    layout = Layout.of(np.array([64]))
    q, k = heads_of([64])[:2]
    ones = torch.ones(64, 3, 8)
    torch.manual_seed(0)
    mean = torch.stack([attention.rows(q, k, ones, layout, Manner(dropout=0.3)) for _ in range(200)]).mean()
    assert abs(mean.item() - 1) < 0.02
    assert torch.equal(attention.attend(q, k, ones, layout), attention.rows(q, k, ones, layout))
