"""Which tokens somebody asks about: of the others a last layer computes nothing that only they would have.

T tokens of a stream, K of them asked about, N sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmask.nn.even import missing
from unmask.nn.layout import Layout
from unmask.text.example import Array

_MOST = 0.75  # of all tokens; with more of them what is left out is not worth the gathering


@dataclass
class Asked:
    """The tokens of a stream that answers are read off, and their last states once somebody asked for them."""

    index: Tensor  # [K] int64 their places, ascending; the last one again until their number is even
    number: Tensor  # [T] int64 which of the K each token is; any where it is none
    layout: Layout  # of them alone
    states: Tensor | None = None  # [K, D]

    @classmethod
    def of(cls, places: Sequence[Array], layout: Layout) -> Asked | None:
        """What stands at any of these places; None where that is nothing, or nearly everything."""
        count = int(layout.cu_seqlens[-1])
        index = np.unique(np.concatenate([each.reshape(-1) for each in places] or [np.empty(0, np.int64)]))
        if not 0 < len(index) <= _MOST * count:
            return None
        number = np.zeros(count, np.int64)
        number[index] = np.arange(len(index))
        index = np.pad(index, (0, missing(len(index))), mode="edge")
        lengths = np.diff(np.searchsorted(index, layout.cu_seqlens.numpy()))
        alone = Layout.of(lengths, layout.row_length)  # hardly a row of the whole holds more: both lie in like rows
        return cls(torch.from_numpy(index), torch.from_numpy(number), alone)

    def to(self, device: torch.device) -> Asked:
        """The same on a device, without states."""
        index, number = (x.to(device, non_blocking=True) for x in (self.index, self.number))
        return Asked(index, number, self.layout.to(device))


def chosen(x: Tensor, asked: Asked | None) -> Tensor:
    """Of [T, …] what is asked about [K, …]; all where nobody says."""
    return x if asked is None else x.index_select(0, asked.index)
