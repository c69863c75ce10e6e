"""Attention from one text to another, from the left and by distance; and the model that is made of these."""

import numpy as np
import pytest
import torch
from torch import nn

from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.encoder_decoder import EncoderDecoder
from unmask.models.shape import Shape
from unmask.nn import attention
from unmask.nn.attention import Manner
from unmask.nn.batch import collate
from unmask.nn.blocks import Memory
from unmask.nn.even import missing
from unmask.nn.heads import DecoderLMHead
from unmask.nn.layout import Layout
from unmask.nn.network import Network
from unmask.nn.norm import RMSNorm
from unmask.nn.past import ROOM, Past
from unmask.nn.positions import Distances, bucket
from unmask.text.example import Example, Stream, Targets

ASKS, KEYS = [5, 17, 1, 9, 16, 2], [8, 3, 12, 30, 1, 7]
SMALL = {"vocab_size": 90, "width": 32, "heads": 4, "feed_forward": 48, "max_length": 64, "decoder_layers": 2,
         "segments": 0}  # fmt: skip
BART = Shape(layers=3, **SMALL)
T5 = Shape(
    layers=2, head_width=6, positions="buckets", norm="before", norm_kind="rms", norm_eps=1e-6, embedding_norm=False,
    embedding_scale="output", bias=False, activation="relu", **SMALL,
)  # fmt: skip
MODERN = Shape(
    layers=3, positions="rotary", norm="before", norm_eps=1e-5, bias=False, gated=True, window=6, global_every=2,
    tied=False, **SMALL,
)  # fmt: skip
SHAPES = {"bart": BART, "t5": T5, "modern": MODERN}
each = pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
manners = pytest.mark.parametrize(
    "manner", [Manner(), Manner(causal=True), Manner(6, True), Manner(scale=1.0)], ids=str
)


def heads_of(lengths, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(lengths), 3, 8, generator=generator).to(dtype)


def learned(seed=4, dtype=torch.float32):
    return torch.randn(32, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)


def outcome(route, leaves, layout, manner, keys=None, by_distance=False):
    """What comes out, and the gradients of what went in."""
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    distances = Distances(leaves[3], not manner.causal) if by_distance else None
    out = route(*leaves[:3], layout, manner, keys, distances)
    out.backward(torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype))
    return [out.detach(), *(x.grad for x in leaves if x.grad is not None)]


# --- attention -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_length", [None, 24, 40, 200])
@manners
@pytest.mark.parametrize("by_distance", [False, True])
def test_rows_are_the_definition(row_length, manner, by_distance):
    layout = Layout.of(np.array(ASKS), row_length)
    leaves = [*(heads_of(ASKS, seed) for seed in range(3)), learned()]
    mine, reference = (outcome(route, leaves, layout, manner, None, by_distance)
                       for route in (attention.rows, attention.dense))  # fmt: skip
    assert len(mine) == len(reference) == 4 + by_distance
    for one, other in zip(mine, reference, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("lengths", [(ASKS, KEYS), (KEYS, ASKS), ([4, 4], [6, 6]), ([6, 6], [4, 3]), ([3], [9])])
@pytest.mark.parametrize("row_lengths", [(None, None), (24, 64), (64, 31), (200, 200)])
def test_attention_to_another_batch_is_the_definition(lengths, row_lengths):
    asks, keys = (Layout.of(np.array(x), row) for x, row in zip(lengths, row_lengths, strict=True))
    leaves = [heads_of(lengths[0]), heads_of(lengths[1], 1), heads_of(lengths[1], 2)]
    mine, reference = (outcome(route, leaves, asks, Manner(), keys) for route in (attention.rows, attention.dense))
    for one, other in zip(mine, reference, strict=True):
        assert one.isfinite().all() and torch.allclose(one, other, atol=2e-6)


def test_the_definition_is_attention_to_each_text_alone():
    q, k, v = heads_of(ASKS), heads_of(KEYS, 1), heads_of(KEYS, 2)
    together = attention.dense(q, k, v, Layout.of(np.array(ASKS)), keys=Layout.of(np.array(KEYS)))
    parts = (torch.split(x, lengths) for x, lengths in ((q, ASKS), (k, KEYS), (v, KEYS), (together, ASKS)))
    for one, key, value, out in zip(*parts, strict=True):
        scores = torch.einsum("qhw,khw->hqk", one, key) / 8**0.5
        assert torch.allclose(torch.einsum("hqk,khw->qhw", scores.softmax(-1), value), out, atol=1e-6)


@pytest.mark.parametrize("by_distance", [False, True])
def test_rows_in_bfloat16_are_the_definition_rounded(by_distance):
    layout, dtype = Layout.of(np.array(ASKS), 40), torch.bfloat16
    leaves = [*(heads_of(ASKS, seed, dtype) for seed in range(3)), learned(dtype=dtype)]
    mine = outcome(attention.rows, leaves, layout, Manner(causal=True), None, by_distance)
    reference = outcome(attention.dense, [x.float() for x in leaves], layout, Manner(causal=True), None, by_distance)
    for one, other in zip(mine, reference, strict=True):
        assert one.dtype == dtype and (one.float() - other).norm() < 0.01 * other.norm()


def test_rows_stand_side_by_side():
    pair = Layout.of(np.array(ASKS), 30).beside(Layout.of(np.array(KEYS), 40))
    assert pair.queries.rows == pair.keys.rows
    assert pair.queries.row_length <= 30 and pair.keys.row_length <= 40
    rows = [x.places[x.cu_seqlens[:-1].long()] // x.row_length for x in (pair.queries, pair.keys)]
    assert torch.equal(*rows)
    one = Layout.of(np.array(ASKS), 30)
    assert one.beside(Layout.of(np.array(KEYS), 40)) is one.beside(Layout.of(np.array(KEYS), 40)), "made once"


@pytest.mark.parametrize("manner", [Manner(causal=True), Manner(6, True), Manner(causal=True, scale=1.0)], ids=str)
@pytest.mark.parametrize("by_distance", [False, True])
def test_what_was_kept_is_seen_as_if_read_anew(manner, by_distance):
    """More tokens are written than there is room for at first."""
    whole = [length + ROOM + 3 for length in ASKS]
    q, k, v = (heads_of(whole, seed) for seed in range(3))
    distances = Distances(learned(), both_sides=False) if by_distance else None
    expected = attention.dense(q, k, v, Layout.of(np.array(whole)), manner, None, distances)
    starts = np.cumsum(whole) - whole
    first = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, ASKS, strict=True)])
    past = Past()
    past.keep(k[first], v[first], Layout.of(np.array(ASKS)))
    for step in range(ROOM + 3):
        at = torch.from_numpy(starts + ASKS + step)
        past.add(k[at], v[at])
        found = attention.remembered(q[at], past, manner, distances)
        assert torch.allclose(found, expected[at], atol=2e-6)


def test_several_can_look_at_what_was_kept_of_another_batch():
    q, k, v = heads_of([3] * 6), heads_of(KEYS, 1), heads_of(KEYS, 2)
    asks, keys = Layout.of(np.array([3] * 6)), Layout.of(np.array(KEYS))
    past = Past()
    past.keep(k, v, keys)
    expected = attention.dense(q, k, v, asks, keys=keys)
    assert torch.allclose(attention.remembered(q, past), expected, atol=2e-6)
    past.pick(torch.tensor([5, 0, 0]))
    some = torch.cat([q[15:18], q[0:3], q[0:3]])
    found = attention.remembered(some, past)
    assert torch.allclose(found, torch.cat([expected[15:18], expected[0:3], expected[0:3]]), atol=2e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA's kernel")
@pytest.mark.parametrize("manner", [Manner(causal=True), Manner(6, True), Manner(scale=0.3)], ids=str)
@pytest.mark.parametrize("other", [False, True])
def test_the_kernel_for_different_lengths_agrees(manner, other):
    if other and (manner.causal or manner.window):
        return  # sees all of the other text
    layout, keys = (Layout.of(np.array(x)).to("cuda") for x in (ASKS, KEYS))
    of_keys = KEYS if other else ASKS
    leaves = [x.to("cuda", torch.bfloat16) for x in (heads_of(ASKS), heads_of(of_keys, 1), heads_of(of_keys, 2))]
    mine = outcome(lambda *a: attention.varlen(*a[:5]), leaves, layout, manner, keys if other else None)
    reference = outcome(attention.dense, [x.float() for x in leaves], layout, manner, keys if other else None)
    for one, two in zip(mine, reference, strict=True):
        assert (one.float() - two).norm() < 0.02 * two.norm()


@pytest.mark.parametrize("both_sides", [True, False])
def test_buckets_are_those_of_the_paper(both_sides):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = torch.arange(-600, 601)
    assert torch.equal(bucket(distance, 32, both_sides), t5.T5Attention._relative_position_bucket(distance, both_sides))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_root_mean_square_norm(dtype):
    norm, x = RMSNorm(64, 1e-6), torch.randn(4096, 64)
    nn.init.uniform_(norm.weight, 0.5, 2)
    x, weight = x.to(dtype).requires_grad_(), norm.weight.detach().to(dtype).float().requires_grad_()
    exact = x.detach().float().requires_grad_()
    expected = exact / (exact.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight
    norm.to(dtype)(x).float().square().sum().backward()
    expected.square().sum().backward()
    near = 1e-5 if dtype == torch.float32 else 0.01
    for mine, reference in ((x.grad, exact.grad), (norm.weight.grad, weight.grad)):
        assert mine.dtype == dtype and (mine.float() - reference).norm() <= near * reference.norm()


# --- the model -----------------------------------------------------------------------------------------------------


def example_of(asks=ASKS, keys=KEYS, places=None, seed=1):
    rng = np.random.default_rng(seed)
    source, text = (Stream(rng.integers(0, 90, sum(x)), np.array(x)) for x in (keys, asks))
    text = Stream(text.tokens, text.lengths, places=places, reads="encoder")
    return Example({"encoder": source, "decoder": text})


def network_of(shape):
    torch.manual_seed(0)
    return Network(backbone_of(shape), {"decoder_lm": DecoderLMHead(shape)}).eval()


def changed(example, stream, place):
    tokens = example.streams[stream].tokens.copy()
    tokens[place] = (tokens[place] + 1) % 90
    old = example.streams[stream]
    return example.with_stream(Stream(tokens, old.lengths, reads=old.reads), stream)


@each
def test_a_shape_knows_its_parameters_and_its_flow(shape):
    model = backbone_of(shape)
    assert isinstance(model, EncoderDecoder) and shape.flow == "encoder_decoder"
    assert parameters(shape) == sum(p.numel() for p in model.parameters())


@each
@pytest.mark.parametrize("row_length", [None, 40])
def test_states_do_not_depend_on_company(shape, row_length):
    network, example = network_of(shape), example_of()
    together = network.states(collate(example, row_length), "decoder")
    parts = zip(*(np.split(s.tokens, s.starts[1:]) for s in example.streams.values()), strict=True)
    for (source, text), mine in zip(parts, torch.split(together, ASKS), strict=True):
        alone = Example({"encoder": Stream(source, np.array([len(source)])),
                         "decoder": Stream(text, np.array([len(text)]), reads="encoder")})  # fmt: skip
        assert torch.allclose(network.states(collate(alone), "decoder"), mine, atol=2e-6)


@each
def test_a_text_is_seen_from_the_left_and_a_source_by_its_own_text(shape):
    network, example = network_of(shape), example_of()
    before = network.states(collate(example, 40), "decoder")
    place = 5 + 8  # the ninth token of the second text
    differs = (network.states(collate(changed(example, "decoder", place), 40), "decoder") != before).any(-1)
    assert not differs[:place].any() and differs[place] and not differs[5 + 17 :].any()
    source = 8 + 1  # of the second source
    differs = (network.states(collate(changed(example, "encoder", source), 40), "decoder") != before).any(-1)
    assert differs[5 : 5 + 17].all() and not differs[:5].any() and not differs[5 + 17 :].any()


@each
def test_gradients_do_not_cross_texts(shape):
    network, batch = network_of(shape), collate(example_of(), 40)
    seen = {}
    stacks = {"encoder": network.backbone, "decoder": network.backbone.decoder}
    for name, stack in stacks.items():
        stack.embeddings.register_forward_hook(lambda m, i, out, name=name: seen.__setitem__(name, out))
    states = network.states(batch, "decoder")
    ninth = states[5 + 8].square().sum()
    of_source, of_text = torch.autograd.grad(ninth, [seen["encoder"], seen["decoder"]])
    touched = [set(torch.nonzero(x.abs().sum(-1)).flatten().tolist()) for x in (of_source, of_text)]
    assert touched == [set(range(8, 11)), set(range(5, 5 + 9))]


@each
def test_linear_layers_see_tokens_and_nothing_else(shape):
    network, example = network_of(shape), example_of()
    wanted = Targets(np.array([3, 20]), np.array([1, 2]), "decoder")
    batch, rows = collate(example.with_targets(decoder_lm=wanted), 40), {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda m, i, out, name=name: rows.__setitem__(name, len(i[0])))
    assert network.logits(batch, "decoder_lm").shape == (2, 90)
    for name, found in rows.items():
        of_source = ".decoder." not in name or "key_value" in name
        count = sum(KEYS) if of_source else sum(ASKS)
        assert found == count + missing(count), name  # a few more, so that the number comes again


def test_decoder_states_are_computed_once():
    network, batch = network_of(BART), collate(example_of())
    calls = []
    for name, stack in (("encoder", network.backbone), ("decoder", network.backbone.decoder)):
        stack.blocks[0].register_forward_hook(lambda *_, name=name: calls.append(name))
    first, again = network.states(batch, "decoder"), network.states(batch, "decoder")
    assert first is again and calls == ["encoder", "decoder"]
    memory = Memory(batch.states["encoder"], batch.streams["encoder"].layout)
    assert torch.equal(first, network.backbone.decoder_layers(batch.streams["decoder"], memory)[-1])


def test_a_text_may_stand_elsewhere():
    """A fragment that stands at 7 … reads as if 7 places had been before it."""
    network = network_of(BART)
    example = example_of([4], [9], places=np.arange(7, 11))
    positions = network.backbone.decoder.embeddings.positions.weight
    moved = network.states(collate(example), "decoder")
    with torch.no_grad():
        positions[:4] = positions[7:11].clone()
    assert torch.equal(network.states(collate(example_of([4], [9])), "decoder"), moved)
    assert collate(example).streams["decoder"].positions.tolist() == [7, 8, 9, 10]


def test_heads_that_are_not_tied_have_a_matrix_of_their_own():
    for shape in (BART, MODERN):
        network = network_of(shape)
        same = network.heads["decoder_lm"].vocabulary is network.backbone.embeddings.tokens.weight
        assert same == shape.tied


@each
def test_every_weight_learns(shape):
    network, example = network_of(shape).train(), example_of()
    targets = Targets(np.arange(sum(ASKS)), np.arange(sum(ASKS)), "decoder")
    network.answer(collate(example.with_targets(decoder_lm=targets)), ["decoder_lm"])["decoder_lm"].total.backward()
    silent = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert silent == set()


@pytest.mark.parametrize(("settings", "why"), [
    ({"width": 30, "heads": 4}, "heads must divide the width"),
    ({"positions": "rotary", "head_width": 5}, "even width per head"),
])  # fmt: skip
def test_shapes_that_cannot_be_are_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        Shape(**settings)
    assert Shape(width=30, heads=4, head_width=8).width_per_head == 8
