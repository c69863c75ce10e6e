"""Vectors of tokens from their letters: convolutions and highways (Kim 2015, 1508.06615; Peters 2018, 1802.05365).

T tokens, U different ones, V vocabulary, C places for letters, K width of letters, F filters, E width out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.nn.embeddings import look_up


class CharCNN(nn.Module):
    """Letters, convolutions and the largest value of each filter, highways, a projection.

    How tokens are written comes with `spell`; nothing else decides a token's vector.

    Args:
        letters: how many there are.
        letter_width: K.
        convolutions: how many filters have each width.
        highways: how many.
        width: E.
    """

    def __init__(self, letters: int, letter_width: int, convolutions: Mapping[int, int], highways: int, width: int):
        super().__init__()
        filters = sum(convolutions.values())
        self.letters = nn.Embedding(letters, letter_width)
        self.convolutions = nn.ModuleList(nn.Conv1d(letter_width, n, wide) for wide, n in convolutions.items())
        self.highways = nn.ModuleList(Highway(filters) for _ in range(highways))
        self.projection = nn.Linear(filters, width)
        self.widest = max(convolutions)
        self.table: Tensor | None
        self.register_buffer("table", None, persistent=False)
        self.begin()

    @torch.no_grad()
    def begin(self) -> None:
        """Fresh weights, as in bilm-tf."""
        nn.init.uniform_(self.letters.weight, -1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.uniform_(module.get_parameter("weight"), -0.05, 0.05)
                nn.init.zeros_(module.get_parameter("bias"))
            elif isinstance(module, Highway):
                module.begin()
        _normal(self.projection)

    def spell(self, table_VC: Tensor, empty: int) -> None:
        """Say how each token is written; ``empty`` is no letter.

        Places that no token fills are left out, but for as many as let the widest filter lie beside the longest token:
        the largest values are then those over all places.
        """
        used = int((table_VC != empty).any(0).sum())
        self.table = table_VC[:, : used + self.widest].to(self.letters.weight.device).contiguous()

    def forward(self, tokens_T: Tensor) -> Tensor:
        """[T, E]. Of equal tokens one is computed."""
        assert self.table is not None, "a model that reads letters must be told how its tokens are written"
        different_U, which_T = torch.unique(tokens_T, return_inverse=True)
        letters_UCK = look_up(self.letters.weight, self.table.index_select(0, different_U))
        x_UKC = letters_UCK.transpose(1, 2)
        x_UF = torch.cat([F.relu(convolution(x_UKC).amax(-1)) for convolution in self.convolutions], -1)
        for highway in self.highways:
            x_UF = highway(x_UF)
        return look_up(self.projection(x_UF), which_T)


class Highway(nn.Module):
    """A layer, and a gate that lets its input by (Srivastava 2015, 1505.00387); it begins nearly open."""

    def __init__(self, width: int):
        super().__init__()
        self.layer, self.gate = nn.Linear(width, width), nn.Linear(width, width)

    def begin(self) -> None:
        """Fresh weights."""
        _normal(self.layer)
        _normal(self.gate)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.lerp(x, F.relu(self.layer(x)), torch.sigmoid(self.gate(x)))


def _normal(layer: nn.Linear) -> None:
    nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    nn.init.zeros_(layer.bias)
