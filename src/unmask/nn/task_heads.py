"""The heads of tasks that people labelled. M answers, T tokens, N sequences, D width, C labels."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.dropout import Dropout
from unmask.nn.layout import Layout
from unmask.nn.norm import LayerNorm
from unmask.nn.pooling import pooling


class Sizes(Protocol):
    """What a head needs to know of a model."""

    @property
    def family(self) -> str: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def init_std(self) -> float: ...  # noqa: D102
    @property
    def norm_eps(self) -> float: ...  # noqa: D102
    @property
    def bias(self) -> bool: ...  # noqa: D102


def _linear(into: int, out: int, std: float, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(into, out, bias=bias)
    nn.init.trunc_normal_(layer.weight, std=std, a=-3 * std, b=3 * std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Head(nn.Module):
    """Dropout, and a choice among C labels (Devlin 2018, §5.3).

    Args:
        sizes: the model's.
        labels: C.
        pool: what one answer of a sequence is read from: ``cls`` or ``last``, its first or last state; ``mean``,
            ``max``, ``attention``.
    """

    choice: ClassVar[str] = "classifier"
    choice_bias: ClassVar[bool] = True

    def __init__(self, sizes: Sizes, labels: int, pool: str = "cls"):
        super().__init__()
        self.width = sizes.width
        self.pooling = None if pool in ("cls", "last") else pooling(pool, sizes.width)
        self.dropout = Dropout(sizes.dropout)
        self.add_module(self.choice, _linear(sizes.width, labels, sizes.init_std, self.choice_bias))

    def transform(self, x_MD: Tensor) -> Tensor:
        """What comes before the choice."""
        return x_MD

    def forward(self, x_MD: Tensor) -> Tensor:
        """States [M, D] to logits [M, C]."""
        logits: Tensor = self.get_submodule(self.choice)(self.dropout(self.transform(x_MD)))
        return logits

    def over(self, x_TD: Tensor, layout: Layout) -> Tensor:
        """States [T, D] to logits [N, C], of one vector a sequence."""
        assert self.pooling is not None
        logits: Tensor = self(self.pooling(x_TD, layout))
        return logits


class PoolerHead(Head):
    """The same after dense and tanh, BERT's pooler (Devlin 2018, §4.1)."""

    def __init__(self, sizes: Sizes, labels: int, pool: str = "cls"):
        super().__init__(sizes, labels, pool)
        self.pooler = _linear(sizes.width, sizes.width, sizes.init_std)

    def transform(self, x_MD: Tensor) -> Tensor:
        """Dense and tanh."""
        return torch.tanh(self.pooler(x_MD))


class ContextHead(PoolerHead):
    """BERT's with GELU in the place of tanh (He 2020's code, DeBERTa)."""

    def transform(self, x_MD: Tensor) -> Tensor:
        """Dense and GELU."""
        return F.gelu(self.pooler(x_MD))


class SummaryHead(PoolerHead):
    """BERT's, by the name that Hugging Face's XLNet has for the choice."""

    choice = "logits_proj"


class ScoreHead(Head):
    """The same without a bias, as Hugging Face's GPT-2 has."""

    choice = "score"
    choice_bias = False


class GeluHead(Head):
    """The same after dense and GELU, with dropout before both (Clark 2020's code, ELECTRA)."""

    choice = "out_proj"

    def __init__(self, sizes: Sizes, labels: int, pool: str = "cls"):
        super().__init__(sizes, labels, pool)
        self.dense = _linear(sizes.width, sizes.width, sizes.init_std)

    def transform(self, x_MD: Tensor) -> Tensor:
        """Dropout, dense, GELU."""
        return F.gelu(self.dense(self.dropout(x_MD)))


class TanhHead(GeluHead):
    """The same with tanh in the place of GELU (Liu 2019's code, RoBERTa)."""

    def transform(self, x_MD: Tensor) -> Tensor:
        """Dropout, dense, tanh."""
        return torch.tanh(self.dense(self.dropout(x_MD)))


class HalvingHead(Head):
    """Dropout, dense to half the width, tanh, dropout and the choice, as Hugging Face's Reformer has."""

    choice = "out_proj"

    def __init__(self, sizes: Sizes, labels: int, pool: str = "cls"):
        super().__init__(sizes, labels, pool)
        half = sizes.width // 2
        self.dense = _linear(sizes.width, half, sizes.init_std)
        self.out_proj = _linear(half, labels, sizes.init_std)

    def transform(self, x_MD: Tensor) -> Tensor:
        """Dropout, dense, tanh."""
        return torch.tanh(self.dense(self.dropout(x_MD)))


class ReluHead(Head):
    """The same after dense and ReLU (Sanh 2019's code, DistilBERT)."""

    def __init__(self, sizes: Sizes, labels: int, pool: str = "cls"):
        super().__init__(sizes, labels, pool)
        self.pre_classifier = _linear(sizes.width, sizes.width, sizes.init_std)

    def transform(self, x_MD: Tensor) -> Tensor:
        """Dense and ReLU."""
        return F.relu(self.pre_classifier(x_MD))


class TransformHead(Head):
    """The same after dense, GELU and norm, as in the head of masked LM (Warner 2024's code, ModernBERT)."""

    def __init__(self, sizes: Sizes, labels: int, pool: str = "cls"):
        super().__init__(sizes, labels, pool)
        self.dense = _linear(sizes.width, sizes.width, sizes.init_std, sizes.bias)
        self.norm = LayerNorm(sizes.width, sizes.norm_eps, bias=sizes.bias)

    def transform(self, x_MD: Tensor) -> Tensor:
        """Dense, GELU, norm."""
        normed: Tensor = self.norm(F.gelu(self.dense(x_MD)))
        return normed


def classifier(sizes: Sizes, labels: int, pool: str = "cls") -> Head:
    """A family's head for one answer a sequence."""
    heads = {
        "bert": PoolerHead,
        "albert": PoolerHead,
        "modernbert": TransformHead,
        "gpt2": ScoreHead,
        "electra": GeluHead,
        "xlnet": SummaryHead,
        "roberta": TanhHead,
        "distilbert": ReluHead,
        "longformer": TanhHead,
        "deberta": ContextHead,
        "mobilebert": PoolerHead,
        "reformer": HalvingHead,
    }
    return heads.get(sizes.family, Head)(sizes, labels, pool)


def tagger(sizes: Sizes, labels: int) -> Head:
    """A family's head for an answer a word."""
    return {"modernbert": TransformHead}.get(sizes.family, Head)(sizes, labels)
