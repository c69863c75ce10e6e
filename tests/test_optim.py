"""The optimizer by blocks is torch's AdamW after torch's clipping."""

import copy

import pytest
import torch
from torch import nn

from unmask.training import optim
from unmask.training.placement import Placement, Weights
from unmask.training.settings import Training

SETTINGS = Training(weight_decay=0.3, beta1=0.8, beta2=0.9, eps=1e-3)
CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3, bias=False))


def give_gradients(net, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def references(net):
    """Torch's own, on float32 copies."""
    vectors = [p for p in net.parameters() if p.ndim < 2]
    matrices = [p for p in net.parameters() if p.ndim > 1]
    groups = [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, 1e-2, (0.8, 0.9), 1e-3)


def advance(weights, optimizer, rate=1e-2, longest=1.0):
    length = optim.length_of(weights.gradients())
    optimizer.step(rate, optim.clipping(length, longest))
    weights.clear()
    return length


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", [4, 20, 1000])
def test_steps_are_torchs(dtype, block, monkeypatch):
    monkeypatch.setattr(optim, "_BLOCK", {"cpu": block})
    net, exact = network(), network()
    weights, reference = Weights(net, Placement(CPU, dtype)), references(exact)
    optimizer = optim.AdamW(weights, SETTINGS)
    for step in range(4):
        give_gradients(net, step)
        for parameter, other in zip(exact.parameters(), net.parameters(), strict=True):
            parameter.grad = other.grad.float().clone()
        length = advance(weights, optimizer)
        assert torch.allclose(length, nn.utils.clip_grad_norm_(exact.parameters(), 1.0), rtol=1e-6)
        reference.step()
    for name, parameter in exact.named_parameters():
        assert torch.allclose(weights.masters[name], parameter, atol=1e-6)
        assert torch.equal(net.get_parameter(name), weights.masters[name].to(dtype))


def test_a_remembered_state_goes_on_alike():
    net = network()
    weights = Weights(net, Placement(CPU, torch.bfloat16))
    optimizer = optim.AdamW(weights, SETTINGS)
    give_gradients(net, 0)
    advance(weights, optimizer)
    state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    twin = Weights(copy.deepcopy(net), Placement(CPU, torch.bfloat16))
    twin.load({name: tensor.clone() for name, tensor in weights.masters.items()})
    other = optim.AdamW(twin, SETTINGS)
    other.load(state)
    for these, mine in ((weights, optimizer), (twin, other)):
        for name in these.names:
            these.parameters[name].grad = torch.full_like(these.parameters[name], 0.5)
        advance(these, mine)
    for name in weights.names:
        assert torch.equal(weights.masters[name], twin.masters[name])


def test_gathered_parts_add_up_in_float32():
    net = network()
    weights = Weights(net, Placement(CPU, torch.bfloat16))
    for value in (256.0, 1.0, 1.0):
        for parameter in list(net.parameters())[:2]:
            parameter.grad = torch.full_like(parameter, value)
        weights.gather()
    found = list(weights.gradients().values())
    assert found[0].dtype == torch.float32
    assert found[0].unique().item() == found[1].unique().item() == 258.0  # no bfloat16 number
    assert found[2].unique().item() == 0.0
