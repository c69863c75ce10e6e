"""Bidirectional language modelling (Peters 2018, ELMo): what comes next, and what came before?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.corruption.next_tokens import next_tokens
from unmask.text.example import Example, Targets

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.tokens.tokenizer import Tokenizer


class BidirectionalLM(Objective):
    """Predict each token from those before it and, apart from that, from those after it (ELMo, 1802.05365).

    Two models read towards each other and share embeddings and softmax, which is computed in full. The loss is the sum
    of both directions.
    """

    flows: ClassVar[tuple[str, ...]] = ("elmo",)

    def beside(self, others: Mapping[str, Objective]) -> None:
        """What hides tokens hides them from those that come after, and asks what the model could not know."""
        if other := next((name for name in others if name != "bidirectional_lm"), None):
            raise ValueError(f"bidirectional_lm reads all of a text, {other} hides some of it; give one of them")

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Nothing is hidden: every token is asked for at its neighbours, of which neither has read it."""
        stream = example.streams["encoder"]
        index = next_tokens(stream, tokenizer)
        labels = stream.tokens[index].astype(np.int64)
        return example.with_targets(forward_lm=Targets(index - 1, labels), backward_lm=Targets(index + 1, labels))

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """One softmax for both directions."""
        from unmask.nn.heads import OneWayLMHead, Softmax

        softmax = Softmax(shape)
        return {name: OneWayLMHead(softmax, first=name == "forward_lm") for name in self.answers()}

    def answers(self) -> tuple[str, ...]:
        """One head a direction."""
        return ("forward_lm", "backward_lm")

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Among how many tokens each direction hesitates, as if all were equally likely."""
        losses = {name: means[f"loss/{name}"] for name in self.answers() if f"loss/{name}" in means}
        return {f"perplexity/{name}": math.exp(loss) for name, loss in losses.items()}
