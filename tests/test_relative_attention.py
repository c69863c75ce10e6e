"""Attention by distances: rows against the definition, forward and backward, and who sees whom."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unmask.nn import attention, dropout
from unmask.nn.attention import Relative
from unmask.nn.batch import collate
from unmask.nn.sight import Sight
from unmask.text.example import Example, Stream

LENGTHS = np.array([7, 20, 3, 12, 30, 1, 25])
BEFORE, AFTER = np.array([0, 9, 4, 0, 11, 0, 0]), np.array([0, 0, 0, 5, 0, 3, 0])
ASKED = np.array([2, 5, 0, 4, 0, 1, 6])
SHAPE = (3, 8)


def streams(orders=True, segments=True):
    """A content stream, one that asks at some of its places, and a memory before or after some sequences."""
    rng = np.random.default_rng(0)
    total = LENGTHS.sum()
    owner = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    order = rng.integers(0, 6, total) if orders else None
    split = rng.integers(0, 2, total) if segments else None
    content = Stream(np.zeros(total, int), LENGTHS, split, order=order)
    index = np.concatenate([np.sort(rng.choice(np.flatnonzero(owner == n), k, False)) for n, k in enumerate(ASKED)])
    asking = Stream(
        np.zeros(len(index), int), ASKED, None if split is None else split[index],
        order=None if order is None else order[index], places=content.position[index],
    )  # fmt: skip
    places = [
        np.concatenate([np.arange(-b, 0), np.arange(a) + n]) for b, a, n in zip(BEFORE, AFTER, LENGTHS, strict=True)
    ]
    memory = Stream(np.zeros((BEFORE + AFTER).sum(), int), BEFORE + AFTER, places=np.concatenate(places))
    return Example({"content": content, "asking": asking, "memory": memory})


def sight_of(who, remembered, row_length=None, **parts):
    found = collate(streams(**parts), row_length).streams
    return Sight.of(found[who], found["content"], found["memory"] if remembered else None)


def leaves_of(sight, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    keys, far = len(sight.keys.sequence), 2 * sight.key_rows.row_length
    sizes = [(sight.count, *SHAPE), (keys, *SHAPE), (keys, *SHAPE), SHAPE, SHAPE, SHAPE, (far, *SHAPE), (2, *SHAPE)]
    return [torch.randn(size, generator=generator).to(dtype).requires_grad_() for size in sizes]


def run(function, leaves, sight, *rest):
    for leaf in leaves:
        leaf.grad = None
    out = function(*leaves[:3], Relative(*leaves[3:]), sight, *rest)
    out.backward(torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype))
    return [out.detach(), *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves)]


CASES = [(who, remembered) for who in ("content", "asking") for remembered in (False, True)]


@pytest.mark.parametrize("parts", [{}, {"orders": False}, {"segments": False}], ids=["all", "no order", "no segments"])
@pytest.mark.parametrize("row_length", [None, 32, 50])
@pytest.mark.parametrize("who, remembered", CASES)
def test_rows_agree_with_the_definition(who, remembered, row_length, parts):
    sight = sight_of(who, remembered, row_length, **parts)
    assert sight.straight == (who == "content" and not remembered)
    leaves = leaves_of(sight)
    mine, reference = run(attention.attend_relative, leaves, sight), run(attention.relative_dense, leaves, sight)
    for one, other in zip(mine, reference, strict=True):
        assert (one - other).abs().max() <= 1e-5 * max(1.0, other.abs().max().item())
    learning = [bool(grad.abs().sum() > 0) for grad in mine[1:]]  # of q, k, v, three biases, distances, segments
    assert learning == [True] * 5 + ["segments" not in parts, True, "segments" not in parts]


@pytest.mark.parametrize("who, remembered", CASES)
def test_rows_in_bfloat16_are_the_definition_rounded(who, remembered):
    sight = sight_of(who, remembered, 50)
    leaves = leaves_of(sight, torch.bfloat16)
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    mine, reference = run(attention.attend_relative, leaves, sight), run(attention.relative_dense, exact, sight)
    for one, other in zip(mine, reference, strict=True):
        assert one.dtype == torch.bfloat16
        # scores are sums of three products of some 8 numbers, each rounded to 8 bits
        assert (one.float() - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("who, remembered", CASES)
def test_it_sees_what_it_should_and_nothing_else(who, remembered):
    """Values that are not seen may be anything; those that are seen are seen at their own distance."""
    sight = sight_of(who, remembered, 50)
    asking, keys = sight.asking, sight.keys
    q, k, v, *rest = leaves_of(sight)
    for n in range(0, sight.count, 3):
        (gradient,) = torch.autograd.grad(
            attention.attend_relative(q, k, v, Relative(*rest), sight)[n].sum(), v, retain_graph=True
        )
        allowed = (keys.sequence == asking.sequence[n]) & (keys.order <= asking.order[n])
        assert torch.equal(gradient.abs().sum((1, 2)) > 0, allowed)


def test_distances_are_those_of_places():
    """With nothing but distances in the scores, and one that stands out, each looks where that distance leads."""
    sight = sight_of("content", True, 50, orders=False, segments=False)
    asking, keys = sight.asking, sight.keys
    q, k, v, *_ = (torch.zeros_like(leaf) for leaf in leaves_of(sight))
    v[:, 0, 0] = keys.position + 1000.0 * keys.sequence
    far = torch.zeros(2 * sight.key_rows.row_length, *SHAPE)
    for distance in (-3, 0, 2, 10):
        far[:] = 0
        far[sight.key_rows.row_length - distance] = 1000
        relative = Relative(q[0], torch.ones(SHAPE), q[0], far, far[:2])
        looked = attention.attend_relative(q, k, v, relative, sight)[:, 0, 0]
        wanted = asking.position - distance + 1000 * asking.sequence
        there = torch.isin(wanted, keys.position + 1000 * keys.sequence)
        assert there.sum() > 30 and torch.allclose(looked[there], wanted[there].float())


def test_a_text_may_begin_anywhere():
    """Distances are differences: the same sequences at other places see the same."""
    found = collate(streams()).streams
    moved = replace(
        found["content"], positions=found["content"].positions - 40 + 3 * found["content"].layout.sequence()
    )
    here, there = Sight.of(found["content"], found["content"]), Sight.of(moved, moved)
    q, k, v, *rest = (leaf.detach() for leaf in leaves_of(here))
    relative = Relative(*rest)
    assert torch.equal(
        attention.attend_relative(q, k, v, relative, here), attention.attend_relative(q, k, v, relative, there)
    )


def test_a_changed_text_leaves_the_others_bit_equal():
    for who, remembered in CASES:
        sight = sight_of(who, remembered, 50)
        q, k, v, *rest = (leaf.detach() for leaf in leaves_of(sight))
        before = attention.attend_relative(q, k, v, Relative(*rest), sight)
        mine, theirs = sight.asking.sequence == 3, sight.keys.sequence == 3
        q[mine], k[theirs], v[theirs] = -q[mine], 3 * k[theirs] + 1, -v[theirs]
        after = attention.attend_relative(q, k, v, Relative(*rest), sight)
        assert torch.equal(before[~mine], after[~mine]) and not torch.equal(before[mine], after[mine])


def test_nobody_may_ask():
    sight = sight_of("asking", False)
    nobody = collate(Example({"none": Stream(np.zeros(0, int), 0 * LENGTHS, places=np.zeros(0, int))})).streams["none"]
    content = collate(streams()).streams["content"]
    empty = Sight.of(replace(nobody, segments=nobody.tokens), content)
    q, k, v, *rest = leaves_of(sight)
    assert attention.attend_relative(q[:0], k, v, Relative(*rest), empty).shape == (0, *SHAPE)


def test_dropped_probabilities_keep_their_mean():
    sight = sight_of("content", True, 50)
    q, k, _, *rest = (leaf.detach() for leaf in leaves_of(sight))
    dropout.seed(0, 0, 0)
    ones = torch.ones_like(k)
    mean = torch.stack([attention.attend_relative(q, k, ones, Relative(*rest), sight, 0.3) for _ in range(100)]).mean()
    assert abs(mean.item() - 1) < 0.02
