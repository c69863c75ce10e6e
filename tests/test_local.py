"""Local attention in blocks, and global tokens, against the plain reference: forward and backward, with dropout too.

T tokens, H heads, W width of a head.
"""

import numpy as np
import pytest
import torch

from unmask.nn import attention, dropout, local
from unmask.nn.attention import Manner
from unmask.nn.layout import Layout

LENGTHS = np.array([7, 90, 3, 12, 170, 1, 25, 64, 1, 1])
COUNT = int(LENGTHS.sum())
STARTS = np.cumsum(LENGTHS) - LENGTHS


def inputs(count=COUNT, heads=3, width=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, heads, width, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def run(function, leaves, *rest):
    for leaf in leaves:
        leaf.grad = None
    out = function(*leaves, *rest)
    out.backward(torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype))
    return [out.detach(), *(leaf.grad.clone() for leaf in leaves)]


def order_of():
    """Of some sequences from the left, of others a prefix first."""
    place = np.arange(COUNT) - np.repeat(STARTS, LENGTHS)
    return np.where(np.repeat(np.arange(len(LENGTHS)) % 2, LENGTHS), place, np.maximum(place - 5, 0))


def marks(which):
    """Nothing; the first of each sequence; or these and a few more."""
    mask = torch.zeros(COUNT, dtype=torch.bool)
    mask[torch.from_numpy(STARTS)] = True
    if which == "many":
        mask |= torch.rand(COUNT, generator=torch.Generator().manual_seed(4)) < 0.1
    return mask


LAYOUTS = {
    "plain": Layout.of(LENGTHS),
    "order": Layout.of(LENGTHS, order=order_of()),
    "first": Layout.of(LENGTHS).marked(marks("first")),
    "many": Layout.of(LENGTHS, 200).marked(marks("many")),
    "alone": Layout.of(LENGTHS[4:5]).marked(torch.arange(170) % 50 == 3),
    "of one token": Layout.of(LENGTHS[5:6]).marked(torch.ones(1, dtype=torch.bool)),
}


@pytest.mark.parametrize("smallest", [1, 5, local.SMALLEST])
@pytest.mark.parametrize("window", [2, 7, 40, 1000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_and_rows_are_the_definition(layout, window, smallest, monkeypatch):
    monkeypatch.setattr(local, "SMALLEST", smallest)
    layout, manner = LAYOUTS[layout], Manner(window)
    layout._bands.clear()
    leaves = inputs(len(layout.places))
    reference = run(attention.dense, leaves, layout, manner)
    for route in (attention.blocks, attention.rows):
        for mine, theirs in zip(run(route, leaves, layout, manner), reference, strict=True):
            assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("window", [2, 40])
def test_blocks_that_see_what_came_before(window):
    layout, manner = LAYOUTS["plain"], Manner(window, causal=True)
    for mine, theirs in zip(
        run(attention.blocks, inputs(), layout, manner), run(attention.dense, inputs(), layout, manner), strict=True
    ):
        assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("layout", ["plain", "many"])
def test_blocks_in_bfloat16_are_the_definition_rounded(layout):
    layout, leaves = LAYOUTS[layout], inputs(dtype=torch.bfloat16)
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    mine, reference = run(attention.blocks, leaves, layout, Manner(20)), run(attention.dense, exact, layout, Manner(20))
    for one, other in zip(mine, reference, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.float() - other).norm() < 0.01 * other.norm()


def test_gradients_of_a_global_token_are_added_in_float32():
    """It is seen from every block, and in bfloat16 a sum of sixteens ends at 4,096."""
    count = 1 << 16
    layout = Layout.of(np.array([count])).marked(torch.arange(count) == 0)
    q = torch.zeros(count, 1, 8, dtype=torch.bfloat16)
    v = torch.zeros_like(q).requires_grad_()
    attention.blocks(q, q, v, layout, Manner(2)).sum().backward()
    assert abs(v.grad[0].float().mean().item() - count / 4) < 100


@pytest.mark.parametrize("layout", ["plain", "many"])
def test_dropped_probabilities_are_those_of_the_mask(layout):
    """Blocks with dropout are the definition with that mask, gradients included."""
    layout, leaves = LAYOUTS[layout], inputs()
    dropout.seed(1, 2, 0)
    mine = run(attention.blocks, leaves, layout, Manner(20, dropout=0.25))
    dropout.seed(1, 2, 0)
    kept = mask_of(layout.band(20, torch.float32), dropout.drop, 0.25)
    reference = run(masked_definition, leaves, layout, kept)
    for one, other in zip(mine, reference, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def mask_of(band, drop, probability, heads=3):
    """[H, T, T] what is left of each probability, and 0 where nothing is seen."""
    dropped = drop(torch.ones(heads, *band.barrier.shape), probability)
    kept = torch.zeros(heads, COUNT, COUNT)
    for block, (asks, keys) in enumerate(zip(band.queries, band.keys, strict=True)):
        for row, asking in enumerate(asks.unique()):
            seen = band.barrier[block, row] == 0
            kept[:, asking, keys[seen]] = dropped[:, block, row, seen]
    return kept


def masked_definition(q, k, v, layout, kept):
    owner, place = layout.sequence(), torch.arange(COUNT)
    seen = (place[:, None] - place).abs() <= 10
    seen = seen if layout.globals is None else seen | layout.globals.mask
    scores = torch.einsum("qhw,khw->hqk", q, k) * q.shape[-1] ** -0.5
    probabilities = scores.masked_fill(~seen | (owner[:, None] != owner), -torch.inf).softmax(-1)
    return torch.einsum("hqk,khw->qhw", probabilities * kept, v)


@pytest.mark.parametrize("layout", ["plain", "many"])
def test_a_changed_text_leaves_the_others_bit_equal(layout):
    layout, (q, k, v) = LAYOUTS[layout], (x.detach() for x in inputs())
    before = attention.blocks(q, k, v, layout, Manner(20)).split(LENGTHS.tolist())
    changed = 4
    for x in (q, k, v):
        x.split(LENGTHS.tolist())[changed].mul_(-3).add_(1)
    after = attention.blocks(q, k, v, layout, Manner(20)).split(LENGTHS.tolist())
    for n, (one, other) in enumerate(zip(before, after, strict=True)):
        assert torch.equal(one, other) == (n != changed)


def test_a_global_token_is_seen_once():
    """With values of one, a softmax comes to one wherever it is read, and with its own value counts once."""
    layout = LAYOUTS["first"]
    q = torch.zeros(COUNT, 1, 4)
    v = marks("first").float().view(-1, 1, 1).expand(-1, 1, 4).contiguous()
    said = attention.blocks(q, q, v, layout, Manner(6))[:, 0, 0].split(LENGTHS.tolist())
    for text in said:
        reach = np.array([len({0, *range(max(0, i - 3), min(len(text), i + 4))}) for i in range(len(text))])
        assert np.allclose(text, 1 / reach)


@pytest.mark.parametrize("mark", [False, True])
def test_the_work_grows_as_the_length_does(mark):
    """Scores of a sequence that is twice as long are twice as many, where rows have four times as many."""
    scores = []
    for length in (4096, 8192):
        layout = Layout.of(np.array([length]))
        layout = layout.marked(torch.arange(length) == 0) if mark else layout
        scores.append(layout.band(128, torch.float32).barrier.numel())
    assert scores[1] == 2 * scores[0] <= 2 * 4096 * 4 * 64


@pytest.mark.parametrize(
    ("lengths", "window", "chosen"),
    [
        ([400], 64, "blocks"),
        ([30] * 20, 128, "rows"),
        ([400], None, "rows"),
        ([150], 128, "rows"),
        ([400], 4, "blocks"),
    ],
)
def test_the_door_takes_what_has_fewer_keys(lengths, window, chosen, monkeypatch):
    taken = []
    for name in ("blocks", "rows"):
        route = getattr(attention, name)
        monkeypatch.setattr(attention, name, lambda *x, name=name, route=route: taken.append(name) or route(*x))
    layout = Layout.of(np.array(lengths))
    out = attention.attend(*inputs(sum(lengths)), layout, Manner(window))
    assert taken == [chosen]
    assert torch.allclose(out, attention.dense(*inputs(sum(lengths)), layout, Manner(window)), atol=1e-5)
