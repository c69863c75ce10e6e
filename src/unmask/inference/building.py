"""A network for what it is asked: a backbone, its companions, heads."""

from __future__ import annotations

from collections.abc import Iterable

from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.network import Network
from unmask.objectives.base import Objective


def network_of(shape: Shape, objectives: Iterable[Objective]) -> Network:
    """A network that these objectives can ask, with fresh weights: torch's seed decides them."""
    asked = list(objectives)
    heads = {name: head for objective in asked for name, head in objective.heads(shape).items()}
    companions = {name: other for objective in asked for name, other in objective.companions(shape).items()}
    backbone = backbone_of(shape)
    sharing = [name for objective in asked for name in objective.sharing]
    return Network(backbone, heads, {name: backbone_of(other) for name, other in companions.items()}, sharing)


def alone(network: Network) -> Network:
    """The same without what was trained beside the model, and the heads that ask it: they have its name."""
    heads = {name: head for name, head in network.heads.items() if name not in network.companions}
    return Network(network.backbone, heads)
