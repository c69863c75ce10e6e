"""Rotary positions (Su 2021, RoFormer, 2104.09864)."""

from __future__ import annotations

import torch
from torch import Tensor


def angles(positions: Tensor, width: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, 1, width] for tokens at these positions [T], in float32."""
    # a power and then its inverse, as everybody does: another order differs by 2e-4 at position 8000
    frequencies = 1.0 / base ** (torch.arange(0, width, 2, device=positions.device, dtype=torch.int64).float() / width)
    angle = positions.float()[:, None] * frequencies
    angle = torch.cat([angle, angle], -1)[:, None]
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn [T, H, W] by the angles of its tokens; halves of a head are the two coordinates."""
    left, right = x.float().chunk(2, -1)
    turned = torch.cat([-right, left], -1)
    return (x.float() * cos + turned * sin).to(x.dtype)
