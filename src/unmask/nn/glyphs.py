"""Vectors of tokens from how they are drawn (Meng 2019, Glyce, 1901.10125).

T tokens, U different ones, V vocabulary, G characters with an image, S places of a side, C channels, E width out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.dropout import Dropout
from unmask.nn.embeddings import look_up

GROUPS = 16
GRID = 2
"""Places of a side after pooling: the four fields of the paper on which characters are learned to be written."""


class GlyphCNN(nn.Module):
    """A token's own vector and, where it is a character, what a Tianzige-CNN reads in its image, through a layer.

    The images come with `spell`; other tokens have their own vector alone.

    Args:
        tokens: V.
        channels: C.
        width: E.
        dropout: of what is read in an image.
    """

    def __init__(self, tokens: int, channels: int, width: int, dropout: float):
        super().__init__()
        self.own = nn.Embedding(tokens, width)
        self.strokes = nn.Conv2d(1, channels, 5)
        self.fewer = nn.Conv2d(channels, channels // 4, 1, groups=GROUPS // 2)
        self.grid = nn.Conv2d(channels // 4, channels, GRID, groups=GROUPS)
        self.dropout = Dropout(dropout)
        self.merge = nn.Linear(width + channels, width)
        self.images: Tensor | None
        self.places: Tensor | None
        self.register_buffer("images", None, persistent=False)
        self.register_buffer("places", None, persistent=False)
        self.begin()

    @torch.no_grad()
    def begin(self) -> None:
        """Fresh convolutions, as in the release."""
        for convolution in (self.strokes, self.fewer, self.grid):
            nn.init.uniform_(convolution.weight, -0.1, 0.1)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def spell(self, tokens_G: Tensor, images_GSS: Tensor) -> None:
        """Say which tokens have an image, and give them [G, S, S] uint8."""
        device = self.own.weight.device
        places = torch.full((len(self.own.weight),), -1)
        places[tokens_G] = torch.arange(len(tokens_G))
        self.places, self.images = places.to(device), images_GSS.to(device)

    def forward(self, tokens_T: Tensor) -> Tensor:
        """[T, E]. Of equal tokens one is computed."""
        assert self.places is not None, "a model that reads glyphs must be told how its tokens are drawn"
        different_U, which_T = torch.unique(tokens_T, return_inverse=True)
        own_UE = look_up(self.own.weight, different_U)
        drawn = (self.places.index_select(0, different_U) >= 0).nonzero()[:, 0]
        read_DC = self.dropout(self.read(different_U.index_select(0, drawn)))
        merged_DE = self.merge(torch.cat([own_UE.index_select(0, drawn), read_DC], -1))
        return look_up(own_UE.index_copy(0, drawn, merged_DE), which_T)

    def read(self, tokens_D: Tensor) -> Tensor:
        """[D, C] of tokens that have an image: the glyph part of their vectors."""
        assert self.places is not None and self.images is not None
        images = self.images.index_select(0, self.places.index_select(0, tokens_D))
        x = images[:, None].to(self.strokes.weight.dtype).to(memory_format=torch.channels_last) / 255
        x = F.relu(F.adaptive_max_pool2d(self.strokes(x), GRID))  # in this order and layout a third of the time
        return F.relu(self.grid(self.fewer(x)))[:, :, 0, 0]
