"""Contrastive learning of sentences (Gao 2021, SimCSE, 2104.08821, §3): which one is the same sentence again?

The sentence is read twice, under two dropout masks, and dropout is all that tells the copies apart. N sentences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.example import Example, Targets
from unmask.text.ranges import table
from unmask.text.sampling import sequences

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.losses import Loss
    from unmask.nn.network import Network
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer


class Contrastive(Objective):
    """Find a sentence's copy under another dropout among other sentences (SimCSE, unsupervised).

    Held-out figures are taken with dropout too: beside loss and accuracy the alignment of the copies and the uniformity
    of all sentences (Wang 2020, 2005.10242), both the better the lower, of the states of the first tokens.
    """

    input_formats: ClassVar[tuple[str, ...]] = ("single_sentences",)

    temperature: float = Field(0.05, ge=1e-3, description="What cosines are divided by")
    group: int = Field(
        64,
        ge=2,
        description="About how many sentences a copy is looked for among, at most those of a batch; the paper's "
        "batch size",
    )
    dropout: float | None = Field(
        None, gt=0, lt=1, description="The model's dropout from now on, for a --base that has none; none: as it is"
    )

    @property
    def together(self) -> int:
        """A group's sentences are each other's wrong answers."""
        return self.group

    def beside(self, others: Mapping[str, Objective]) -> None:
        """It reads each sentence twice and as it stands."""
        if len(others) > 1:
            raise ValueError("contrastive reads each sentence twice, with nothing hidden; give it alone")

    def model(self, shape: Shape) -> Shape:
        """With the dropout that was asked for."""
        return shape if self.dropout is None else shape.model_copy(update={"dropout": self.dropout})

    def suits(self, shape: Shape) -> None:
        """Without dropout both copies are the same."""
        if not shape.dropout and not shape.attention_dropout:
            raise ValueError(
                "contrastive tells a sentence's two copies apart by dropout, and this model has none; "
                "--model.dropout 0.1 would fit, or with --base --objective.contrastive.dropout 0.1"
            )

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Each sentence twice, one copy after the other; offered are the second copies of its group."""
        twice = slots.text.pick(np.repeat(np.arange(len(slots.lengths)), 2))
        stream = sequences.alone(twice, tokenizer)
        first, size = np.unique(slots.groups, return_index=True, return_counts=True)[1:]
        own = np.repeat(np.arange(len(first)), size)  # [N] the group of each sentence
        answer = np.arange(len(own)) - first[own]
        targets = Targets(stream.starts.reshape(-1, 2), answer, places=table(first, size)[own])
        return Example({"encoder": stream}, {"contrastive": targets}, np.repeat(slots.document, 2))

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """Dense and tanh, while learning; what is used afterwards is the state before it, as in the paper."""
        from unmask.nn.choosing import CopyHead

        return {"contrastive": CopyHead(shape, self.temperature)}

    def loss(self, net: Network, batch: Batch) -> dict[str, Loss]:
        """With dropout even where nothing is learned, and then with what describes the vectors."""
        from unmask.nn.choosing import alignment, closeness
        from unmask.nn.network import dropping

        if net.training:
            return super().loss(net, batch)
        with dropping(net):
            losses = super().loss(net, batch)
        places = batch.targets["contrastive"].places
        assert places is not None
        copies = net.states_at(batch, "contrastive")  # [N, 2, D]
        pairs = closeness(copies[:, 0], places)
        losses["contrastive"].figures.update(alignment=(alignment(copies), len(copies)), uniformity=pairs)
        return losses

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Uniformity is the logarithm of a mean."""
        name = "uniformity/contrastive"
        return {name: math.log(means[name])} if means.get(name) else {}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("contrastive",)
