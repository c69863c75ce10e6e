"""Dropout whose masks depend on (seed, step, part) and the order of the layers, never on what was drawn before."""

from __future__ import annotations

import torch
from torch import nn

Dropout = nn.Dropout


def seed(seed: int, step: int, part: int) -> None:
    """Set what is drawn in one part of one step."""
    torch.manual_seed(hash((seed, step, part)) & 0x7FFF_FFFF_FFFF_FFFF)
