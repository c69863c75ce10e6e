"""The span-boundary objective (Joshi 2019, SpanBERT, 1907.10529, §3.2): a hidden span, from its two neighbours alone.

M answers, S spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from unmask.objectives.base import Objective
from unmask.objectives.masked_lm import MaskedLM
from unmask.text.chance import Chance
from unmask.text.example import Example, Targets

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.tokens.tokenizer import Tokenizer


class SpanBoundary(Objective):
    """Predict each token of a hidden span from the two tokens beside the span and its place (SpanBERT)."""

    follows: ClassVar[tuple[str, ...]] = ("masked_lm",)
    needs: ClassVar[Mapping[str, Mapping[str, Any]]] = {"masked_lm": {"unit": "span"}}

    places: int = Field(
        20, ge=1, le=10_000, description="Tokens of a span that are asked for at most; SpanBERT's release has 20"
    )
    place_width: int = Field(200, ge=1, le=10_000, description="Width of a place's embedding")

    def beside(self, others: Mapping[str, Objective]) -> None:
        """Spans are those of masked_lm."""
        masked = others.get("masked_lm")
        if not isinstance(masked, MaskedLM) or masked.unit != "span":
            raise ValueError(
                "span_boundary asks for the spans that masked_lm hides; "
                "--objective masked_lm,span_boundary --objective.masked_lm.unit span would fit"
            )

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Ask again for what masked_lm hid. Nothing more is hidden."""
        hidden = example.targets["masked_lm"]
        first = np.flatnonzero(np.diff(hidden.index, prepend=-2) != 1)  # [S]
        sizes = np.diff(first, append=len(hidden.index))
        places = np.arange(len(hidden.index)) - np.repeat(first, sizes)
        before = np.repeat(hidden.index[first] - 1, sizes)
        beside = np.stack([before, before + np.repeat(sizes, sizes) + 1], axis=1)
        asked = places < self.places
        targets = Targets(beside[asked], hidden.labels[asked], places=places[asked])
        return example.with_targets(span_boundary=targets)

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """Two layers and the vocabulary."""
        from unmask.nn.heads import SpanBoundaryHead

        return {"span_boundary": SpanBoundaryHead(shape, self.places, self.place_width)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("span_boundary",)
