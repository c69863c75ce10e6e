"""The heads of pre-training. M answers, D width, V vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.activation import ACTIVATIONS, Activation
from unmask.nn.even import evened
from unmask.nn.losses import Loss, token_cross_entropy
from unmask.nn.norm import LayerNorm


class Sizes(Protocol):
    """What a head needs to know of a model."""

    @property
    def family(self) -> str: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def token_width(self) -> int: ...  # noqa: D102
    @property
    def answer_width(self) -> int: ...  # noqa: D102
    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def norm_eps(self) -> float: ...  # noqa: D102
    @property
    def activation(self) -> Activation: ...  # noqa: D102
    @property
    def bias(self) -> bool: ...  # noqa: D102
    @property
    def tied(self) -> bool: ...  # noqa: D102
    @property
    def embedding_scale(self) -> str: ...  # noqa: D102


class TokenHead(nn.Module):
    """What answers in tokens: what it says of states is compared with a vector of each token."""

    said: Callable[..., Tensor]
    """What is read, states as a rule, to what is said [M, E]."""
    bias: nn.Parameter | None

    @property
    def vectors(self) -> Tensor:
        """[V, E] of all tokens."""
        raise NotImplementedError

    def forward(self, *read: Any) -> Tensor:
        """What is read to logits [M, V]."""
        return F.linear(self.said(*read), self.vectors, self.bias)

    def loss(self, labels: Tensor, costs: Tensor | None, *read: Any) -> Loss:
        """What is read to what it costs, where these tokens [M] are right and count so much [M]."""
        return token_cross_entropy(evened(self.said(*read)), self.vectors, self.bias, labels, costs)


class VocabularyHead(TokenHead):
    """One with the matrix of the embeddings or one of its own, and, unless told otherwise, a bias."""

    def __init__(self, sizes: Sizes, bias: bool = True, std: float = 0.02, width: int | None = None):
        super().__init__()
        self.tied = sizes.tied
        self.vocabulary = nn.Parameter(torch.empty(sizes.vocab_size, width or sizes.token_width))
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size)) if bias else None
        nn.init.normal_(self.vocabulary, std=std)

    def tie(self, embedding: nn.Parameter) -> None:
        """Share the vocabulary matrix with the embeddings [V, D]."""
        self.vocabulary = embedding

    @property
    def vectors(self) -> Tensor:
        """The matrix."""
        return self.vocabulary


class MaskedLMHead(VocabularyHead):
    """Dense to the width of tokens, the model's activation (GELU), norm, and the vocabulary (Devlin 2018).

    Where answers are wider than the vectors of tokens, more of each token's matrix stands in ``beside`` (Sun 2020).
    """

    def __init__(self, sizes: Sizes):
        super().__init__(sizes)
        self.activation = ACTIVATIONS[sizes.activation]
        self.dense = nn.Linear(sizes.width, sizes.answer_width, bias=sizes.bias)
        self.norm = LayerNorm(sizes.answer_width, sizes.norm_eps, bias=sizes.bias)
        more = sizes.answer_width - sizes.token_width
        self.beside = nn.Parameter(0.02 * torch.randn(sizes.vocab_size, more)) if more else None

    @property
    def vectors(self) -> Tensor:
        """The matrix, and what stands beside it."""
        return self.vocabulary if self.beside is None else torch.cat([self.vocabulary, self.beside], 1)

    def said(self, states_MD: Tensor) -> Tensor:
        """[M, D] to [M, E]."""
        said: Tensor = self.norm(self.activation(self.dense(states_MD)))
        return said


class CausalLMHead(VocabularyHead):
    """The vocabulary alone: the matrix of the embeddings, no bias (Radford 2018)."""

    def __init__(self, sizes: Sizes):
        super().__init__(sizes, bias=False)
        wider = sizes.token_width != sizes.width
        self.narrowed = nn.Linear(sizes.width, sizes.token_width, bias=False) if wider else nn.Identity()

    def said(self, states_MD: Tensor) -> Tensor:
        """[M, D] to [M, E]."""
        said: Tensor = self.narrowed(states_MD)
        return said


class WholeStateHead(VocabularyHead):
    """The vocabulary alone, read off states wider than tokens, no bias: transformers' Reformer adds none."""

    def __init__(self, sizes: Sizes):
        super().__init__(sizes, bias=False, width=sizes.width)

    def said(self, states_MD: Tensor) -> Tensor:
        """They are."""
        return states_MD


def masked_lm_head(sizes: Sizes) -> VocabularyHead:
    """A family's head for hidden tokens."""
    return (WholeStateHead if sizes.family == "reformer" else MaskedLMHead)(sizes)


def causal_lm_head(sizes: Sizes) -> VocabularyHead:
    """A family's head for next tokens."""
    return (WholeStateHead if sizes.family == "reformer" else CausalLMHead)(sizes)


class PermutationLMHead(VocabularyHead):
    """The vocabulary alone, and a bias (Yang 2019)."""

    def said(self, states_MD: Tensor) -> Tensor:
        """They are."""
        return states_MD


class Softmax(VocabularyHead):
    """The vocabulary, read off states as wide as tokens (Peters 2018, §3.1)."""

    def __init__(self, sizes: Sizes):
        super().__init__(sizes, std=sizes.token_width**-0.5)

    def said(self, states_ME: Tensor) -> Tensor:
        """They are."""
        return states_ME


class OneWayLMHead(TokenHead):
    """A token from what was read up to it from one side: a half of the state, and the softmax that both sides share."""

    def __init__(self, softmax: Softmax, first: bool):
        super().__init__()
        self.softmax, self.first = softmax, first

    @property
    def vectors(self) -> Tensor:
        """The softmax's."""
        return self.softmax.vectors

    @property
    def bias(self) -> nn.Parameter | None:  # type: ignore[override]
        """The softmax's."""
        return self.softmax.bias

    def said(self, states_MD: Tensor) -> Tensor:
        """[M, D] to [M, E]."""
        return states_MD.chunk(2, -1)[0 if self.first else 1]


class DecoderLMHead(VocabularyHead):
    """The next token from a decoder's state (Vaswani 2017, §3.4). T5's states are divided by the width's root.

    BART's code has no bias here, but Hugging Face's a place for one, which is learned here.
    """

    def __init__(self, sizes: Sizes):
        super().__init__(sizes, sizes.bias, sizes.width**-0.5)
        self.scale = sizes.width**-0.5 if sizes.embedding_scale == "output" else 1.0

    def said(self, states_MD: Tensor) -> Tensor:
        """[M, D], scaled."""
        return states_MD if self.scale == 1 else states_MD * self.scale


class SpanBoundaryHead(VocabularyHead):
    """A token from the states on either side of its span and its place there: two layers with GELU and norm, and the
    vocabulary (Joshi 2019, SpanBERT, 1907.10529, §3.2). B widths of places."""

    def __init__(self, sizes: Sizes, places: int, place_width: int):
        super().__init__(sizes)
        self.places = nn.Embedding(places, place_width)
        nn.init.normal_(self.places.weight, std=0.02)
        self.into = nn.Linear(2 * sizes.width + place_width, sizes.width, bias=sizes.bias)
        self.into_norm = LayerNorm(sizes.width, sizes.norm_eps, bias=sizes.bias)
        self.dense = nn.Linear(sizes.width, sizes.token_width, bias=sizes.bias)
        self.norm = LayerNorm(sizes.token_width, sizes.norm_eps, bias=sizes.bias)

    def said(self, borders_M2D: Tensor, places_M: Tensor) -> Tensor:
        """States before and after the span [M, 2, D], places in it [M] to [M, E]."""
        asked = torch.cat([borders_M2D.flatten(1), self.places(places_M)], -1)
        inner = self.into_norm(F.gelu(self.into(asked)))
        said: Tensor = self.norm(F.gelu(self.dense(inner)))
        return said


class ReplacedTokenHead(nn.Module):
    """Dense, GELU and one number: how much likelier a token was replaced than not (Clark 2020, ELECTRA, §2)."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.dense = nn.Linear(sizes.width, sizes.width)
        self.choice = nn.Linear(sizes.width, 1)

    def forward(self, states_MD: Tensor) -> Tensor:
        """[M, D] to logits [M, 2] of staying and of being replaced: the first is 0, their softmax a sigmoid."""
        replaced_M1 = self.choice(F.gelu(self.dense(states_MD)))
        return torch.cat([torch.zeros_like(replaced_M1), replaced_M1], -1)


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
