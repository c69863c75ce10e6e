"""LayerNorm (Ba 2016, 1607.06450), RMSNorm (Zhang 2019, 1910.07467) and what stands where there is none (Sun 2020,
2004.02984); gradients are right in bfloat16 everywhere."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["layer", "rms", "none"]


def norm_of(kind: Kind, width: int, eps: float, bias: bool) -> nn.Module:
    """A norm by its name."""
    if kind == "none":
        return NoNorm(width)
    return LayerNorm(width, eps, bias=bias) if kind == "layer" else RMSNorm(width, eps)


class NoNorm(nn.Module):
    """A weight and a bias for each number, with nothing measured: as fast as it gets (Sun 2020, §3.3)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[…, D] to […, D]."""
        if x.dtype == torch.bfloat16 and not x.is_cuda:  # whose gradients torch would add up in bfloat16
            return (x.float() * self.weight.float() + self.bias.float()).to(x.dtype)
        return x * self.weight + self.bias


class RMSNorm(nn.Module):
    """Scale by the root of the mean square, and by a weight; nothing is subtracted or added."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """[…, D] to […, D], computed in float32."""
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """Torch's, but for one thing.

    For bfloat16 on a processor torch adds up the gradients of the weights in bfloat16: those of 4,096 tokens, all
    positive, come to a quarter of their sum. Here statistics and gradients are computed in float32 whatever comes in.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[…, D] to […, D]."""
        if x.dtype != torch.bfloat16 or x.is_cuda:
            return super().forward(x)
        normed: Tensor = _LayerNorm.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        return normed


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        normed, mean, scale = torch.native_layer_norm(x, weight.shape, _float(weight), _float(bias), eps)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        x, weight, bias, mean, scale = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(
            gradient.float(), x.float(), weight.shape, mean, scale, _float(weight), _float(bias),
            [True, True, bias is not None],
        )  # fmt: skip
        return (
            of_x.to(x.dtype),
            of_weight.to(weight.dtype),
            None if bias is None else of_bias.to(bias.dtype),
            None,
        )


def _float(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.float()
