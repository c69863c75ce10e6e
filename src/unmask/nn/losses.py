"""A loss leaves as a sum and a count, so that its mean can be taken over all ranks and accumulation steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.nn.even import missing

_PIECE = 1024  # rows of logits that stand in memory together
_NUMBERS = 1 << 20  # of logits that stay in the caches together


@dataclass
class Loss:
    """What M answers cost together."""

    total: Tensor  # scalar float32, the sum
    count: int
    correct: Tensor | None = None  # scalar, how many were right; counted when not training
    figures: dict[str, tuple[Tensor, int]] = field(default_factory=dict)  # further sums and counts, when not training


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None, costs: Tensor | None = None) -> Loss:
    """Logits [M, C] against labels [M], or [M, C] floats in [0, 1] where several labels may hold.

    Args:
        logits: what was said; the rows that make M even (see `nn.even`) are nobody's, and get a gradient of zero.
        labels: what is right.
        weights: [C] what each label counts, if not 1.
        costs: [M] what each answer counts, if not 1; for labels [M].

    Raises:
        ValueError: there are fewer or more rows than that.
    """
    _check(logits, labels)
    said = logits[: len(labels)]
    if labels.is_floating_point():
        # the mean over C labels is one answer's loss
        total = F.binary_cross_entropy_with_logits(
            said.float(), labels, pos_weight=weights, reduction="none"
        ).mean(-1).sum()  # fmt: skip
    elif weights is None and logits.device.type == "cpu" and logits.requires_grad:
        total = _CrossEntropy.apply(logits, labels, costs)  # type: ignore[no-untyped-call]
    elif costs is not None:
        total = (F.cross_entropy(said.float(), labels, weight=weights, reduction="none") * costs).sum()
    else:
        total = F.cross_entropy(said.float(), labels, weight=weights, reduction="sum")
    return Loss(total, len(labels), None if torch.is_grad_enabled() else _correct(said, labels))


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        return ((logits > 0) == (labels > 0.5)).all(-1).sum()
    # to find the largest is ten times as fast as to find where it stands, which is asked only where it may be the label
    maybe = logits.gather(1, labels[:, None])[:, 0] == logits.amax(-1)
    return (logits[maybe].argmax(-1) == labels[maybe]).sum()


def token_cross_entropy(
    said: Tensor, vectors: Tensor, bias: Tensor | None, labels: Tensor, costs: Tensor | None = None
) -> Loss:
    """`cross_entropy` of the logits ``said @ vectors.T + bias``.

    In training on a processor a piece of them at a time stands in memory, then its gradient in its place, and what
    follows from that; all of a decoder's would be most of what a step holds.

    Args:
        said: [M, E], what is compared with each token's vector.
        vectors: [V, E].
        bias: [V], of each token; None: none.
        labels: [M] the right tokens.
        costs: [M] what each answer counts, if not 1.
    """
    _check(said, labels)
    if not torch.is_grad_enabled():
        return _piecewise(said, vectors, bias, labels, costs)
    if said.device.type == "cpu" and (said.requires_grad or vectors.requires_grad):
        total = _TokenCrossEntropy.apply(said, vectors, bias, labels, costs)  # type: ignore[no-untyped-call]
        return Loss(total, len(labels))
    return cross_entropy(F.linear(said, vectors, bias), labels, costs=costs)


def _piecewise(said: Tensor, vectors: Tensor, bias: Tensor | None, labels: Tensor, costs: Tensor | None) -> Loss:
    """The same, and what is correct, where no gradient is asked for."""
    total, correct = torch.zeros((), device=said.device), torch.zeros((), dtype=torch.int64, device=said.device)
    for start in range(0, len(labels), _PIECE):
        rows = slice(start, start + _PIECE)
        their, logits = labels[rows], F.linear(said[rows], vectors, bias)
        loss = cross_entropy(logits[: len(their)], their, costs=None if costs is None else costs[rows])
        assert loss.correct is not None
        total, correct = total + loss.total, correct + loss.correct
    return Loss(total, len(labels), correct)


def _check(rows: Tensor, labels: Tensor) -> None:
    if len(rows) - len(labels) not in (0, missing(len(labels))):
        raise ValueError(f"{len(rows)} rows of logits for {len(labels)} labels")


class _CrossEntropy(torch.autograd.Function):
    """The sum of M cross-entropies, and their gradient with it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, costs: Tensor | None) -> Tensor:
        gradient = torch.empty_like(logits)
        total, _ = _descend(logits, None, labels, costs, gradient)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (of_sum,) = ctx.saved_tensors
        # scaled where it lies; should it be asked for again, autograd sees that it was changed and says so
        return of_sum.mul_(gradient), None, None


class _TokenCrossEntropy(torch.autograd.Function):
    """The same from what the logits are made of. A piece of them stands in memory at a time: gradients come with it."""

    @staticmethod
    def forward(
        ctx: Any, said: Tensor, vectors: Tensor, bias: Tensor | None, labels: Tensor, costs: Tensor | None
    ) -> Tensor:
        asks_said, asks_vectors, asks_bias = ctx.needs_input_grad[:3]
        of_said = torch.zeros_like(said) if asks_said else None
        of_vectors = torch.zeros_like(vectors) if asks_vectors else None
        of_bias = None if bias is None or not asks_bias else torch.zeros_like(bias)
        total = torch.zeros((), dtype=torch.float32)
        for start in range(0, len(said), _PIECE):
            rows = slice(start, start + _PIECE)
            logits = F.linear(said[rows], vectors)
            lost, by_bias = _descend(logits, bias, labels[rows], None if costs is None else costs[rows], logits)
            total += lost
            if of_said is not None:
                of_said[rows] = logits @ vectors
            if of_vectors is not None:
                of_vectors = _added(of_vectors, logits.T @ said[rows], start)
            if of_bias is not None and by_bias is not None:
                of_bias = _added(of_bias, by_bias, start)
        ctx.save_for_backward(of_said, of_vectors, of_bias)
        ctx.dtype = said.dtype
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found = (None if x is None else (x * gradient).to(ctx.dtype) for x in ctx.saved_tensors)
        return (*found, None, None)


def _added(total: Tensor, piece: Tensor, start: int) -> Tensor:
    """The sum of all pieces up to this one, in float32 where there are several."""
    return piece if not start else total.float().add_(piece)


def _descend(
    logits: Tensor, bias: Tensor | None, labels: Tensor, costs: Tensor | None, gradient: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The sum of M cross-entropies, and the gradient of it by the bias; that by the logits is written to ``gradient``.

    It goes a few rows at a time: M rows of a whole vocabulary in float32 leave the processor's caches, and every
    operation on them waits for the memory. Logits and gradient, which may be one tensor, keep the form they come in;
    what is computed between them is float32.
    """
    total = torch.zeros((), dtype=torch.float32)
    added = None if bias is None else bias.float()
    of_bias = None if added is None else torch.zeros_like(added)
    rows = min(len(labels), max(1, _NUMBERS // max(1, logits.shape[1])))
    place = torch.empty(rows, logits.shape[1])  # the same for all, which stays in the caches
    gradient[len(labels) :] = 0
    for start in range(0, len(labels), max(1, rows)):
        their = labels[start : start + rows]
        some = place[: len(their)].copy_(logits[start : start + len(their)])
        some = some if added is None else some.add_(added)
        right, largest = some.gather(1, their[:, None])[:, 0], some.amax(-1)
        probabilities = torch.softmax(some, -1, out=some)
        # the largest probability is at least 1/C, so that its logarithm is exact where others' would not be
        losses = largest - probabilities.amax(-1).log() - right
        probabilities[torch.arange(len(their)), their] -= 1
        if costs is not None:
            counts = costs[start : start + rows]
            losses, probabilities = losses * counts, probabilities.mul_(counts[:, None])
        total += losses.sum()
        if of_bias is not None:
            of_bias += probabilities.sum(0)
        gradient[start : start + len(their)] = probabilities
    return total, of_bias
