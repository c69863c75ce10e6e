"""A loss leaves as a sum and a count, so that its mean can be taken over all ranks and accumulation steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.nn.even import missing

_ROWS = 32  # of logits that stay in the cache together


@dataclass
class Loss:
    """What M answers cost together."""

    total: Tensor  # scalar float32, the sum
    count: int
    correct: Tensor | None = None  # scalar, how many were right; counted when not training
    figures: dict[str, tuple[Tensor, int]] = field(default_factory=dict)  # further sums and counts, when not training


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None, costs: Tensor | None = None) -> Loss:
    """Logits [M, C] against labels [M], or [M, C] floats in [0, 1] where several labels may hold.

    Args:
        logits: what was said; the rows that make M even (see `nn.even`) are nobody's, and get a gradient of zero.
        labels: what is right.
        weights: [C] what each label counts, if not 1.
        costs: [M] what each answer counts, if not 1; for labels [M].

    Raises:
        ValueError: there are fewer or more rows than that.
    """
    if len(logits) - len(labels) not in (0, missing(len(labels))):
        raise ValueError(f"{len(logits)} rows of logits for {len(labels)} labels")
    said = logits[: len(labels)]
    if labels.is_floating_point():
        # the mean over C labels is one answer's loss
        total = F.binary_cross_entropy_with_logits(
            said.float(), labels, pos_weight=weights, reduction="none"
        ).mean(-1).sum()  # fmt: skip
    elif weights is None and logits.device.type == "cpu" and logits.requires_grad:
        total = _CrossEntropy.apply(logits, labels, costs)  # type: ignore[no-untyped-call]
    elif costs is not None:
        total = (F.cross_entropy(said.float(), labels, weight=weights, reduction="none") * costs).sum()
    else:
        total = F.cross_entropy(said.float(), labels, weight=weights, reduction="sum")
    return Loss(total, len(labels), None if torch.is_grad_enabled() else _correct(said, labels))


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        return ((logits > 0) == (labels > 0.5)).all(-1).sum()
    # to find the largest is ten times as fast as to find where it stands, which is asked only where it may be the label
    maybe = logits.gather(1, labels[:, None])[:, 0] == logits.amax(-1)
    return (logits[maybe].argmax(-1) == labels[maybe]).sum()


class _CrossEntropy(torch.autograd.Function):
    """The sum of M cross-entropies, and their gradient with it, a few rows at a time.

    M rows of a whole vocabulary in float32 leave the processor's caches, and every operation on them waits for the
    memory. Logits and gradient keep the form they come in; what is computed between them is float32.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, costs: Tensor | None) -> Tensor:
        gradient = torch.empty_like(logits)
        total = torch.zeros((), dtype=torch.float32)
        gradient[len(labels) :] = 0
        for start in range(0, len(labels), _ROWS):
            their = labels[start : start + _ROWS]
            some = logits[start : start + len(their)].float()
            probabilities = some.softmax(-1)
            # the largest probability is at least 1/C, so that its logarithm is exact where others' would not be
            log_sum = some.amax(-1) - probabilities.amax(-1).log()
            losses = log_sum - some.gather(1, their[:, None])[:, 0]
            probabilities[torch.arange(len(their)), their] -= 1
            if costs is not None:
                counts = costs[start : start + _ROWS]
                losses, probabilities = losses * counts, probabilities * counts[:, None]
            total += losses.sum()
            gradient[start : start + len(their)] = probabilities
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (of_sum,) = ctx.saved_tensors
        # scaled where it lies; should it be asked for again, autograd sees that it was changed and says so
        return of_sum.mul_(gradient), None, None
