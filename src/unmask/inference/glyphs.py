"""The images that a model reads, in the folder of its run: it opens where no font is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import nn

from unmask.disk import replace_file
from unmask.errors import UserError
from unmask.models.shape import Shape
from unmask.nn.glyphs import GlyphCNN
from unmask.text.tokens.glyphs import Glyphs, characters, draw
from unmask.text.tokens.tokenizer import Tokenizer

FILE = "glyphs.safetensors"


def of(network: nn.Module) -> Glyphs | None:
    """The images that a network was given; none, where it reads none."""
    for module in network.modules():
        if isinstance(module, GlyphCNN) and module.places is not None and module.images is not None:
            tokens = torch.nonzero(module.places >= 0)[:, 0]
            images = module.images[module.places[tokens]]
            return Glyphs(tokens.cpu().numpy(), images.cpu().numpy())
    return None


def with_new(network: nn.Module, shape: Shape, tokenizer: Tokenizer, size: int) -> Glyphs | None:
    """These, and those of its tokenizer's new tokens, from ``size`` on; none, where it reads none.

    Raises:
        UserError: New characters cannot be drawn.
    """
    if (known := of(network)) is None:
        return None
    wanted = {token: text for token, text in characters(tokenizer).items() if token >= size}
    new = draw(wanted, shape.font, shape.glyph_size)
    return Glyphs(np.concatenate([known.tokens, new.tokens]), np.concatenate([known.images, new.images]))


def write(network: nn.Module, folder: Path) -> None:
    """Write them beside the tokenizer, where there are any."""
    if glyphs := of(network):
        replace_file(folder / FILE, save({"tokens": glyphs.tokens, "images": glyphs.images}))


def read(folder: Path, shape: Shape) -> Glyphs | None:
    """Those of a model of this shape; none, where it reads none.

    Raises:
        UserError: They are missing, not whole, or not such a model's.
    """
    if shape.embedding != "glyph_cnn":
        return None
    path, size = folder / FILE, shape.glyph_size
    if not path.is_file():
        raise UserError(f"{path}: is missing; without its images the model cannot read, and nothing is made up")
    try:
        found = load(path.read_bytes())
        glyphs = Glyphs(found["tokens"].astype(np.int64), found["images"])
    except (OSError, KeyError, SafetensorError):
        raise UserError(f"{path}: does not hold the images of tokens; it was damaged") from None
    fits = glyphs.images.shape == (len(glyphs.tokens), size, size) and glyphs.images.dtype == np.uint8
    if not fits or glyphs.tokens.ndim != 1 or not ((glyphs.tokens >= 0) & (glyphs.tokens < shape.vocab_size)).all():
        raise UserError(f"{path}: its images are not those of a model with glyph_size {size}")
    return glyphs
