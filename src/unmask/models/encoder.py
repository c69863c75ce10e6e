"""The one encoder that serves BERT, ModernBERT and everything that differs from them by numbers and parts."""

from __future__ import annotations

import math

from torch import Tensor, nn

from unmask.models.shape import Shape
from unmask.nn.batch import Sequences
from unmask.nn.blocks import Angles, Block, BlockShape
from unmask.nn.embeddings import Embeddings
from unmask.nn.norm import LayerNorm
from unmask.nn.positions import angles


class Encoder(nn.Module):
    """Sequences of T tokens to states [T, D]."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        positions = shape.max_length if shape.positions == "learned" else 0
        self.embeddings = Embeddings(
            shape.vocab_size,
            shape.width,
            positions,
            shape.segments,
            shape.norm_eps,
            shape.bias,
            shape.dropout,
            shape.embedding_norm,
        )
        normed = [i == 0 and shape.embedding_norm for i in range(shape.layers)]
        self.blocks = nn.ModuleList(Block(_block(shape, i), normed[i]) for i in range(shape.layers))
        pre_norm = shape.norm == "before"
        self.norm = LayerNorm(shape.width, shape.norm_eps, bias=shape.bias) if pre_norm else nn.Identity()
        self._init_weights()

    def forward(self, sequences: Sequences) -> Tensor:
        """States after the last layer [T, D]."""
        return self.layers(sequences)[-1]

    def layers(self, sequences: Sequences) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each; the last one normed."""
        turns = self._angles(sequences.positions)
        states = [self.embeddings(sequences)]
        for i, block in enumerate(self.blocks):
            states.append(block(states[-1], sequences.layout, turns.get(self.shape.is_global(i))))
        states[-1] = self.norm(states[-1])
        return states

    def _angles(self, positions: Tensor) -> dict[bool, Angles]:
        """Rotary angles of global (True) and local (False) layers; none where positions are learned."""
        if self.shape.positions == "learned":
            return {}
        width = self.shape.width // self.shape.heads
        bases = {True: self.shape.rotary_base, False: self.shape.local_rotary_base}
        return {is_global: angles(positions, width, base) for is_global, base in bases.items()}

    def _init_weights(self) -> None:
        """Normal weights; in pre-norm encoders what is added to the residual stream starts smaller (Warner 2024)."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                std = self.shape.init_std
                if self.shape.norm == "before" and name.endswith(".out"):
                    std /= math.sqrt(2 * self.shape.layers)
                nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)


def _block(shape: Shape, layer: int) -> BlockShape:
    return BlockShape(
        shape.width, shape.heads, shape.feed_forward, shape.dropout, shape.attention_dropout,
        shape.norm == "before", shape.norm_eps, shape.bias, shape.gated,
        None if shape.is_global(layer) else shape.window, shape.causal, shape.activation,
    )  # fmt: skip
