"""What bfloat16 must not lose: gradients added up over thousands of tokens, and losses."""

import pytest
import torch
from torch.nn import functional as F

from unmask.nn import losses
from unmask.nn.embeddings import look_up
from unmask.nn.losses import cross_entropy, token_cross_entropy
from unmask.nn.norm import LayerNorm


def close(mine, exact, share=0.01):
    assert mine.dtype == torch.bfloat16
    return (mine.float() - exact).norm() < share * exact.norm()


@pytest.mark.parametrize("shape", [(4096,), (256, 16)], ids=["of tokens", "of letters of tokens"])
def test_an_embedding_adds_up_its_gradients(shape):
    """Torch's own comes to 256 where 4,096 ones are added."""
    weight = torch.randn(3, 8).bfloat16().requires_grad_()
    ids = (torch.arange(4096) % 2).view(shape)
    look_up(weight, ids).sum().backward()
    assert torch.equal(weight.grad.float(), torch.tensor([2048.0, 2048.0, 0.0])[:, None].expand(3, 8))
    assert torch.equal(look_up(weight, ids), F.embedding(ids, weight))


@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_adds_up_its_gradients(bias):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 64, generator=generator).bfloat16().requires_grad_()
    gradient = torch.rand(4096, 64, generator=generator).bfloat16()
    mine = LayerNorm(64, 1e-5, bias=bias).bfloat16()
    exact, of = torch.nn.LayerNorm(64, 1e-5, bias=bias), x.detach().float().requires_grad_()
    out, reference = mine(x), exact(of)
    out.backward(gradient)
    reference.backward(gradient.float())
    assert close(out, reference)
    assert close(x.grad, of.grad)
    assert close(mine.weight.grad, exact.weight.grad, 0.02)
    if bias:
        assert close(mine.bias.grad, exact.bias.grad)


@pytest.fixture
def ten_rows_at_once(monkeypatch):
    monkeypatch.setattr(losses, "_NUMBERS", 3010)
    monkeypatch.setattr(losses, "_PIECE", 40)


@pytest.mark.parametrize("rows", [1, 32, 77])
def test_cross_entropy_and_its_gradient_are_torchs(rows, ten_rows_at_once):
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(rows, 301, generator=generator)
    labels = torch.randint(301, (rows,), generator=generator)
    logits[0, labels[0]] = -200.0  # a label whose probability is no float32 number
    mine, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
    loss = cross_entropy(mine, labels)
    (loss.total * 0.3).backward()
    reference = F.cross_entropy(exact, labels, reduction="sum")
    (reference * 0.3).backward()
    assert loss.count == rows
    assert torch.allclose(loss.total.double(), reference, rtol=1e-6)
    assert torch.allclose(mine.grad.double(), exact.grad, atol=1e-7)


def test_cross_entropy_of_bfloat16_is_that_of_the_same_numbers_in_float32():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 301, generator=generator).bfloat16().requires_grad_()
    labels = torch.randint(301, (50,), generator=generator)
    exact = logits.detach().float().requires_grad_()
    mine, reference = cross_entropy(logits, labels).total, F.cross_entropy(exact, labels, reduction="sum")
    assert torch.allclose(mine, reference, rtol=1e-6)
    mine.backward()
    reference.backward()
    assert close(logits.grad, exact.grad)


def spoken(generator, rows, dtype=torch.float32):
    """What is said, vectors, bias; labels, costs."""
    said, vectors, bias = torch.randn(rows, 16, generator=generator), torch.randn(301, 16, generator=generator), None
    bias = 3 * torch.randn(301, generator=generator)
    leaves = [x.to(dtype).requires_grad_() for x in (said, vectors, bias)]
    return leaves, torch.randint(301, (rows,), generator=generator), torch.rand(rows, generator=generator)


@pytest.mark.parametrize("rows, surplus", [(1, 0), (32, 0), (77, 3)])
@pytest.mark.parametrize("biased, counted", [(True, False), (False, True), (True, True)])
def test_a_loss_of_tokens_is_that_of_their_logits(rows, surplus, biased, counted, ten_rows_at_once):
    leaves, labels, costs = spoken(torch.Generator().manual_seed(0), rows + surplus)
    labels, costs = labels[:rows], costs[:rows] if counted else None
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    loss = token_cross_entropy(leaves[0], leaves[1], leaves[2] if biased else None, labels, costs)
    logits = F.linear(exact[0], exact[1], exact[2] if biased else None)[:rows]
    each = F.cross_entropy(logits, labels, reduction="none")
    reference = (each if costs is None else each * costs).sum()
    assert loss.count == rows and loss.correct is None
    torch.testing.assert_close(loss.total.double(), reference, rtol=1e-6, atol=0)
    for _ in range(2):  # it may be asked for again
        (loss.total * 0.3).backward(retain_graph=True)
    (reference * 0.6).backward()
    for mine, its in zip(leaves, exact, strict=True):
        assert (mine.grad is None) == (its.grad is None)
        if its.grad is not None:
            torch.testing.assert_close(mine.grad.double(), its.grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_no_gradient_of_it(frozen):
    leaves, labels, _ = spoken(torch.Generator().manual_seed(0), 12)
    leaves[frozen].requires_grad_(False)
    token_cross_entropy(*leaves, labels).total.backward()
    assert [leaf.grad is None for leaf in leaves] == [n == frozen for n in range(3)]


def test_in_bfloat16_it_is_as_near_as_rounding_the_logits_lets_it_be(ten_rows_at_once):
    leaves, labels, _ = spoken(torch.Generator().manual_seed(0), 96, torch.bfloat16)
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    mine, reference = (
        token_cross_entropy(*leaves, labels).total,
        F.cross_entropy(F.linear(*exact), labels, reduction="sum"),
    )
    torch.testing.assert_close(mine, reference, rtol=1e-3, atol=0)
    mine.backward()
    reference.backward()
    assert all(close(leaf.grad, its.grad) for leaf, its in zip(leaves, exact, strict=True))


def test_without_gradients_it_says_what_was_right(ten_rows_at_once):
    leaves, labels, costs = spoken(torch.Generator().manual_seed(0), 112)
    with torch.no_grad():
        logits = F.linear(*leaves)[:97]
        labels[:30] = logits[:30].argmax(-1)
        labels, costs = labels[:97], costs[:97]
        for counts in (None, costs):  # of 112 rows fifteen are nobody's
            loss, whole = token_cross_entropy(*leaves, labels, counts), cross_entropy(logits, labels, costs=counts)
            torch.testing.assert_close(loss.total, whole.total, rtol=1e-6, atol=0)
            assert loss.count == 97 and loss.correct == whole.correct == (logits.argmax(-1) == labels).sum()
    leaves, labels, _ = spoken(torch.Generator().manual_seed(0), 50)
    with pytest.raises(ValueError, match="50 rows of logits for 40 labels"):
        token_cross_entropy(*leaves, labels[:40])


def test_a_gradient_that_was_scaled_is_not_given_out_again():
    logits = torch.randn(4, 9, requires_grad=True)
    total = cross_entropy(logits, torch.arange(4)).total
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        total.backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_what_is_correct_is_what_argmax_says(dtype):
    """Of answers that are equally likely, as many are in bfloat16, the first counts."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 50, generator=generator).to(dtype)
    labels = torch.where(torch.rand(400, generator=generator) < 0.5, logits.argmax(-1), 7)
    logits[:20] = 1.0
    labels[:10] = 0
    expected = (logits.argmax(-1) == labels).sum()
    assert 0 < expected < 400 and cross_entropy(logits, labels).correct == expected
    assert cross_entropy(logits[20:21].fill_(-1), torch.tensor([7])).correct == 0
