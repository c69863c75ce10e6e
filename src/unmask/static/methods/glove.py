"""GloVe (Pennington 2014, D14-1162): products of vectors are logarithms of how often words stand near each other.

P pairs that occur, B in a batch, V vocabulary, D size, E = D + 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from unmask.errors import UserError
from unmask.static.counting import Pairs, pairs, vocabulary
from unmask.static.methods.base import Learned, Method, Sentences, Told
from unmask.static.vectors import WordVectors
from unmask.text.chance import generator, permutation

if TYPE_CHECKING:
    from torch import Tensor

BATCH, STEPS = 32_768, 100  # pairs in a batch at most, batches in a pass at least


class Glove(Method):
    """Products of vectors that are the logarithms of co-occurrence counts (Pennington 2014, D14-1162)."""

    window: int = Field(10, ge=1, description="Words to either side that are near; one d words away counts 1/d")
    epochs: int = Field(50, ge=1, description="Passes over the pairs of words that occur")
    x_max: float = Field(100.0, gt=0, description="Counts from here on weigh alike")
    alpha: float = Field(0.75, gt=0, description="Rarer pairs weigh (count / x_max) to the power of this")
    lr: float = Field(0.05, gt=0, description="AdaGrad's learning rate")

    def learn(self, sentences: Sentences, seed: int, workers: int, told: Told) -> Learned:
        """Count, then fit. A word's vector is the sum of its two, as a word and as a neighbour."""
        words = vocabulary(sentences, self.min_count)
        if not words:
            raise self.no_words()
        fit = Fit.begin(self, pairs(sentences, words, self.window), len(words), seed)
        losses = []
        for epoch in range(self.epochs):
            losses.append(fit.epoch(epoch))
            if not math.isfinite(losses[-1]):
                raise UserError(
                    f"--method.lr {self.lr}: the loss of pass {epoch + 1} is no number; a lower one would fit"
                )
            told(epoch + 1, losses[-1])
        both = fit.words.values + fit.neighbours.values
        return Learned(WordVectors(words, both[:, :-2].numpy()), losses)


@dataclass
class Moving:
    """Rows that AdaGrad moves (Duchi 2011). As in the release, what is squared and added up holds the rate."""

    values: Tensor  # [V, E]
    fixed: int  # the column that stays
    squares: Tensor  # [V, E]

    @classmethod
    def of(cls, values: Tensor, fixed: int) -> Moving:
        """Begin with squares of 1, so that the first steps are as long as the rate says."""
        values[:, fixed] = 1
        return cls(values, fixed, values.new_ones(values.shape))

    def move(self, rows: Tensor, pulls: Tensor, x: Tensor) -> None:
        """Move each row that is met against the sum of pulls [B] times x [B, E] over the places where it is."""
        import torch
        from torch.nn import functional as F

        rows, order = rows.sort(stable=True)
        met, counts = torch.unique_consecutive(rows, return_counts=True)
        by = F.embedding_bag(order, x, counts.cumsum(0) - counts, mode="sum", per_sample_weights=pulls[order])
        by[:, self.fixed] = 0
        squares = self.squares.index_select(0, met).addcmul_(by, by)
        self.squares.index_copy_(0, met, squares)
        self.values.index_copy_(0, met, self.values.index_select(0, met).addcdiv_(by, squares.sqrt_(), value=-1))


@dataclass
class Fit:
    """A model of counts. A word is [vector, bias, 1] and a neighbour [vector, 1, bias], so that their product holds
    both biases."""

    method: Glove
    rows: tuple[Tensor, Tensor]  # [P] each: the two words of a pair
    apart: Tensor  # the pairs of two different words: they are met both ways round
    logs: Tensor  # [P] the logarithm of its count
    weights: Tensor  # [P]
    words: Moving
    neighbours: Moving
    seed: int

    @classmethod
    def begin(cls, method: Glove, found: Pairs, words: int, seed: int) -> Fit:
        """Uniform in ±0.5 / (D + 1), as the release begins."""
        import torch

        draws = generator("glove", seed).random((2, words, method.size + 2), np.float32)
        ours, theirs = torch.from_numpy((draws - 0.5) / (method.size + 1))
        counts = torch.from_numpy(found.counts)
        weights = (counts / method.x_max).clamp(max=1) ** method.alpha
        rows = torch.from_numpy(found.first), torch.from_numpy(found.second)
        apart = torch.from_numpy(np.flatnonzero(found.first != found.second))
        sides = Moving.of(ours, fixed=-1), Moving.of(theirs, fixed=-2)
        return cls(method, rows, apart, counts.log(), weights, *sides, seed=seed)

    def epoch(self, number: int) -> float:
        """Meet every pair, in an order drawn for this pass. The mean of what `step` sums, while it falls."""
        import torch

        count, total = len(self.logs), 0.0
        order = torch.from_numpy(permutation(count + len(self.apart), "pairs", self.seed, number))
        for batch in torch.split(order, max(1, min(BATCH, len(order) // STEPS))):
            straight, turned = batch[batch < count], self.apart[batch[batch >= count] - count]
            word, neighbour = (
                torch.cat([rows.index_select(0, straight), others.index_select(0, turned)]).long()
                for rows, others in (self.rows, self.rows[::-1])
            )
            total += self.step(word, neighbour, torch.cat([straight, turned]))
        return total / max(1, len(order))

    def step(self, word: Tensor, neighbour: Tensor, pair: Tensor) -> float:
        """Meet a batch [B]. The sum of f(X) (w·w̃ + b + b̃ - log X)², against whose half's gradient is moved."""
        import torch

        w, c = self.words.values.index_select(0, word), self.neighbours.values.index_select(0, neighbour)
        off = torch.linalg.vecdot(w, c) - self.logs.index_select(0, pair)
        pull = self.weights.index_select(0, pair) * off
        loss = float((pull * off).sum())
        pull *= self.method.lr
        self.words.move(word, pull, c)
        self.neighbours.move(neighbour, pull, w)
        return loss
