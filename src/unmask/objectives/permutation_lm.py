"""Permutation language modelling (Yang 2019, XLNet, 1906.08237): a token from those before it in an order by chance.

N sequences, M targets.

**Memory.** In the paper a step's rows go on in the text where those of the step before ended, and the states of these
are the memory: of weights one step old, and different if a run is cut into other steps or spread over other machines.
Here the batch of a step is a function of the corpus and the step alone, and so must be what it looks back on. The
text beside a sequence in its document is therefore read in the same step, by the same weights, from both sides and
without gradient, and its states are the memory. That makes a step longer by about a half at 0.75; it reaches one
segment far; and a run that goes on after a kill, or on other machines, is the same run. For half of the sequences
the memory stands before, for half after, as in the paper's two directions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.corruption import permutation
from unmask.text.example import Example, Targets
from unmask.text.sampling.sequences import single, with_text_beside

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer


class PermutationLM(Objective):
    """Predict tokens in an order drawn by chance, each from those before it in that order, without masks (XLNet)."""

    flows: ClassVar[tuple[str, ...]] = ("xlnet",)

    k: int = Field(
        6, ge=2, le=10_000, description="One in so many tokens is predicted; the others come first in the order"
    )
    longest: int = Field(
        5, ge=1, le=1000, description="Words of a predicted span at most; n words in proportion to 1/n"
    )
    memory: float = Field(
        0.75,
        ge=0,
        le=10,
        description="Text beside a sequence in its document that it can look at, before or after it, as a share of its "
        "length; 0: none (the paper's 384 of 512)",
    )

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """One sequence a slot, and what stands before it in its document, or after it."""
        after = chance.sequences("memory after") < 0.5
        return with_text_beside(single(slots, tokenizer, chance), slots, after, self.memory)

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Draw what is predicted and in which order, and ask for it. Nothing is hidden but by the order."""
        stream = example.streams["encoder"]
        assert stream.units is not None
        bits = chance.bits(stream.lengths, "permutation_lm")
        index = permutation.choose_in_context(stream.units, bits, self.k, self.longest)
        marks = np.isin(stream.tokens, (tokenizer.cls, tokenizer.sep))
        numbers = chance.bits(stream.lengths, "factorisation order")
        stream = replace(stream, order=permutation.factorisation_order(stream, index, marks, numbers))
        asked = Targets(np.arange(len(index)), stream.tokens[index].astype(np.int64), "query")
        example = example.with_stream(stream).with_stream(permutation.queries(stream, index, tokenizer.mask), "query")
        return example.with_targets(permutation_lm=asked)

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The vocabulary alone."""
        from unmask.nn.heads import PermutationLMHead

        return {"permutation_lm": PermutationLMHead(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("permutation_lm",)
