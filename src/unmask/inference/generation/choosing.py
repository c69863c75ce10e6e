"""The next token of each text: the likeliest, or one drawn. N texts, V vocabulary."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from unmask.inference.generation.settings import Generation
from unmask.inference.generation.writer import Chooser
from unmask.nn.drawing import drawn
from unmask.text.chance import Chance
from unmask.text.example import Array

ALMOST = np.float32(1 - 2**-23)
"A lot above it could fall behind the last token that is left."


def likeliest(scores_NV: Tensor, numbers: Tensor, written: int) -> Tensor:
    """[N] the token with the highest score."""
    return scores_NV.argmax(-1)


def drawing(settings: Generation, names: Array) -> Chooser:
    """Draws for texts of these names [N]. What is drawn depends on the seed, the name and the place alone."""

    def choose(scores_NV: Tensor, numbers: Tensor, written: int) -> Tensor:
        chance = Chance.of(settings.seed, written, names[numbers.cpu().numpy()])
        lots = np.minimum(chance.sequences("generation"), ALMOST)
        kept = among(scores_NV, settings.temperature, settings.top_k, settings.top_p)
        return drawn(kept, torch.from_numpy(lots).to(scores_NV.device))

    return choose


def among(scores_NV: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """[N, V] scores of the tokens that are drawn from, -inf for those left out; in this order: temperature, k, p."""
    kept = scores_NV / temperature
    if top_k is not None and top_k < kept.shape[1]:
        kept = kept.masked_fill(kept < kept.topk(top_k).values[:, -1:], -math.inf)
    if top_p < 1:
        chances, tokens = kept.softmax(-1).sort(dim=-1, descending=True, stable=True)
        beyond = chances.cumsum(-1) - chances >= top_p  # by what all likelier ones have
        beyond[:, 0] = False  # the likeliest stays, however little is asked for
        kept = kept.masked_fill(torch.empty_like(beyond).scatter(1, tokens, beyond), -math.inf)
    return kept
