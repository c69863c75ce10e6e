"""Causal language modelling (Radford 2018, GPT; Radford 2019, GPT-2): what comes next?

N sequences.

**Memory.** Transformer-XL (Dai 2019, 1901.02860) looks back on the states of the segment before, which in the paper was
read in the step before, by weights one step old. Here a step is a function of the corpus and its number alone, so the
text before a sequence in its document is read anew, by the same weights and without gradient, as permutation_lm has it
and says why. A step takes longer for it, and reaches one segment far; where a model is used (`unmask evaluate`), states
are carried from segment to segment and reach as far as the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from unmask.objectives._from_left import FromLeft
from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.example import Example
from unmask.text.sampling.sequences import single, with_text_beside

if TYPE_CHECKING:
    from unmask.models.shape import Shape
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer


class CausalLM(FromLeft):
    """Predict the next token from those before it (GPT). Its model sees nothing that comes after, in any use."""

    memory: float | None = Field(
        None,
        ge=0,
        le=10,
        description="Text before a sequence in its document that a transformer_xl looks back on, as a share of its "
        "length; 0: none; where nothing is said: 1 for a transformer_xl (as in the paper), none for others",
    )

    def beside(self, others: Mapping[str, Objective]) -> None:
        """What hides tokens hides them from those that come after, and asks what the model could not know."""
        if other := next((name for name in others if name != "causal_lm"), None):
            raise ValueError(f"causal_lm reads all of a text from the left, {other} from both sides; give one of them")

    def suits(self, shape: Shape) -> None:
        """A memory is for models that have one."""
        super().suits(shape)
        if self.memory and shape.flow != "transformer_xl":
            raise ValueError(f"memory {self.memory}: only a transformer_xl looks back on one; leave it out")

    def asked_of(self, shape: Shape) -> Self:
        """With the memory that this model has if nothing is said."""
        usual = 1.0 if shape.flow == "transformer_xl" else 0.0
        return self if self.memory is not None else self.model_copy(update={"memory": usual})

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """One sequence a slot, and what stands before it in its document.

        A sequence that goes on from a memory begins without [CLS]: so do segments where the model is used.
        """
        example = single(slots, tokenizer, chance)
        if not self.memory:
            return example
        example = with_text_beside(example, slots, np.zeros(len(slots.lengths), bool), self.memory)
        if "memory" not in example.streams or not tokenizer.opens:
            return example
        stream, begins = example.streams["encoder"], example.streams["memory"].lengths == 0
        kept = np.ones(len(stream.tokens), bool)
        kept[stream.starts] = begins
        return example.with_stream(stream.pick(np.flatnonzero(kept)))
