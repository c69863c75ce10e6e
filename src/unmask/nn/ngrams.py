"""Vectors of tokens from their n-grams of letters (Bojanowski 2016, 1607.04606).

T tokens, U different ones, V vocabulary, B buckets, G n-grams, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.embeddings import look_up


class NgramBag(nn.Module):
    """The mean of a token's own vector and those of its n-grams, as in fastText's release (the paper's is their sum).

    Own vectors begin at zero: what is never trained keeps the direction of its n-grams. Which n-grams a token has comes
    with `spell`.

    Args:
        tokens: V.
        buckets: B, which the n-grams share by their hash.
        width: D.
    """

    def __init__(self, tokens: int, buckets: int, width: int):
        super().__init__()
        self.own, self.ngrams = nn.Embedding(tokens, width), nn.Embedding(buckets, width)
        self.ids: Tensor | None
        self.starts: Tensor | None
        self.register_buffer("ids", None, persistent=False)
        self.register_buffer("starts", None, persistent=False)
        self.begin()

    def begin(self) -> None:
        """Fresh own vectors; those of n-grams are any embedding's."""
        nn.init.zeros_(self.own.weight)

    def spell(self, ids_G: Tensor, counts_V: Tensor) -> None:
        """Say which n-grams each token has: all of them end to end, and how many are whose."""
        device = self.own.weight.device
        self.ids, self.starts = ids_G.to(device), F.pad(counts_V.cumsum(0), (1, 0)).to(device)

    def forward(self, tokens_T: Tensor) -> Tensor:
        """[T, D]. Of equal tokens one is computed."""
        different_U, which_T = torch.unique(tokens_T, return_inverse=True)
        ids_G, counts_U = self._of(different_U)
        # in float32, since torch adds up gradients of bags in bfloat16
        sums_UD = F.embedding_bag(ids_G, self.ngrams.weight.float(), counts_U.cumsum(0) - counts_U, mode="sum")
        means_UD = (look_up(self.own.weight, different_U) + sums_UD) / (counts_U + 1)[:, None]
        return look_up(means_UD.to(self.own.weight.dtype), which_T)

    def _of(self, tokens_U: Tensor) -> tuple[Tensor, Tensor]:
        """Their n-grams end to end, and how many each has."""
        assert self.ids is not None and self.starts is not None, (
            "a model that reads letters must be told how its tokens are written"
        )
        starts_U = self.starts.index_select(0, tokens_U)
        counts_U = self.starts.index_select(0, tokens_U + 1) - starts_U
        ends = counts_U.cumsum(0)
        shift_G = (starts_U - (ends - counts_U)).repeat_interleave(counts_U)
        return self.ids.index_select(0, shift_G + torch.arange(len(shift_G), device=shift_G.device)), counts_U
