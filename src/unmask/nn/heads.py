"""The heads of pre-training. M answers, D width, V vocabulary."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.norm import LayerNorm


class Sizes(Protocol):
    """What a head needs to know of a model."""

    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def norm_eps(self) -> float: ...  # noqa: D102
    @property
    def bias(self) -> bool: ...  # noqa: D102


class MaskedLMHead(nn.Module):
    """Dense, GELU, norm, and the vocabulary matrix, which is that of the embeddings (Devlin 2018)."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.dense = nn.Linear(sizes.width, sizes.width, bias=sizes.bias)
        self.norm = LayerNorm(sizes.width, sizes.norm_eps, bias=sizes.bias)
        self.vocabulary = nn.Parameter(torch.empty(sizes.vocab_size, sizes.width))
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size))
        nn.init.normal_(self.vocabulary, std=0.02)

    def tie(self, embedding: nn.Parameter) -> None:
        """Share the vocabulary matrix with the embeddings [V, D]."""
        self.vocabulary = embedding

    def forward(self, states_MD: Tensor) -> Tensor:
        """[M, D] to logits [M, V]."""
        return F.linear(self.norm(F.gelu(self.dense(states_MD))), self.vocabulary, self.bias)


class SequenceRelationHead(nn.Module):
    """BERT's pooler (dense, tanh) and a choice: next or random, in order or swapped."""

    def __init__(self, sizes: Sizes, choices: int = 2):
        super().__init__()
        self.pooler = nn.Linear(sizes.width, sizes.width)
        self.classifier = nn.Linear(sizes.width, choices)

    def forward(self, states_MD: Tensor) -> Tensor:
        """States of the first tokens [M, D] to logits [M, choices]."""
        logits: Tensor = self.classifier(torch.tanh(self.pooler(states_MD)))
        return logits
