"""A shape's backbone: the file whose flow of data it has."""

from __future__ import annotations

from unmask.models.elmo import Elmo
from unmask.models.encoder import Encoder
from unmask.models.encoder_decoder import EncoderDecoder
from unmask.models.gru import GRU
from unmask.models.longformer import Longformer
from unmask.models.mobilebert import MobileBERT
from unmask.models.reformer import Reformer
from unmask.models.shape import Shape
from unmask.models.transformer_xl import TransformerXL
from unmask.models.xlnet import XLNet
from unmask.nn.network import Backbone

FLOWS: dict[str, type[Backbone]] = {
    "encoder": Encoder,
    "decoder": Encoder,
    "encoder_decoder": EncoderDecoder,
    "gru": GRU,
    "xlnet": XLNet,
    "transformer_xl": TransformerXL,
    "elmo": Elmo,
}
"By `Shape.flow`."
OF_FAMILIES: dict[str, type[Backbone]] = {"longformer": Longformer, "mobilebert": MobileBERT, "reformer": Reformer}
"Files of families that can be asked what others of their flow can."


def backbone_of(shape: Shape) -> Backbone:
    """A backbone with fresh weights."""
    return OF_FAMILIES.get(shape.family, FLOWS[shape.flow])(shape)
