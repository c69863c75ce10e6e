"""What the objectives that read a text from the left have in common."""

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


class FromLeft(Objective):
    """Each token is asked for the next. The model sees nothing that comes after, in any use."""

    flows: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "transformer_xl")
    one_sided: ClassVar[bool] = True

    def model(self, shape: Shape) -> Shape:
        """The same model, each token of which sees itself and those before it."""
        return shape.model_copy(update={"causal": True})

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Nothing is hidden: every token asks for the one after it."""
        stream = example.streams["encoder"]
        index = next_tokens(stream, tokenizer)
        return example.with_targets(causal_lm=Targets(index - 1, stream.tokens[index].astype(np.int64)))

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The embeddings' matrix."""
        from unmask.nn.heads import causal_lm_head

        return {"causal_lm": causal_lm_head(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("causal_lm",)

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Among how many tokens it hesitates, as if all were equally likely."""
        return {"perplexity": math.exp(means["loss/causal_lm"])} if "loss/causal_lm" in means else {}
