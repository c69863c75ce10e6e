"""The embeddings and the first layers stay as they are (Lee 2019, 1911.03090)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from unmask.errors import UserError
from unmask.tuning.base import Tuning

if TYPE_CHECKING:
    from unmask.models.shape import Shape

FIRST = "backbone.embeddings."
BLOCKS = "backbone.blocks."


class FreezeFirst(Tuning):
    """Train all but the embeddings and the first n layers."""

    n: int = Field(ge=0, description="Layers that stay as they are, besides the embeddings")

    def fit(self, shape: Shape) -> None:
        """Refuse more layers than there are, and some of those that are one."""
        if self.n > shape.layers:
            raise UserError(f"--tuning.n {self.n}: the model has {shape.layers} layers; 0 to {shape.layers} would fit")
        if 0 < self.n < shape.layers and shape.layer_sharing != "none":
            raise UserError(
                f"--tuning.n {self.n}: the layers have weights in common; 0 or {shape.layers}, all, would fit"
            )

    def trains(self, name: str) -> bool:
        """Whether it belongs to a later layer."""
        if name.startswith(BLOCKS):
            return int(name.removeprefix(BLOCKS).split(".")[0]) >= self.n
        return not name.startswith(FIRST)
