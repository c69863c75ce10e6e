"""A network for what it is asked: a backbone, its companions, heads."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.characters import CharCNN
from unmask.nn.glyphs import GlyphCNN
from unmask.nn.network import Network
from unmask.nn.ngrams import NgramBag
from unmask.objectives.base import Objective
from unmask.text.tokens.glyphs import Glyphs, drawn
from unmask.text.tokens.ngrams import of_vocabulary
from unmask.text.tokens.spelling import EMPTY, letters
from unmask.text.tokens.tokenizer import Tokenizer


def network_of(shape: Shape, objectives: Iterable[Objective]) -> Network:
    """A network that these objectives can ask, with fresh weights: torch's seed decides them."""
    asked = list(objectives)
    heads = {name: head for objective in asked for name, head in objective.heads(shape).items()}
    companions = {name: other for objective in asked for name, other in objective.companions(shape).items()}
    backbone = backbone_of(shape)
    sharing = [name for objective in asked for name in objective.sharing]
    differing = next((objective.differing for objective in asked if objective.differing), None)
    others = {name: backbone_of(other) for name, other in companions.items()}
    network = Network(backbone, heads, others, sharing, differing)
    begin_alike(network)
    return network


def spell(network: Network, tokenizer: Tokenizer, glyphs: Glyphs | None = None) -> None:
    """Tell parts that read letters how the tokens are written: done wherever a network meets its tokenizer.

    Args:
        network: whose parts.
        tokenizer: whose tokens.
        glyphs: the images that parts read; none: they are drawn, where there are such parts.

    Raises:
        UserError: they cannot be drawn.
    """
    shape = network.backbone.shape
    for module in network.modules():
        if isinstance(module, CharCNN):
            module.spell(torch.from_numpy(letters(tokenizer)), EMPTY)
        if isinstance(module, GlyphCNN):
            glyphs = glyphs or drawn(tokenizer, shape.font, shape.glyph_size)
            module.spell(torch.from_numpy(glyphs.tokens), torch.from_numpy(glyphs.images))
        if isinstance(module, NgramBag):
            module.spell(*map(torch.from_numpy, of_vocabulary(tokenizer, len(module.ngrams.weight))))


def begin_alike(network: Network) -> None:
    """Give companions of the model's own shape its weights: two encoders of sentences (quick-thoughts) that begin apart
    have to find a common language first. Those with which it shares embeddings (generators) have that in common."""
    for name, other in network.companions.items():
        if name not in (*network.sharing, network.differing) and other.shape == network.backbone.shape:
            other.load_state_dict(network.backbone.state_dict())


def alone(network: Network) -> Network:
    """The same without what was trained beside the model, and the heads that ask it: they have its name."""
    heads = {name: head for name, head in network.heads.items() if name not in network.companions}
    return Network(network.backbone, heads)
