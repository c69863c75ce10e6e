"""AdamW (Loshchilov 2019, 1711.05101), a block of weights at a time.

A step of a small model is a walk through memory: weights, two averages, gradients. In blocks that fit the processor's
caches, gradients are turned to float32, clipped, used and forgotten, and the network gets its rounded weights, before
any of it goes back to memory; float32 gradients of the whole network are never held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from unmask.training.placement import Weights
from unmask.training.settings import Training

_BLOCK = {"cpu": 1 << 19, "cuda": 1 << 26}  # numbers; a GPU would rather be called seldom
Piece = tuple[str, slice]  # of a weight laid flat


class AdamW:
    """The averages of gradients and of their squares, in float32, and the step."""

    def __init__(self, weights: Weights, settings: Training):
        self.weights, self.settings = weights, settings
        self.memory = {
            name: (torch.zeros_like(master), torch.zeros_like(master)) for name, master in weights.trained.items()
        }
        self.steps = torch.zeros((), dtype=torch.float32)
        self.blocks = list(_blocks(weights.trained))

    @torch.no_grad()
    def step(self, rate: float, factor: Tensor) -> None:
        """Move the weights by gradients times this factor."""
        gradients, weights = self.weights.gradients(), self.weights
        averages, squares = ({name: pair[i] for name, pair in self.memory.items()} for i in (0, 1))
        for block in self.blocks:
            masters = _parts(weights.masters, block)
            steps = [self.steps.to(factor.device, copy=True) for _ in block]
            adamw(
                masters, [g.float().mul_(factor) for g in _parts(gradients, block)],
                _parts(averages, block), _parts(squares, block), [], steps,
                fused=True, amsgrad=False, beta1=self.settings.beta1, beta2=self.settings.beta2, lr=rate,
                weight_decay=self._decay(block), eps=self.settings.eps, maximize=False,
            )  # fmt: skip
            if weights.rounded:
                torch._foreach_copy_(_parts(weights.parameters, block), masters)
        self.steps += 1

    def _decay(self, block: list[Piece]) -> float:
        """Vectors (biases, norms) are not decayed."""
        return self.settings.weight_decay if self.weights.masters[block[0][0]].ndim > 1 else 0.0

    def state(self) -> dict[str, Tensor]:
        """What it remembers, by ``weight/average``."""
        names = ("exp_avg", "exp_avg_sq")
        pairs = self.memory.items()
        return {
            "step": self.steps,
            **{f"{n}/{key}": x for n, pair in pairs for key, x in zip(names, pair, strict=True)},
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Remember what another one did."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def length_of(gradients: Mapping[str, Tensor]) -> Tensor:
    """Euclidean length of all gradients together, a scalar, added up in float32."""
    # torch turns what it measures to float32 as a whole, which of an embedding's gradient is much memory
    pieces = [piece for block in _blocks(gradients) for piece in _parts(gradients, block)]
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p, dtype=torch.float32) for p in pieces]))


def clipping(length: Tensor, longest: float | None) -> Tensor:
    """The factor that makes gradients of this length no longer than the longest."""
    return torch.ones_like(length) if longest is None else torch.clamp(longest / (length + 1e-6), max=1.0)


def _blocks(weights: Mapping[str, Tensor]) -> Iterator[list[Piece]]:
    """Cut the large, gather the small; a block is of matrices or of vectors."""
    for matrices in (True, False):
        block: list[Piece] = []
        room = 0
        for name, weight in weights.items():
            size = _BLOCK.get(weight.device.type, 1 << 19)
            for start in range(0, weight.numel() if (weight.ndim > 1) == matrices else 0, size):
                piece = slice(start, min(start + size, weight.numel()))
                if block and piece.stop - piece.start > room:
                    yield block
                    block = []
                room = (room if block else size) - (piece.stop - piece.start)
                block.append((name, piece))
        if block:
            yield block


def _parts(tensors: Mapping[str, Tensor], block: list[Piece]) -> list[Tensor]:
    return [tensors[name].view(-1)[piece] for name, piece in block]
