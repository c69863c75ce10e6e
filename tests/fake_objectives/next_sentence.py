from pydantic import Field

from unmask.config import Config


class NextSentence(Config):
    """Tell whether B follows A (Devlin 2018)."""

    weight: float = Field(1.0, gt=0, description="Weight in the sum")
