"""Attention by rows and dropout against plain references, forward and backward, as they run in training."""

import numpy as np
import pytest
import torch

from unmask.nn import attention, dropout
from unmask.nn.attention import Manner
from unmask.nn.layout import Layout

LENGTHS = np.array([7, 20, 3, 12, 30, 1, 25])


def inputs(heads=3, width=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shape = (int(LENGTHS.sum()), heads, width)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def run(function, leaves, *rest):
    for leaf in leaves:
        leaf.grad = None
    out = function(*leaves, *rest)
    out.float().square().sum().backward()
    return [out.detach(), *(leaf.grad.clone() for leaf in leaves)]


@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("row_length", [None, 32, 50])
def test_rows_in_bfloat16_are_the_definition_rounded(row_length, window):
    layout = Layout.of(LENGTHS, row_length)
    leaves = inputs(dtype=torch.bfloat16)
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    mine = run(attention.rows, leaves, layout, Manner(window))
    reference = run(attention.dense, exact, layout, Manner(window))
    for one, other in zip(mine, reference, strict=True):
        assert one.dtype == torch.bfloat16
        # a few roundings to 8 bits, each at most 2^-9 of what is rounded
        assert (one.float() - other).norm() < 0.01 * other.norm()


def test_dropped_probabilities_are_those_of_the_mask():
    """The rows route with dropout is the definition with that mask, gradients included."""
    layout = Layout.of(LENGTHS, 32)
    leaves = inputs()
    dropout.seed(1, 2, 0)
    mine = run(attention.rows, leaves, layout, Manner(dropout=0.25))
    dropout.seed(1, 2, 0)
    mask = dropout.drop(torch.ones(layout.rows * 3, 32, 32), 0.25).view(layout.rows, 3, 32, 32)
    reference = run(masked_definition, leaves, layout, mask)
    for one, other in zip(mine, reference, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def masked_definition(q, k, v, layout, mask):
    owner = layout.sequence()
    scores = torch.einsum("qhw,khw->hqk", q, k) * q.shape[-1] ** -0.5
    probabilities = scores.masked_fill(owner[:, None] != owner, -torch.inf).softmax(-1)
    row, place = layout.places // layout.row_length, layout.places % layout.row_length
    kept = mask[row[:, None], :, place[:, None], place[None, :]].permute(2, 0, 1)  # queries' rows are keys' rows
    return torch.einsum("hqk,khw->qhw", probabilities * kept, v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_the_share_and_the_expectation(dtype):
    dropout.seed(3, 0, 0)
    x = torch.ones(1_000_003, dtype=dtype, requires_grad=True)
    y = dropout.drop(x, 0.1)
    y.sum().backward()
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - 0.1) < 5 * (0.09 / len(x)) ** 0.5
    assert torch.equal(x.grad, y)
    assert len(y.unique()) == 2
    assert y.max().item() == torch.tensor(65536 / (65536 - 6554)).to(dtype).item()


def test_masks_depend_on_their_address_alone():
    def masks(seed, step, part):
        dropout.seed(seed, step, part)
        return [dropout.drop(torch.ones(999), 0.5) for _ in range(2)]

    first, second = masks(1, 7, 0)
    dropout.drop(torch.ones(5), 0.3)  # whatever was drawn in between
    again = masks(1, 7, 0)
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    others = [second, *masks(1, 8, 0), *masks(2, 7, 0), *masks(1, 7, 1)]
    for other in others:
        assert 0.4 < (first == other).float().mean() < 0.6  # as two independent masks agree


def test_neighbours_in_a_mask_are_independent():
    dropout.seed(4, 0, 0)
    kept = (dropout.drop(torch.ones(1 << 20), 0.5) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 8, 128):
        assert abs((kept[distance:] * kept[:-distance]).mean().item()) < 5 * 0.25 / (1 << 10)


def test_without_training_nothing_is_dropped():
    layer = dropout.Dropout(0.9).eval()
    x = torch.randn(50)
    assert torch.equal(layer(x), x)
    assert not torch.equal(layer.train()(x), x)
