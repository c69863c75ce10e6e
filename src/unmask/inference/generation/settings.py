"""How a text is written. Reads without torch."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from unmask.config import Config

OF_DRAWING = ("temperature", "top_k", "top_p", "seed")


class Generation(Config):
    """Which of the tokens that a model offers are taken: the likeliest, unless beams or chance are asked for."""

    max_new_tokens: int = Field(64, ge=1, description="Tokens that are written at most")
    beams: int = Field(
        1, ge=1, le=64, description="Texts that are carried on side by side, of which the likeliest is given"
    )
    length_penalty: float = Field(
        1.0, ge=-10, le=10, description="Beams are compared by their log-probability over their length to this power"
    )
    sample: bool = Field(False, description="Draw each token by its probability")
    temperature: float = Field(1.0, ge=1e-6, description="What scores are divided by before a token is drawn")
    top_k: int | None = Field(None, ge=1, description="Draw among so many of the likeliest tokens; none: all")
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Draw among the fewest tokens that have this probability together (Holtzman 2019, 1904.09751)",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of what is drawn")
    steps: int | None = Field(
        None, ge=1, description="How often a text is read while its masks are filled, by masked LMs; none: once a mask"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sample and self.beams > 1:
            raise ValueError("beams are the likeliest texts and sample draws one; give one of them")
        if not self.sample and (drawing := next((name for name in OF_DRAWING if name in self.model_fields_set), None)):
            raise ValueError(f"{drawing} is of what is drawn; sample would fit with it")
        if self.beams == 1 and "length_penalty" in self.model_fields_set:
            raise ValueError("length_penalty compares beams; beams 4 would fit with it")
        return self
