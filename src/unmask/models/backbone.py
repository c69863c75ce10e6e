"""A shape's backbone: the file whose flow of data it has."""

from __future__ import annotations

from torch import nn

from unmask.models.encoder import Encoder
from unmask.models.encoder_decoder import EncoderDecoder
from unmask.models.gru import GRU
from unmask.models.shape import Shape

FLOWS: dict[str, type[nn.Module]] = {
    "encoder": Encoder,
    "decoder": Encoder,
    "encoder_decoder": EncoderDecoder,
    "gru": GRU,
}
"By `Shape.flow`."


def backbone_of(shape: Shape) -> nn.Module:
    """A backbone with fresh weights."""
    return FLOWS[shape.flow](shape)
