"""Attention in chunks and its buckets, against what the definition says. Agreement with transformers:
test_reformer_parity."""

import math

import numpy as np
import pytest
import torch

from unmask.nn import dropout, lsh
from unmask.nn.chunked import FAR, SELF, Chunks, attend_chunks, filled
from unmask.nn.layout import Layout

LENGTHS = [5, 30, 1, 9, 16, 4]
T, H, W, C = sum(LENGTHS), 2, 6, 4


def layout_of(lengths=LENGTHS):
    return Layout.of(np.array(lengths))


def chunks_of(size=C, sizes=(C,), lengths=LENGTHS):
    return Chunks.of(lengths, filled(lengths, sizes), size, torch.device("cpu"))


def order_of(rounds, seed=1):
    """Any order of each sequence's tokens."""
    lot = np.random.default_rng(seed).random((rounds, H, T))
    owner = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    return torch.from_numpy(np.lexsort((lot, np.broadcast_to(owner, lot.shape)), axis=-1))


def tensors(seed=0):
    torch.manual_seed(seed)
    return [torch.randn(T, H, W, requires_grad=True) for _ in range(3)]


def dense(q, k, v, order, sizes, size, causal, shared, visible=None):
    """All rounds, heads and tokens one by one: how often each key stands in the two chunks, and what that makes."""
    rounds, starts, full = len(order), np.cumsum(LENGTHS) - LENGTHS, filled(LENGTHS, sizes)
    out = [[None] * H for _ in range(T)]
    for n, (start, length) in enumerate(zip(starts.tolist(), LENGTHS, strict=True)):
        count = math.ceil(full[n] / size)
        for h in range(H):
            own = order[:, h, start : start + length].tolist()
            chunks = [[own[r][c * size : (c + 1) * size] for c in range(count)] for r in range(rounds)]
            for i in range(start, start + length):
                said, sums = [], []
                for r in range(rounds if count > 1 else 1):
                    c = own[r].index(i) // size
                    before = chunks[r][c - 1] if c else chunks[r - 1][-1]
                    seen = (before if count > 1 else []) + chunks[r][c]
                    scores = torch.stack([(q[i, h] * k[j, h]).sum() / W**0.5 for j in seen])
                    hidden = [(causal and j > i) or (visible is not None and visible[j] > visible[i]) for j in seen]
                    scores = scores.masked_fill(torch.tensor(hidden), FAR)
                    scores = scores.masked_fill(torch.tensor([shared and j == i for j in seen]), SELF)
                    sums.append(scores.logsumexp(0))
                    said.append((scores - sums[-1]).exp() @ v[seen, h])
                shares = (torch.stack(sums) - torch.stack(sums).logsumexp(0)).exp()
                out[i][h] = shares @ torch.stack(said) if len(said) > 1 else said[0]
    return torch.stack([torch.stack(row) for row in out])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("sizes", [(4,), (4, 6)])
@pytest.mark.parametrize("told", [False, True])
def test_it_is_what_the_definition_says(causal, shared, rounds, sizes, told):
    q, k, v = tensors()
    order = order_of(rounds)
    visible = torch.from_numpy(np.random.default_rng(2).integers(0, 3, T)) if told else None
    ours = attend_chunks(q, k, v, order, chunks_of(4, sizes), causal, shared, visible=visible)
    theirs = dense(q, k, v, order, sizes, 4, causal, shared, visible)
    assert (ours - theirs).abs().max() <= 1e-5
    weight = torch.randn(ours.shape)
    mine, reference = (torch.autograd.grad((x * weight).sum(), (q, k, v)) for x in (ours, theirs))
    for one, other in zip(mine, reference, strict=True):
        assert (one - other).abs().max() <= 1e-5 * max(1.0, other.abs().max().item())


def test_of_a_sequence_of_one_chunk_all_is_seen():
    q, k, v = tensors()
    mixed = attend_chunks(q, k, v, order_of(2), chunks_of(), causal=False, shared=False)
    alone = slice(T - 4, T)
    scores = torch.einsum("qhw,khw->hqk", q[alone], k[alone]) * W**-0.5
    assert torch.allclose(mixed[alone], torch.einsum("hqk,khw->qhw", scores.softmax(-1), v[alone]), atol=1e-6)


def test_a_token_that_sees_no_other_sees_itself():
    q, k, v = tensors()
    mixed = attend_chunks(q, k, v, order_of(1), chunks_of(), causal=True, shared=True)
    first = [0, 5, 35, 36, 45, 61]
    assert torch.allclose(mixed[first], v[first], atol=1e-3)  # shares of rounds are rounded where scores are SELF


def test_whole_chunks_of_all_sizes_are_filled():
    assert filled([1, 4, 5, 12, 13], [4]).tolist() == [1, 4, 8, 12, 16]
    assert filled([1, 4, 5, 12, 13], [4, 6]).tolist() == [1, 4, 12, 12, 24]


# buckets


def near(angle, count=400, width=16):
    """Pairs of vectors at an angle."""
    torch.manual_seed(0)
    one, other = torch.randn(2, count, width)
    one = one / one.norm(dim=1, keepdim=True)
    other = other - (other * one).sum(1, keepdim=True) * one
    return one, math.cos(angle) * one + math.sin(angle) * other / other.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("buckets", [(16,), (4, 8)])
def test_what_points_the_same_way_comes_into_one_bucket(buckets):
    axes = lsh.rotations(1, 16, 8, sum(buckets) // 2, None, 3)
    shares = []
    for angle in (0.0, 0.2, 0.6, 1.2, math.pi / 2):
        one, other = (
            lsh.hashed(x[:, None] * scale, axes, buckets) for x, scale in zip(near(angle), (1, 9), strict=True)
        )
        shares.append((one == other).float().mean().item())
        assert one.min() >= 0 and one.max() < math.prod(buckets)
    assert shares[0] > 0.999 and shares == sorted(shares, reverse=True)  # length is nothing, but for rounding
    assert shares[-1] == pytest.approx(1 / math.prod(buckets), abs=0.03)


def test_opposites_never_share_one():
    axes = lsh.rotations(1, 16, 8, 8, None, 3)
    one, _ = near(1.0)
    assert not (lsh.hashed(one[:, None], axes, (16,)) == lsh.hashed(-one[:, None], axes, (16,))).any()


def test_more_rounds_find_more_of_what_is_near():
    """Of each token its nearest: how often it stands in one of the chunks that are seen (§2, fig. 2)."""
    torch.manual_seed(0)
    x = torch.randn(512, 1, 16)
    scores = (x[:, 0] @ (x[:, 0] / x[:, 0].norm(dim=1, keepdim=True)).T).fill_diagonal_(-math.inf)
    chunks, found = chunks_of(16, (16,), [512]), []
    for rounds in (1, 2, 4, 8):
        order = lsh.sorted_by_bucket(x, layout_of([512]), [(64,)], rounds, None, 0)
        asking, seen = chunks.laid(order.long())
        there = torch.zeros(512, 512, dtype=torch.bool)
        there[asking[..., None], seen[..., None, :]] = True
        found.append(there[torch.arange(512), scores.argmax(1)].float().mean().item())
    assert found == sorted(found) and found[-1] > 2 * found[0] > 4 * 32 / 512


def test_buckets_follow_the_length():
    """About two for each chunk, a power of 2; two hashes find them where they are too many."""
    assert [lsh.usual(n, 64, 4096) for n in (128, 192, 256, 1024, 4096)] == [(4,), (4,), (8,), (32,), (128,)]
    assert lsh.usual(65536, 64, 65536) == (32, 64)


def test_sequences_are_sorted_each_by_itself():
    """And alike, whatever stands beside them."""
    torch.manual_seed(0)
    x, kinds = torch.randn(T, H, W), [(8,), (4,), (), (2, 4), (4,), ()]
    order = lsh.sorted_by_bucket(x, layout_of(), kinds, 3, None, 0)
    for n, (start, length) in enumerate(zip(np.cumsum(LENGTHS) - LENGTHS, LENGTHS, strict=True)):
        own = slice(start, start + length)
        alone = lsh.sorted_by_bucket(x[own], layout_of([length]), kinds[n : n + 1], 3, None, 0)
        assert torch.equal(order[:, :, own], alone + int(start))


def test_rotations_hang_on_step_and_layer_in_training_alone():
    sizes = (2, 4, 3, 5)

    def drawn(step, part, layer, seed=7):
        dropout.seed(seed, step, part)
        return lsh.rotations(*sizes, layer, 0)

    assert torch.equal(drawn(3, 0, 1), drawn(3, 1, 1))  # so that a step is the same in however many parts
    others = [drawn(4, 0, 1), drawn(3, 0, 2), drawn(3, 0, 1, seed=8), lsh.rotations(*sizes, None, 0)]
    assert not any(torch.equal(drawn(3, 0, 1), other) for other in others)
    assert torch.equal(drawn(1, 0, None), drawn(2, 0, None))
    assert not torch.equal(lsh.rotations(*sizes, None, 0), lsh.rotations(*sizes, None, 1))
    many = torch.stack([drawn(step, 0, 0) for step in range(200)])
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02
