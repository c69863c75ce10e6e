"""Tokens drawn from what a model says. M answers, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def drawn(logits_MV: Tensor, lots_M: Tensor) -> Tensor:
    """[M] tokens, each drawn by its logits: where its lot in [0, 1) falls among the cumulated probabilities.

    The lots come with the batch, so that what is drawn does not depend on how a step is shared out.
    """
    chances = logits_MV.float().softmax(-1).cumsum(-1)
    lots = lots_M[:, None] * chances[:, -1:]
    return torch.searchsorted(chances, lots, right=True)[:, 0].clamp(max=logits_MV.shape[1] - 1)
