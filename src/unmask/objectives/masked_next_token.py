"""Masked next-token prediction (Charpentier 2024, GPT-BERT, 2410.24159): one model reads from the left and from both.

A state says what the next token is, whether that is hidden because it comes later or because it is masked: what stands
at place i is asked for at place i - 1, and so one head answers in both modes. T tokens, N sequences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.corruption import masking
from unmask.text.corruption.next_tokens import next_tokens
from unmask.text.example import Example, Targets

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.losses import Loss
    from unmask.nn.network import Network
    from unmask.text.tokens.tokenizer import Tokenizer


class MaskedNextToken(Objective):
    """Predict hidden tokens from both sides, or the next one from the left, each at the place before it (GPT-BERT).

    Both modes have one head, and count by their shares of the sequences however many tokens each asks for.
    """

    one_sided: ClassVar[bool] = True

    causal: float = Field(1 / 16, gt=0, lt=1, description="Share of sequences that are read from the left, unmasked")
    rate: float = Field(0.3, gt=0, lt=1, description="Share of the others' tokens that are hidden, in short spans")
    last_rate: float | None = Field(
        0.15, gt=0, lt=1, description="The rate at the end of the training, reached in a straight line; none: it stays"
    )
    mask: float = Field(0.8, ge=0, le=1, description="Share of these that become the mask token")
    random: float = Field(0.1, ge=0, le=1, description="Share of these that become a random token; the rest is kept")

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        masking.refuse_shares(self.mask, self.random)
        return self

    def at(self, done: float) -> Self:
        """With the rate of that time."""
        return self.model_copy(update={"rate": masking.rate_at(self.rate, self.last_rate, done)})

    def beside(self, others: Mapping[str, Objective]) -> None:
        """What asks about a whole text asks what a token that is read from the left could not know."""
        if other := next((name for name in others if name != "masked_next_token"), None):
            raise ValueError(f"masked_next_token reads some texts from the left, {other} from both sides; give one")

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Draw a mode for each sequence. Those that are masked are seen from both sides, the others from the left."""
        stream = example.streams["encoder"]
        assert stream.units is not None
        causal = (chance.sequences("read from the left") < self.causal)[stream.sequence]  # [T]
        masked, hidden = masking.mask_tokens(
            replace(stream, units=np.where(causal, -1, stream.units)),
            tokenizer, chance, self.rate, self.mask, self.random, unit="short_span",
        )  # fmt: skip
        order = np.where(causal, stream.position, 0)
        index = next_tokens(stream, tokenizer)
        index = index[causal[index]]
        return example.with_stream(replace(masked, units=stream.units, order=order)).with_targets(
            masked_next_token=replace(hidden, index=hidden.index - 1),
            next_token=Targets(index - 1, stream.tokens[index].astype(np.int64)),
        )

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The vocabulary head of masked_lm."""
        from unmask.nn.heads import MaskedLMHead

        return {"masked_next_token": MaskedLMHead(shape)}

    def loss(self, net: Network, batch: Batch) -> dict[str, Loss]:
        """One head answers in both modes."""
        return {mode: net.loss(batch, mode, "masked_next_token") for mode in ("masked_next_token", "next_token")}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("masked_next_token",)

    def weights(self) -> dict[str, float]:
        """As the modes are mixed."""
        return {"masked_next_token": self.weight * (1 - self.causal), "next_token": self.weight * self.causal}

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Among how many tokens it hesitates when it reads from the left, as if all were equally likely."""
        return {"perplexity": math.exp(means["loss/next_token"])} if "loss/next_token" in means else {}
