"""AdamW (Loshchilov 2019, 1711.05101) over named parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unmask.training.settings import Training


def adamw(parameters: Mapping[str, Tensor], settings: Training) -> torch.optim.AdamW:
    """One fused optimizer; vectors (biases, norms) are not decayed."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, settings.lr, (settings.beta1, settings.beta2), settings.eps, fused=True)


def clip(gradients: list[Tensor], longest: float | None) -> Tensor:
    """Scale gradients down together if they are longer than this; their length before, as a tensor."""
    length = torch.nn.utils.get_total_norm(gradients)
    if longest is not None:
        factor = torch.clamp(longest / (length + 1e-6), max=1.0)
        torch._foreach_mul_(gradients, factor)
    return length


def state_of(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the optimizer remembers, by ``parameter/name of the memory``."""
    return {
        f"{name}/{key}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Give an optimizer its memory back."""
    for name, parameter in parameters.items():
        # fused AdamW counts steps in a tensor beside the parameter
        memory = {key.rsplit("/", 1)[1]: v for key, v in state.items() if key.rsplit("/", 1)[0] == name}
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in memory.items()}
