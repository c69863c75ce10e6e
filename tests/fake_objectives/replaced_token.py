from pydantic import Field

from unmask.config import Config


class ReplacedToken(Config):
    """Find replaced tokens (Clark 2020)."""

    weight: float = Field(50.0, gt=0, description="Weight in the sum")
    generator_size: float = Field(0.25, gt=0, le=1, description="Width of the generator, as a share")
