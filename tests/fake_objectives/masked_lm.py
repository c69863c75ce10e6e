from pydantic import Field

from unmask.config import Config


class MaskedLM(Config):
    """Predict hidden tokens (Devlin 2018)."""

    rate: float = Field(0.15, gt=0, le=1, description="Share of the tokens that is hidden")
    weight: float = Field(1.0, gt=0, description="Weight in the sum")
    whole_words: bool = Field(False, description="Hide whole words")
