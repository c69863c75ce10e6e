"""An encoder for long texts (Beltagy 2020, Longformer, 2004.05150): tokens see a window, global tokens all of a text.

T tokens, G of them global, N sequences, D width, H heads, W width of a head.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from unmask.models.encoder import Encoder
from unmask.nn.asked import Asked
from unmask.nn.attention import attend
from unmask.nn.batch import Sequences
from unmask.nn.blocks import Attention, Block, BlockShape
from unmask.nn.even import evened
from unmask.nn.layout import Layout
from unmask.nn.past import Past
from unmask.nn.positions import Angles, OfDistances


class GlobalAttention(Attention):
    """A softmax over a token's window and the global tokens; these look at everything, by projections of their own."""

    def __init__(self, shape: BlockShape):
        super().__init__(shape)
        self.global_query = nn.Linear(shape.width, self.across, bias=shape.bias)
        self.global_key_value = nn.Linear(shape.width, 2 * self.across, bias=shape.bias)

    def mix(
        self, x_TD: Tensor, layout: Layout, angles: Angles | None, distances: OfDistances | None, past: Past | None
    ) -> Tensor:
        """What each head says [T, H, W]."""
        mixed = super().mix(x_TD, layout, angles, distances, past)
        if (far := layout.globals) is None:
            return mixed
        asking = evened(x_TD.index_select(0, far.index))
        q = self.global_query(asking)[: len(far.index)].view(len(far.index), self.heads, -1)
        k, v = self.global_key_value(x_TD).view(len(x_TD), 2, self.heads, -1).unbind(1)
        everything = replace(self.now(), window=None)
        return mixed.index_copy(0, far.index, attend(q, k, v, far.layout, everything, keys=layout))


class LongBlock(Block):
    """A layer that has it."""

    attends = GlobalAttention


class Longformer(Encoder):
    """Sequences of T tokens to states [T, D]; what it costs grows with the length of a text, not with its square."""

    block = LongBlock

    def layers(self, sequences: Sequences, pasts: list[Past] | None = None, asked: Asked | None = None) -> list[Tensor]:
        """As the encoder's, with global tokens."""
        count = len(sequences.tokens)
        if self.shape.global_tokens != "none":
            sequences = sequences.evened() if pasts is None else sequences
            mask_T = global_tokens(sequences, of_question=self.shape.global_tokens == "question")
            sequences = replace(sequences, layout=sequences.layout.marked(mask_T))
        return [x[:count] for x in super().layers(sequences, pasts, asked)]


def global_tokens(sequences: Sequences, of_question: bool = False) -> Tensor:
    """[T] the first token of each sequence; and of two texts, all tokens of the first, without the separator behind."""
    first = sequences.layout.cu_seqlens[:-1].long()
    mask = torch.zeros_like(sequences.tokens, dtype=torch.bool)
    if of_question and sequences.segments is not None:
        in_a = sequences.segments == 0
        followed = torch.cat([in_a[1:], in_a[:1]])  # what stands before another of A is not its separator
        paired = torch.zeros_like(first).index_add_(0, sequences.layout.sequence(), (~in_a).long()) > 0
        mask |= in_a & followed & paired[sequences.layout.sequence()]
    return mask.index_fill(0, first, True)
