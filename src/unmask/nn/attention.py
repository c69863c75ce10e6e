"""The one door to attention.

T tokens, H heads, W width of a head, R rows of length L. Three routes lead through it: ``rows`` for processors,
``varlen`` for CUDA, and ``dense``, the plain reference that the others are tested against.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unmask.nn.dropout import drop
from unmask.nn.layout import Layout


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    window: int | None = None,
    dropout: float = 0.0,
    causal: bool = False,
) -> Tensor:
    """Attention inside each sequence, to what its order lets a token see; q, k, v and the result are [T, H, W].

    ``window`` is the full width of local attention: a token sees ``window // 2`` to either side.
    ``dropout`` is that of the probabilities; pass 0 when not training. ``causal``: nothing after itself is seen.
    """
    if q.is_cuda and not dropout and layout.order is None:
        return varlen(q, k, v, layout, window, causal)
    return rows(q, k, v, layout, window, dropout, causal)


def rows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    window: int | None = None,
    dropout: float = 0.0,
    causal: bool = False,
) -> Tensor:
    """Sequences side by side in rows, a mask between them.

    Plain products and a softmax: torch's fused kernel for processors is slower than these in training, in bfloat16 and
    with dropout above all. The softmax computes in float32 whatever it is given.
    """
    heads, width = q.shape[1:]
    q, k, v = (layout.to_rows(x).transpose(1, 2).reshape(-1, layout.row_length, width) for x in (q, k, v))
    scores = (q * width**-0.5) @ k.transpose(1, 2)  # [R*H, L, L]
    barrier = layout.barrier(window, scores.dtype, causal)
    if barrier is not None:
        scores.view(layout.rows, heads, *scores.shape[1:]).add_(barrier[:, None])
    mixed = drop(scores.softmax(-1), dropout) @ v
    return layout.from_rows(mixed.view(layout.rows, heads, -1, width).transpose(1, 2))


def varlen(q: Tensor, k: Tensor, v: Tensor, layout: Layout, window: int | None = None, causal: bool = False) -> Tensor:
    """CUDA's kernel for sequences of different lengths. Has no dropout and no order."""
    from torch.nn.attention.varlen import varlen_attn

    side = -1 if window is None else window // 2
    borders, longest = layout.cu_seqlens, layout.max_length
    mixed = varlen_attn(q, k, v, borders, borders, longest, longest, window_size=(side, 0 if causal else side))
    assert isinstance(mixed, Tensor)  # it returns more only when asked
    return mixed


def dense(q: Tensor, k: Tensor, v: Tensor, layout: Layout, window: int | None = None, causal: bool = False) -> Tensor:
    """All T×T scores at once; what the definition says, at the cost it has."""
    owner, place = layout.sequence(), torch.arange(len(q), device=q.device)
    mask = owner[:, None] == owner[None, :]
    if window is not None:
        mask &= (place[:, None] - place[None, :]).abs() <= window // 2
    if causal:
        mask &= place[:, None] >= place[None, :]
    if layout.order is not None:
        mask &= layout.order[:, None] >= layout.order[None, :]
    scores = torch.einsum("qhw,khw->hqk", q, k) * q.shape[-1] ** -0.5
    return torch.einsum("hqk,khw->qhw", scores.masked_fill(~mask, -math.inf).softmax(-1), v)
