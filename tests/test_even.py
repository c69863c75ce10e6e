"""Numbers of tokens and answers are rounded up, and nothing that comes out knows of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from test_asked import made
from test_every_course import OBJECTIVES
from test_every_preset import smaller
from unmask.inference.building import network_of
from unmask.nn import dropout
from unmask.nn.batch import Batch, Sequences, collate
from unmask.nn.even import EVEN, evened, missing
from unmask.nn.layout import Layout
from unmask.nn.losses import cross_entropy
from unmask.nn.network import Network
from unmask.presets import PRESETS
from unmask.text.example import Example, Stream, Targets

FAMILIES = ["bert-tiny", "modernbert-tiny", "deberta-v3-tiny", "longformer-tiny", "mobilebert-tiny", "gpt2-tiny"]
FAMILIES += ["xlnet-tiny", "transformer-xl-tiny", "reformer-tiny"]


DROPOUTS = ("dropout", "attention_dropout", "activation_dropout")
SHAPES = {
    name: smaller(PRESETS[name]).model_copy(update=dict.fromkeys(DROPOUTS, 0.0)) for name in ("bart-tiny", "t5-tiny")
}


def batch_of(lengths: list[int], row_length: int | None = 64, answers: int = 11, seed: int = 0) -> Batch:
    rng, count = np.random.default_rng(seed), sum(lengths)
    index = np.sort(rng.choice(count, min(answers, count), replace=False))
    stream = Stream(rng.integers(0, 100, count), np.array(lengths), segments=rng.integers(0, 2, count))
    return collate(Example({"encoder": stream}, {"masked_lm": Targets(index, index % 100)}), row_length)


def gradients(network: Network, batch: Batch) -> dict[str, Tensor]:
    dropout.seed(0, 0, 0)  # Reformer's buckets are drawn
    loss = network.answer(batch, ["masked_lm"])["masked_lm"]
    loss.total.backward()
    found = {name: torch.zeros(()) if p.grad is None else p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    return {"loss": loss.total.detach(), **found}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "lengths, row_length", [([40, 20, 30, 7], 64), ([60, 44], 200), ([64, 63], 64), ([5], None), ([33, 31, 12], 33)]
)
def test_losses_states_and_gradients_are_those_of_the_tokens_alone(name, lengths, row_length, monkeypatch):
    network, count = made(name), sum(lengths)
    mine = gradients(network, batch_of(lengths, row_length))
    dropout.seed(0, 0, 0)
    states = network.states(batch_of(lengths, row_length))
    assert states.shape == (count, network.backbone.shape.width)
    monkeypatch.setattr(Sequences, "evened", lambda self: self)
    for where in ("nn.network", "nn.heads", "models.relative", "models.longformer"):
        monkeypatch.setattr(f"unmask.{where}.evened", lambda x, rows=None: x)
    for where in ("nn.sight", "nn.chunked"):
        monkeypatch.setattr(f"unmask.{where}.missing", lambda count: 0)
    plain = batch_of(lengths, row_length)
    plain.asked.clear()
    dropout.seed(0, 0, 0)
    torch.testing.assert_close(states, network.states(plain), rtol=0, atol=1e-5)
    plain.forget()
    for part, reference in gradients(network, plain).items():
        limit = 1e-5 * max(reference.abs().max().item(), 1e-2)
        torch.testing.assert_close(mine[part], reference, rtol=0, atol=limit, msg=part)


@pytest.mark.parametrize("name", ["bart-tiny", "t5-tiny"])
def test_so_are_those_of_a_decoder(name, monkeypatch):
    network = network_of(SHAPES[name], [OBJECTIVES["denoising"]()]).train()
    read, written = np.array([40, 20, 30]), np.array([9, 30, 8])
    streams = {
        "encoder": Stream(np.arange(90) % 100, read),
        "decoder": Stream(np.arange(47) % 100, written, reads="encoder"),
    }
    targets = {"decoder_lm": Targets(np.arange(47), np.arange(47) % 100, "decoder")}
    seen = set()
    for part in network.modules():
        if isinstance(part, nn.Linear):
            part.register_forward_hook(lambda _, given, __: seen.add(len(given[0])))

    def found() -> dict[str, Tensor]:
        loss = network.answer(collate(Example(streams, targets), 64), ["decoder_lm"])["decoder_lm"]
        loss.total.backward()
        gradients = {part: p.grad.clone() for part, p in network.named_parameters() if p.grad is not None}
        network.zero_grad()
        return {"loss": loss.total.detach(), **gradients}

    mine = found()
    assert seen == {96, 48}
    for where in ("unmask.nn.network.evened", "unmask.models.encoder_decoder.evened"):
        monkeypatch.setattr(where, lambda x: x)
    monkeypatch.setattr(Sequences, "evened", lambda self: self)
    for part, reference in found().items():
        limit = 1e-5 * max(reference.abs().max().item(), 1e-2)
        torch.testing.assert_close(mine[part], reference, rtol=0, atol=limit, msg=part)
    assert seen == {96, 48, 90, 47}


@pytest.mark.parametrize("name", ["bert-tiny", "longformer-tiny", "reformer-tiny", "xlnet-tiny", "transformer-xl-tiny"])
def test_products_have_few_shapes_whatever_the_batch(name):
    """Of two hundred batches that all differ: their tokens, by themselves, have as many numbers as there can be."""
    network, rng, seen, counts = made(name).eval(), np.random.default_rng(0), set(), set()
    for part, module in network.named_modules():
        if isinstance(module, nn.Linear) and not part.endswith((".distance", ".global_query")):
            module.register_forward_hook(lambda _, given, __: seen.add(len(given[0])))
    for number in range(200):
        lengths = [int(rng.integers(40, 65)) for _ in range(8)]
        counts.add(sum(lengths))
        network.answer(batch_of(lengths, answers=int(rng.integers(40, 80)), seed=number), ["masked_lm"])
    assert len(counts) > 50
    assert len(seen) <= 11 and not any(map(missing, seen))


def test_a_layout_grows_into_its_empty_places():
    layout = Layout.of(np.array([40, 20, 30, 7]), 64)
    even = layout.evened()
    assert even is not None and even.lengths == (40, 20, 30, 7, 15) and even.rows == layout.rows
    assert even.places[:97].equal(layout.places) and set(even.places[97:].tolist()) <= set(layout.empty.tolist())
    assert even.sequence()[97:].tolist() == 15 * [4] and even.cu_seqlens.tolist()[-2:] == [97, 112]
    mask = even.barrier(None, torch.float32)
    assert torch.equal(mask == 0, (owner := even.to_rows(even.sequence() + 1))[:, :, None] == owner[:, None, :])


@pytest.mark.parametrize("lengths, row_length", [([64, 64], 64), ([5], 5), ([33, 33], 33)])
def test_it_stays_where_it_is_even_or_full(lengths, row_length):
    assert Layout.of(np.array(lengths), row_length).evened() is None


def test_rows_that_are_nobodys_cost_nothing():
    rng = torch.Generator().manual_seed(0)
    labels, costs = torch.randint(0, 9, (42,), generator=rng), torch.rand(42, generator=rng)
    for each in (None, costs):
        given = torch.randn(42 + missing(42), 9, generator=rng, requires_grad=True)
        few = given.detach()[:42].clone().requires_grad_()
        mine, reference = cross_entropy(given, labels, costs=each), cross_entropy(few, labels, costs=each)
        assert mine.count == 42 < len(given) and torch.equal(mine.total, reference.total)
        mine.total.backward()
        reference.total.backward()
        assert torch.equal(given.grad[:42], few.grad) and not given.grad[42:].any()
        with torch.no_grad():
            assert torch.equal(*(cross_entropy(x, labels, costs=each).correct for x in (given, few)))


@pytest.mark.parametrize("rows", [39, 41, 64])
def test_another_number_of_rows_is_refused(rows):
    with pytest.raises(ValueError, match=f"{rows} rows of logits for 40 labels"):
        cross_entropy(torch.randn(rows, 9), torch.zeros(40, dtype=torch.int64))


def test_an_even_number_stays():
    x = torch.randn(5 * EVEN, 3)
    assert evened(x) is x and evened(x[:-1]).shape == x.shape and not evened(x[:-5])[-5:].any()


def test_few_rows_get_few_more_and_a_handful_none():
    more = {count: missing(count) for count in range(5000)}
    assert not any(more[count] for count in range(8)) and all(4 * n <= count for count, n in more.items())
    assert not any(missing(count + n) for count, n in more.items())
    assert len({count + n for count, n in more.items() if count <= 256}) <= 32
