"""Attention in which distances ask and are asked: rows against the definition, buckets against transformers'."""

import numpy as np
import pytest
import torch

from unmask.nn import attention
from unmask.nn.attention import Manner
from unmask.nn.disentangled import Disentangled, DistanceStates, log_bucket, reach_of
from unmask.nn.layout import Layout
from unmask.nn.past import Past

LENGTHS = np.array([7, 20, 3, 12, 30, 1, 25])
HEADS, WIDTH, SPAN, LONGEST = 3, 8, 8, 30  # half a span of 4: most distances share their bucket with others
SCALE = (3 * WIDTH) ** -0.5


def leaves_of(dtype=torch.float32, lengths=LENGTHS):
    """Queries, keys and values of tokens, queries and keys of distances."""
    generator = torch.Generator().manual_seed(0)
    tokens, reach = int(lengths.sum()), reach_of(int(lengths.max()), SPAN, LONGEST)
    sizes = [tokens] * 3 + [2 * reach] * 2
    return [torch.randn(n, HEADS, WIDTH, generator=generator).to(dtype).requires_grad_() for n in sizes]


def run(function, leaves, layout, manner=None):
    q, k, v, queries, keys = leaves
    for leaf in leaves:
        leaf.grad = None
    states = DistanceStates(queries.flatten(1), SPAN, LONGEST, torch.nn.Identity())
    added = Disentangled(states, queries * SCALE, keys)
    out = function(q, k, v, layout, manner or Manner(scale=SCALE), distances=added)
    out.backward(torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def in_words(q, k, v, layout, manner, distances):
    """What is written in the head of `nn.disentangled`, pair by pair."""
    queries, keys = distances.queries_BHW, distances.keys_BHW
    reach, outs = len(keys) // 2, []
    for i in range(len(q)):
        n = int(layout.sequence()[i])
        begin, end = layout.cu_seqlens[n : n + 2].tolist()
        scores = []
        for j in range(begin, end):
            b = reach + int(log_bucket(torch.tensor(i - j), SPAN, LONGEST))
            scores.append(((q[i] * k[j]).sum(-1) + (q[i] * keys[b]).sum(-1)) * SCALE + (queries[b] * k[j]).sum(-1))
        outs.append(torch.einsum("kh,khw->hw", torch.stack(scores).softmax(0), v[begin:end]))
    return torch.stack(outs)


def agree(mine, reference):
    for one, other in zip(mine, reference, strict=True):
        assert other.abs().max() > 1e-3  # else agreement would say nothing
        assert (one - other).abs().max() <= 1e-5 * max(1.0, other.abs().max().item())


@pytest.mark.parametrize("function", [attention.rows, attention.dense, attention.attend])
@pytest.mark.parametrize("row_length", [None, 32, 50])
def test_routes_do_what_is_written(function, row_length):
    layout = Layout.of(LENGTHS, row_length)
    agree(run(function, leaves_of(), layout), run(in_words, leaves_of(), layout))


@pytest.mark.parametrize("manner", [Manner(window=8, scale=SCALE), Manner(causal=True, scale=SCALE)])
def test_rows_agree_with_the_definition_where_less_is_seen(manner):
    order = np.random.default_rng(0).integers(0, 5, LENGTHS.sum())
    for layout in (Layout.of(LENGTHS, 50), Layout.of(LENGTHS, 32, order)):
        agree(run(attention.rows, leaves_of(), layout, manner), run(attention.dense, leaves_of(), layout, manner))


def test_rows_in_bfloat16_are_the_definition_rounded():
    layout, leaves = Layout.of(LENGTHS, 50), leaves_of(torch.bfloat16)
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    for one, other in zip(run(attention.rows, leaves, layout), run(attention.dense, exact, layout), strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.float() - other).norm() < 0.02 * other.norm()


def test_a_changed_text_leaves_the_others_bit_equal():
    layout, leaves = Layout.of(LENGTHS, 50), leaves_of()
    before, mine = run(attention.rows, leaves, layout)[0], layout.sequence() == 3
    with torch.no_grad():
        for leaf in leaves[:3]:
            leaf[mine] = 3 * leaf[mine] + 1
    after = run(attention.rows, leaves, layout)[0]
    assert torch.equal(before[~mine], after[~mine]) and not torch.equal(before[mine], after[mine])


def test_what_is_remembered_is_asked_at_its_distance():
    """The last token of each text, which sees what was kept of it, has the result of a pass from the left."""
    lengths = np.array([7, 20, 30, 1])
    layout, (q, k, v, queries, keys) = Layout.of(lengths), leaves_of(lengths=lengths)
    states = DistanceStates(queries.flatten(1), SPAN, LONGEST, torch.nn.Identity())
    added, manner = Disentangled(states, queries * SCALE, keys), Manner(causal=True, scale=SCALE)
    last = layout.cu_seqlens[1:].long() - 1
    past = Past()
    past.keep(k, v, layout)
    found = attention.remembered(q[last], past, manner, added)
    assert torch.allclose(found, attention.rows(q, k, v, layout, manner, distances=added)[last], atol=1e-5)


@pytest.mark.parametrize("span, longest", [(256, 512), (256, 700), (256, 4096), (256, 130), (8, 30), (32, 128)])
def test_buckets_are_those_of_transformers(span, longest):
    pytest.importorskip("transformers")
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    distance = torch.arange(1 - longest, longest)
    mine = log_bucket(distance, span, longest)
    assert torch.equal(mine, make_log_bucket_position(distance, span, longest).long())
    assert torch.equal(mine, -mine.flip(0)) and (mine.diff() >= 0).all() and mine.max() == span - 1
    assert [reach_of(n, span, longest) for n in (1, 3, longest, 9 * longest)] == [1, 3, span, span]


def test_short_texts_have_a_bucket_for_each_distance():
    distance = torch.arange(-99, 100)
    for longest in (100, 128, 129):
        assert torch.equal(log_bucket(distance, 256, longest), distance)


def test_only_distances_that_occur_are_computed(monkeypatch):
    """And of each once, however many pairs of tokens and texts stand so far apart."""
    from unmask.models.encoder import Encoder
    from unmask.nn import disentangled
    from unmask.nn.batch import collate
    from unmask.presets import PRESETS
    from unmask.text.example import Example, Stream

    model, sizes = Encoder(PRESETS["deberta-v3-tiny"].model_copy(update={"vocab_size": 99})), []
    products = disentangled._products
    monkeypatch.setattr(disentangled, "_products", lambda x, d: sizes.append(len(d)) or products(x, d))
    for lengths, wanted in (([40, 60, 100], 200), ([300, 20], 2 * reach_of(300, 256, 512)), ([512], 512)):
        stream = Stream(np.zeros(sum(lengths), int), np.array(lengths))
        model(collate(Example({"encoder": stream})).streams["encoder"])
        assert set(sizes) == {wanted} and len(sizes) == 4  # two products in each of two layers
        sizes.clear()
