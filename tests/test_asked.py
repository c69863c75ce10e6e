"""What nobody asks about a last layer does not compute; what somebody asks about is as if it had computed all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from test_every_preset import smaller
from unmask.inference.building import network_of
from unmask.nn import dropout
from unmask.nn.asked import Asked
from unmask.nn.batch import Batch, collate
from unmask.nn.even import missing
from unmask.nn.layout import Layout
from unmask.nn.network import Network
from unmask.objectives.masked_lm import MaskedLM
from unmask.presets import PRESETS
from unmask.text.example import Example, Stream, Targets

LENGTHS = np.array([9, 1, 20, 32, 14, 3, 30])
ASKED = np.array([0, 2, 8, 29, 61, 70, 71, 72, 90])
"""Of all texts but the second and the sixth; of the fourth the last of its 32 tokens alone."""

NARROW = ["bert-tiny", "modernbert-tiny", "deberta-v3-tiny", "longformer-tiny", "mobilebert-tiny", "albert-tiny"]
WHOLE = ["xlnet-tiny", "reformer-tiny"]


def made(name: str, **more: object) -> Network:
    torch.manual_seed(0)
    shape = smaller(PRESETS[name]).model_copy(update={"dropout": 0.0, "attention_dropout": 0.0, **more})
    return network_of(shape, [MaskedLM()]).train()


def batch_of(index: np.ndarray = ASKED, order: np.ndarray | None = None, row_length: int | None = 48) -> Batch:
    rng = np.random.default_rng(0)
    stream = Stream(rng.integers(0, 100, LENGTHS.sum()), LENGTHS, order=order)
    return collate(Example({"encoder": stream}, {"masked_lm": Targets(index, index % 100)}), row_length)


def all_of(batch: Batch) -> Batch:
    """The same, from which nothing is left out."""
    batch.asked.clear()
    return batch


def loss_and_gradients(network: Network, batch: Batch) -> dict[str, Tensor]:
    dropout.seed(0, 0, 0)  # Reformer's buckets are drawn
    loss = network.answer(batch, ["masked_lm"])["masked_lm"].total
    loss.backward()
    found = {name: torch.zeros(()) if p.grad is None else p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    return {"loss": loss.detach(), **found}


@pytest.mark.parametrize("name", [*NARROW, *WHOLE])
@pytest.mark.parametrize("row_length", [None, 48, 200])
def test_losses_and_gradients_are_those_of_all_states(name, row_length):
    network = made(name)
    few = loss_and_gradients(network, batch_of(row_length=row_length))
    whole = loss_and_gradients(network, all_of(batch_of(row_length=row_length)))
    for part, reference in whole.items():
        assert torch.allclose(few[part], reference, rtol=0, atol=1e-5 * max(reference.abs().max().item(), 1e-2)), part


@pytest.mark.parametrize(
    "more",
    [{"causal": True}, {"window": 8, "global_every": 99, "positions": "rotary"}, {"norm": "before"}, {"layers": 1}],
    ids=str,
)
def test_so_they_are_where_a_token_does_not_see_all(more):
    network = made("bert-tiny", **more)
    few, whole = loss_and_gradients(network, batch_of()), loss_and_gradients(network, all_of(batch_of()))
    for part, reference in whole.items():
        assert torch.allclose(few[part], reference, rtol=0, atol=1e-5 * max(reference.abs().max().item(), 1e-2)), part


def test_an_order_is_kept():
    order = np.random.default_rng(1).integers(0, 9, LENGTHS.sum())
    network = made("bert-tiny")
    few = loss_and_gradients(network, batch_of(order=order))["loss"]
    assert torch.allclose(few, loss_and_gradients(network, all_of(batch_of(order=order)))["loss"])
    assert not torch.allclose(few, loss_and_gradients(network, batch_of())["loss"])


BEFORE_SCORES = {"qkv", "query_key", "value", "shared.dense", "global_key_value", "global_query"}
"""Matrices of a layer whose results other tokens see, and that of global tokens' own."""


@pytest.mark.parametrize("name", NARROW)
def test_behind_its_scores_the_last_layer_computes_no_others(name):
    network, rows = made(name), {}
    for part, module in network.backbone.blocks[-1].named_modules():
        if isinstance(module, torch.nn.Linear) and part.removeprefix("attention.") not in BEFORE_SCORES:
            module.register_forward_hook(lambda _, given, __, part=part: rows.update({part: len(given[0])}))
    network.states_at(batch_of(), "masked_lm")
    assert len(rows) >= 3 and set(rows.values()) == {len(ASKED) + missing(len(ASKED))}


def test_nothing_is_left_out_where_nearly_all_is_asked_about():
    index = np.arange(LENGTHS.sum())
    assert not batch_of(index).asked
    assert not batch_of(index[: int(0.8 * len(index))]).asked
    assert batch_of(index[: len(index) // 2]).asked


def test_what_nobody_asks_of_is_read_whole():
    assert not batch_of(np.zeros(0, np.int64)).asked
    network = made("bert-tiny")
    assert network.states_at(batch_of(np.zeros(0, np.int64)), "masked_lm").shape == (0, 32)


def test_what_two_heads_ask_is_computed_once():
    """Also where one is answered off two tokens."""
    stream = Stream(np.arange(LENGTHS.sum()) % 100, LENGTHS)
    pairs = np.array([[3, 5], [29, 3]])
    targets = {"masked_lm": Targets(ASKED, ASKED % 100), "other": Targets(pairs, np.zeros(2, np.int64))}
    network = made("bert-tiny").eval()
    batch, calls = collate(Example({"encoder": stream}, targets)), []
    network.backbone.blocks[-1].register_forward_hook(lambda *_: calls.append(1))
    single, double = network.states_at(batch, "masked_lm"), network.states_at(batch, "other")
    assert sorted(set(batch.asked["encoder"].index.tolist())) == sorted({*ASKED.tolist(), 3, 5})
    assert len(calls) == 1 and double.shape == (2, 2, 32)
    states = network.states(batch)
    assert torch.allclose(single, states[ASKED], atol=1e-6) and torch.allclose(double, states[pairs], atol=1e-6)


def test_tokens_of_no_layer_are_looked_up():
    network = made("bert-tiny", layers=0)
    batch = batch_of()
    assert torch.equal(network.states_at(batch, "masked_lm"), network.states(batch)[ASKED])


def test_which_are_asked_about():
    layout = Layout.of(LENGTHS, 48)
    asked = Asked.of([np.array([8, 2]), np.array([[2, 0], [29, 61]])], layout)
    assert asked is not None
    assert asked.index.tolist() == [0, 2, 8, 29, 61]
    assert asked.number[asked.index].tolist() == [0, 1, 2, 3, 4]
    assert asked.layout.lengths == (3, 0, 1, 1, 0, 0, 0)
    pair = asked.layout.beside(layout)
    assert pair.keys.rows == layout.rows and pair.queries.row_length == 8


def test_the_last_one_is_asked_about_until_their_number_is_even():
    asked = Asked.of([np.arange(33)], Layout.of(LENGTHS, 48))
    assert asked is not None and asked.index.tolist() == [*range(33), *7 * [32]]
    assert asked.layout.lengths == (9, 1, 20, 10, 0, 0, 0)


def test_of_what_another_stream_looks_at_all_is_read():
    lengths = np.array([4, 5])
    streams = {"encoder": Stream(np.arange(9), lengths), "decoder": Stream(np.arange(9), lengths, reads="encoder")}
    targets = {name: Targets(np.array([1]), np.array([1]), name) for name in streams}
    assert not collate(Example(streams, targets)).asked
    assert set(collate(Example({"encoder": streams["encoder"]}, targets)).asked) == {"encoder"}
