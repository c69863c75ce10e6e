"""Recurrences over sequences laid end to end: gated recurrent units (Cho 2014, 1406.1078), and long short-term memory
(Hochreiter 1997) whose states are projected (Sak 2014, 1402.1128).

T tokens, N sequences, E width in, D width out, C cells.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence

from unmask.text.example import Array

# that oneDNN has no projection is nothing a user could change
warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")


def begin(weight: Tensor, width: int) -> None:
    """Uniform numbers for what is not recurrent: up to 0.1 at the width of skip-thoughts (2,400; Kiros 2015, §3), and
    larger in narrower models, through which no word could be heard at first."""
    most = 0.1 * math.sqrt(2400 / width)
    nn.init.uniform_(weight, -most, most)


class Recurrence(nn.Module):
    """One layer of GRU, from a state of zeros at each sequence's beginning.

    Recurrent weights begin orthogonal, biases at zero. As in the code of skip-thoughts and in torch, the reset gate
    acts on the product with the state, not on the state.
    """

    def __init__(self, width: int, out: int):
        super().__init__()
        self.gru = nn.GRU(width, out)
        begin(self.gru.get_parameter("weight_ih_l0"), out)
        for gate in self.gru.get_parameter("weight_hh_l0").data.chunk(3):
            nn.init.orthogonal_(gate)
        for side in ("ih", "hh"):
            nn.init.zeros_(self.gru.get_parameter(f"bias_{side}_l0"))

    def forward(self, x_TE: Tensor, lengths: tuple[int, ...], first_last: bool = False) -> Tensor:
        """[T, E] to [T, D]: the state after each token; ``first_last``: a sequence's first token is read last."""
        return _read(self.gru, x_TE, lengths, first_last)


class Projected(nn.Module):
    """One layer of LSTM, from a state of zeros at each sequence's beginning; its states are as wide as what it reads.

    Fresh weights are bilm-tf's (Peters 2018): Glorot's uniform numbers, one draw for all that meets the gates, and a
    forget gate that begins open.
    """

    def __init__(self, width: int, cells: int):
        super().__init__()
        self.lstm = nn.LSTM(width, cells, proj_size=width)
        most = math.sqrt(6 / (2 * width + 4 * cells))
        for side in ("ih", "hh"):
            nn.init.uniform_(self.lstm.get_parameter(f"weight_{side}_l0"), -most, most)
            nn.init.zeros_(self.lstm.get_parameter(f"bias_{side}_l0"))
        nn.init.xavier_uniform_(self.lstm.get_parameter("weight_hr_l0"))
        nn.init.ones_(self.lstm.get_parameter("bias_ih_l0").data[cells : 2 * cells])

    def forward(self, x_TD: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """[T, D] to [T, D]: the state after each token."""
        return _read(self.lstm, x_TD, lengths)


def _read(recurrent: nn.RNNBase, x_TE: Tensor, lengths: tuple[int, ...], first_last: bool = False) -> Tensor:
    """[T, E] to [T, D]."""
    index, sizes = (torch.from_numpy(x) for x in by_time(lengths, first_last))
    index = index.to(x_TE.device)
    # a state is a long sum of small steps, and so are the gradients of the weights: too much for bfloat16
    packed = PackedSequence(x_TE.index_select(0, index).float(), sizes)
    weights = {name: weight.float() for name, weight in recurrent.named_parameters()}
    states, _ = functional_call(recurrent, weights, (packed,))
    return states.data.index_select(0, index.argsort()).to(x_TE.dtype)


@lru_cache(4)
def by_time(lengths: tuple[int, ...], first_last: bool) -> tuple[Array, Array]:
    """[T] the tokens in the order in which they are read, all sequences side by side and the longest first; and how
    many are read at each time."""
    sizes = np.array(lengths)
    time = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    if first_last:
        time = np.where(time, time, np.repeat(sizes, sizes)) - 1
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return np.lexsort((np.repeat(rank, sizes), time)), np.bincount(time)
