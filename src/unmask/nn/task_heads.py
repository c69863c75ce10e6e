"""The heads of tasks that people labelled. M answers, T tokens, N sequences, D width, C labels."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from unmask.nn.dropout import Dropout
from unmask.nn.layout import Layout
from unmask.nn.pooling import pooling


class Sizes(Protocol):
    """What a head needs to know of a model."""

    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def init_std(self) -> float: ...  # noqa: D102


def _linear(into: int, out: int, std: float) -> nn.Linear:
    layer = nn.Linear(into, out)
    nn.init.trunc_normal_(layer.weight, std=std, a=-3 * std, b=3 * std)
    nn.init.zeros_(layer.bias)
    return layer


class Classifier(nn.Module):
    """Dense and tanh (BERT's pooler), dropout, and a choice among C labels (Devlin 2018)."""

    def __init__(self, sizes: Sizes, labels: int):
        super().__init__()
        self.pooler = _linear(sizes.width, sizes.width, sizes.init_std)
        self.dropout = Dropout(sizes.dropout)
        self.classifier = _linear(sizes.width, labels, sizes.init_std)

    def forward(self, x_MD: Tensor) -> Tensor:
        """States [M, D] to logits [M, C]."""
        logits: Tensor = self.classifier(self.dropout(self.pooler(x_MD).tanh()))
        return logits


class PooledClassifier(Classifier):
    """The same of one vector made of all states of a sequence: their mean, largest values, or a learned mean."""

    def __init__(self, sizes: Sizes, labels: int, pool: str):
        super().__init__(sizes, labels)
        self.pooling = pooling(pool, sizes.width)

    def over(self, x_TD: Tensor, layout: Layout) -> Tensor:
        """States [T, D] to logits [N, C]."""
        return self(self.pooling(x_TD, layout))


class Tagger(nn.Module):
    """Dropout, and a choice among C labels for each word (Devlin 2018, §5.3)."""

    def __init__(self, sizes: Sizes, labels: int):
        super().__init__()
        self.dropout = Dropout(sizes.dropout)
        self.classifier = _linear(sizes.width, labels, sizes.init_std)

    def forward(self, x_MD: Tensor) -> Tensor:
        """States [M, D] to logits [M, C]."""
        logits: Tensor = self.classifier(self.dropout(x_MD))
        return logits
