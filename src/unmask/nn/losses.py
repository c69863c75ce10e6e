"""A loss leaves as a sum and a count, so that its mean can be taken over all ranks and accumulation steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Loss:
    """What M answers cost together."""

    total: Tensor  # scalar float32, the sum
    count: int
    correct: Tensor | None = None  # scalar, how many were right; counted when not training


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Loss:
    """Logits [M, C] against labels [M], or [M, C] floats in [0, 1] where several labels may hold."""
    logits = logits.float()
    if labels.is_floating_point():
        # the mean over C labels is one answer's loss
        total = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="none").mean(-1).sum()
    else:
        total = F.cross_entropy(logits, labels, weight=weights, reduction="sum")
    return Loss(total, len(labels), None if torch.is_grad_enabled() else _correct(logits, labels))


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        return ((logits > 0) == (labels > 0.5)).all(-1).sum()
    return (logits.argmax(-1) == labels).sum()
