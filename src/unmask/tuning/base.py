"""What a way of tuning decides: which parameters of a pre-trained network move."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from unmask.config import Config

if TYPE_CHECKING:
    from unmask.models.shape import Shape
    from unmask.nn.network import Network


class Tuning(Config):
    """A way of tuning. The heads of the task always train."""

    cached: ClassVar[bool] = False
    "Whether nothing of the backbone moves, so that its states need to be computed only once."

    def fit(self, shape: Shape) -> None:
        """Refuse a shape that this cannot tune, with a `UserError`."""

    def trains(self, name: str) -> bool:
        """Whether the parameter of the network with this name moves."""
        raise NotImplementedError

    def prepare(self, network: Network) -> None:
        """Hold still what does not move. Where nothing below moves, the backward pass stops."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith("heads.") or self.trains(name))
