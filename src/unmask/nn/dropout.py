"""Dropout whose masks depend on (seed, step, part) and the order of the layers, never on what was drawn before.

On a processor torch draws one number after another in one thread, which costs as much as a third of a training step.
Here a small fast generator (SFC64, Doty-Humphrey 2010) fills a whole mask with 16-bit words at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16  # a probability is rounded to one of them


class _Source:
    """Where masks come from: an address, and how many were drawn at it."""

    def __init__(self) -> None:
        self.address: tuple[int, ...] = (torch.initial_seed(),)
        self.drawn = 0

    def next(self) -> int:
        """The number of one more mask."""
        self.drawn += 1
        return self.drawn - 1


_source = _Source()


def seed(seed: int, step: int, part: int) -> None:
    """Set what is drawn in one part of one step."""
    _source.address, _source.drawn = (seed, step, part), 0
    torch.manual_seed(hash((seed, step, part)) & 0x7FFF_FFFF_FFFF_FFFF)  # for what torch draws itself


def when() -> tuple[int, ...]:
    """The (seed, step) of what is drawn now, the same in all parts of a step."""
    return _source.address[:2]


@dataclass(frozen=True)
class Mark:
    """A place in what is drawn, to come back to."""

    address: tuple[int, ...]
    drawn: int
    of_device: Tensor | None  # where CUDA's own generator stands


def mark(device: torch.device) -> Mark:
    """Where it is now."""
    return Mark(_source.address, _source.drawn, torch.cuda.get_rng_state(device) if device.type == "cuda" else None)


@contextmanager
def again(found: Mark, device: torch.device) -> Iterator[None]:
    """Draw for a while what was drawn from that place on."""
    before = mark(device)
    _go_to(found, device)
    yield
    _go_to(before, device)


def _go_to(found: Mark, device: torch.device) -> None:
    _source.address, _source.drawn = found.address, found.drawn
    if found.of_device is not None:
        torch.cuda.set_rng_state(found.of_device, device)


class Dropout(nn.Module):
    """Zeros with this probability, and the rest larger by as much (Srivastava 2014), when training."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return drop(x, self.probability) if self.training else x


def drop(x: Tensor, probability: float) -> Tensor:
    """Zero each number of x with this probability; scale the others so that the expectation stays."""
    if not probability:
        return x
    if x.is_cuda:
        return F.dropout(x, probability)
    dropped: Tensor = _Masked.apply(x, *_draw(x, probability))  # type: ignore[no-untyped-call]
    return dropped


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _draw(x: Tensor, probability: float) -> tuple[Tensor, float]:
    """Ones to keep and zeros to drop, in the form of x; and the factor of what is kept."""
    dropped = round(probability * _LEVELS)
    bits = np.random.SFC64([*_source.address, _source.next()])
    words = torch.from_numpy(bits.random_raw(-(-x.numel() // 4)).view(np.int16)[: x.numel()]).view(x.shape)
    # words are signed: the lowest of them is half of all levels below zero
    kept = torch.ge(words, dropped - _LEVELS // 2, out=torch.empty(x.shape, dtype=x.dtype))
    return kept, _LEVELS / (_LEVELS - dropped)


class _Masked(torch.autograd.Function):
    """One pass over x forward and over its gradient backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.factor = factor
        return _scaled(x, kept, factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return _scaled(gradient, kept, ctx.factor), None, None


def _scaled(x: Tensor, kept: Tensor, factor: float) -> Tensor:
    """X * kept * factor in one pass, multiplied in float32 whatever x is: bfloat16 has no 1/0.9."""
    return torch.addcmul(x.new_zeros(()), x, kept, value=factor)
