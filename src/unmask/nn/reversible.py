"""Residual layers that keep nothing for the backward pass (Gomez 2017, RevNet, 1707.04585; Kitaev 2020, Reformer,
2001.04451, §3).

Two streams of states a and b, [T, P] each. A step adds to the one what it makes of the other, and they change places.
What went in can so be told from what came out, and is told anew, from the last step to the first, when gradients are
asked for. Dropout then draws what it drew before:

    forward     a, b  ->  b, a + step(b)
    backward    b, c  ->  c - step(b), b
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unmask.nn import dropout


@dataclass(frozen=True)
class Step:
    """What is made of one stream."""

    run: Callable[[Tensor], Tensor]
    weights: list[nn.Parameter] = field(default_factory=list)  # those that it is made with and that learn
    piece: int = 0  # tokens that are computed at once, where none looks at another; 0: all

    def pieces(self, x_TP: Tensor) -> tuple[Tensor, ...]:
        """X in pieces of so many tokens."""
        return torch.split(x_TP, self.piece or len(x_TP))

    def __call__(self, x_TP: Tensor) -> Tensor:
        """[T, P] to [T, P]."""
        said = [self.run(piece) for piece in self.pieces(x_TP)]
        return said[0] if len(said) == 1 else torch.cat(said)


Streams = tuple[Tensor, Tensor]


def kept(steps: Sequence[Step], a: Tensor, b: Tensor) -> list[Streams]:
    """The streams before the first step and after each, all kept, as backpropagation by itself would have it."""
    states = [(a, b)]
    for step in steps:
        a, b = b, a + step(b)
        states.append((a, b))
    return states


def rebuilt(steps: Sequence[Step], a: Tensor, b: Tensor) -> Streams:
    """The streams after the last step, which alone are kept."""
    weights = [weight for step in steps for weight in step.weights]
    ended: Streams = _Rebuilt.apply(steps, a, b, *weights)  # type: ignore[no-untyped-call]
    return ended


class _Rebuilt(torch.autograd.Function):
    """The weights are among its inputs, so that their gradients go where all others go."""

    @staticmethod
    def forward(ctx: Any, steps: Sequence[Step], a: Tensor, b: Tensor, *weights: nn.Parameter) -> Streams:
        marks = []
        for step in steps:
            marks.append(dropout.mark(a.device))
            a, b = b, a + step(b)
        ctx.steps, ctx.marks = steps, marks
        ctx.save_for_backward(a, b)
        return a, b

    @staticmethod
    def backward(ctx: Any, of_a: Tensor, of_b: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        of_weights: list[Tensor | None] = []
        for step, mark in zip(reversed(ctx.steps), reversed(ctx.marks), strict=True):
            with dropout.again(mark, a.device):
                said, of_read, found = _differentiated(step, a, of_b)
            a, b = b - said, a
            of_a, of_b = of_b, of_a + of_read
            of_weights = [*found, *of_weights]
        return None, of_a, of_b, *of_weights


def _differentiated(step: Step, x_TP: Tensor, of_said: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """What a step says, computed once more, and what its gradient is for what it read and for its weights."""
    said, of_read = [], []
    of_weights: list[Tensor | None] = [None for _ in step.weights]
    for piece, gradient in zip(step.pieces(x_TP), step.pieces(of_said), strict=True):
        with torch.enable_grad():
            read = piece.detach().requires_grad_()
            out = step.run(read)
        found = torch.autograd.grad(out, [read, *step.weights], gradient, allow_unused=True)
        said.append(out.detach())
        of_read.append(found[0])
        of_weights = [_sum(*both) for both in zip(of_weights, found[1:], strict=True)]
    return torch.cat(said), torch.cat(of_read), of_weights


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other
