"""Where and in which numbers a model computes: device, precision, ranks. Models know of none of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unmask.errors import UserError
from unmask.training.settings import Course


@dataclass(frozen=True)
class Placement:
    """A device, a precision, and this process's place among its like."""

    device: torch.device
    dtype: torch.dtype
    rank: int = 0
    world: int = 1

    @classmethod
    def of(cls, settings: Course) -> Placement:
        """What the settings ask for, or what this machine does best."""
        device = _device(settings.device)
        return cls(device, _dtype(settings.precision, device), *_ranks())

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Sums over all ranks."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def sum_gradients(self, gradients: list[Tensor]) -> None:
        """Add the gradients of all ranks, in place."""
        if self.world > 1:
            flat = torch.cat([g.flatten() for g in gradients])
            dist.all_reduce(flat)
            parts = torch.split(flat, [g.numel() for g in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {name}: no CUDA device is at hand; cpu would fit")
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return torch.device(name)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _ranks() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun sets them."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


class Weights:
    """The weights of a network: those it computes with, and the float32 ones the optimizer moves.

    In float32 they are the same. In bfloat16 a step smaller than a weight's last digit would be lost, so the optimizer
    keeps float32 masters and the network gets a rounded copy after each step.
    """

    def __init__(self, network: nn.Module, placement: Placement):
        network.to(placement.device)
        self.names = [name for name, p in network.named_parameters() if p.requires_grad]
        self.rounded = placement.dtype != torch.float32
        self.masters = (
            {name: p.detach().float().clone() for name, p in network.named_parameters()} if self.rounded else {}
        )
        if self.rounded:
            network.to(placement.dtype)
        self.parameters = dict(network.named_parameters())
        self.masters = self.masters or dict(self.parameters)

    @property
    def trained(self) -> dict[str, Tensor]:
        """The float32 weights that move, by name."""
        return {name: self.masters[name] for name in self.names}

    def gather(self) -> None:
        """Add the network's gradients to float32 sums, one of every weight, where batches or ranks come together."""
        for name in self.names:
            parameter, master = self.parameters[name], self.masters[name]
            if master.grad is None:
                master.grad = torch.zeros_like(master) if parameter.grad is None else parameter.grad.float()
            elif parameter is not master and parameter.grad is not None:
                master.grad += parameter.grad
            if parameter is not master:
                parameter.grad = None

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of what moves: the sums, or the network's own where nothing was gathered."""
        found: dict[str, Tensor] = {}
        for name in self.names:
            parameter, master = self.parameters[name], self.masters[name]
            gradient = parameter.grad if master.grad is None else master.grad
            found[name] = torch.zeros_like(parameter) if gradient is None else gradient
        return found

    def clear(self) -> None:
        """Forget all gradients."""
        for name in self.names:
            self.masters[name].grad = self.parameters[name].grad = None

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set what moves, by name."""
        for name, master in self.trained.items():
            master.copy_(tensors[name])
            self.parameters[name].copy_(master)


def leave() -> None:
    """Part from the other ranks, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()
