"""Masked diffusion (Sahoo 2024, MDLM, 2406.07524, §3; Nie 2025, LLaDA, 2502.09992, §2.2): a masked LM that can write.

T tokens in all sequences together, N sequences, M answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.example import Example, Targets

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.tokens.tokenizer import Tokenizer

LEAST = 1e-3
"""Rates are drawn from here to 1, as in LLaDA's code: near 0 an answer would come once in a while and count for all."""


class MaskedDiffusion(Objective):
    """Predict tokens of which any share is hidden, few answers counting more; so a text can be written by unmasking.

    The mean loss of a token bounds its surprise, and so the perplexity, from above.
    """

    def beside(self, others: Mapping[str, Objective]) -> None:
        """Its loss is one of whole texts, of which nothing else may be hidden."""
        if other := next((name for name in others if name != "masked_diffusion"), None):
            raise ValueError(f"masked_diffusion weighs up whole texts, and {other} changes them; give one of them")

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Draw a rate for each sequence, hide each token with this probability, and count what is hidden 1 / rate.

        The sum is divided by all ordinary tokens: the mean of both sides over all rates is the bound.
        """
        stream = example.streams["encoder"]
        assert stream.units is not None
        ordinary = stream.units >= 0  # [T]
        rates = LEAST + (1 - LEAST) * chance.sequences("masked_diffusion")[stream.sequence]  # [T]
        index = np.flatnonzero(ordinary & (chance.tokens(stream.lengths, "masked_diffusion") < rates))
        tokens = stream.tokens.copy()
        tokens[index] = tokenizer.mask
        asked = Targets(index, stream.tokens[index].astype(np.int64), costs=1 / rates[index], among=int(ordinary.sum()))
        return example.with_stream(replace(stream, tokens=tokens)).with_targets(masked_lm=asked)

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The vocabulary head of masked_lm."""
        from unmask.nn.heads import masked_lm_head

        return {"masked_lm": masked_lm_head(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("masked_lm",)

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """No more than among so many tokens it hesitates, as if all were equally likely."""
        return {"perplexity_at_most": math.exp(means["loss/masked_lm"])} if "loss/masked_lm" in means else {}
