"""What encoders and decoders have in common: embeddings, blocks, a norm behind them, positions, initial weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unmask.models.shape import BUCKETS, HIGHWAYS, LETTER_WIDTH, SPAN, Shape
from unmask.nn.blocks import Attention, BlockShape, CrossAttention
from unmask.nn.characters import CharCNN
from unmask.nn.disentangled import DistanceStates, reach_of
from unmask.nn.dropout import Dropout
from unmask.nn.embeddings import Embeddings, TokenEmbedding
from unmask.nn.glyphs import GlyphCNN
from unmask.nn.ngrams import NgramBag
from unmask.nn.norm import norm_of
from unmask.nn.positions import Angles, Distances, OfDistances, angles
from unmask.text.tokens.spelling import LETTERS


class Stack(nn.Module):
    """The parts of an encoder or of a decoder, with fresh weights.

    Args:
        shape: the model's.
        layers: blocks.
        block: what each of them is.
        causal: whether a token sees only those before it.
        owns_tokens: whether the vocabulary and the segments are its own, or come with each call.
    """

    def __init__(self, shape: Shape, layers: int, block: type[nn.Module], causal: bool, owns_tokens: bool = True):
        super().__init__()
        self.shape, self.causal = shape, causal
        before = shape.norm == "before"
        # trigrams make states of vectors of tokens, DeBERTa of their sum; others that are narrower behind that
        summed = shape.width if shape.trigrams else shape.token_width
        first = shape.width if shape.widens_first else summed
        self.embeddings = Embeddings(
            _tokens(shape) if owns_tokens else None,
            summed,
            shape.max_length if shape.positions == "learned" else 0,
            shape.segments if owns_tokens else 0,
            _norm(shape, first) if shape.embedding_norm else nn.Identity(),
            shape.dropout,
            math.sqrt(shape.width) if shape.embedding_scale == "input" else 1.0,
            nn.Linear(3 * shape.token_width, shape.width) if shape.trigrams else None,
            nn.Linear(summed, first, bias=False) if first != summed else None,
        )
        wider = first != shape.width
        self.projection = nn.Linear(first, shape.width, bias=shape.bias) if wider else nn.Identity()
        normed = shape.embedding_norm and not wider and before
        self.distances = _distances(shape)
        disentangled = shape.positions == "disentangled"
        self.distances_norm = _norm(shape) if disentangled else nn.Identity()
        self.distances_dropout = Dropout(shape.dropout)
        self.blocks = nn.ModuleList(
            block(block_shape(shape, i, causal), normed=normed and i == 0) for i in range(layers)
        )
        _share(self.blocks, shape.layer_sharing)
        self.norm = _norm(shape) if before else nn.Identity()
        # T5 drops once more behind its last norm, others do not
        self.last_dropout = Dropout(shape.dropout if before and shape.decoder_layers else 0.0)
        self._init_weights(layers)

    def angles(self, positions: Tensor) -> list[Angles | None]:
        """Rotary angles for each block; none where positions are not rotary."""
        if self.shape.positions != "rotary":
            return [None] * len(self.blocks)
        bases = {True: self.shape.rotary_base, False: self.shape.local_rotary_base}
        turns = {far: angles(positions, self.shape.width_per_head, base) for far, base in bases.items()}
        return [turns[self.shape.is_global(i)] for i in range(len(self.blocks))]

    def bias(self, length: int) -> OfDistances | None:
        """What blocks know of the distances between tokens of texts up to this length."""
        if self.distances is None:
            return None
        if self.shape.positions == "buckets":
            return Distances(self.distances.weight, both_sides=not self.causal)
        longest = self.shape.max_length
        reach = reach_of(length, SPAN, longest)
        states_BD = self.distances_norm(self.distances.weight[SPAN - reach : SPAN + reach])
        return DistanceStates(states_BD, SPAN, longest, self.distances_dropout)

    def ended(self, x_TD: Tensor) -> Tensor:
        """What stands behind the last block."""
        ended: Tensor = self.last_dropout(self.norm(x_TD))
        return ended

    def _init_weights(self, layers: int) -> None:
        """Normal weights. In pre-norm models what is added to the residual stream starts smaller (Warner 2024).

        Where scores are not scaled, weights are by what comes in, and queries smaller by what scaling would do (T5).
        """
        unscaled = self.shape.positions == "buckets"
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                std = _fan_in(module, self.shape.width) if unscaled else self.shape.init_std
                if self.shape.norm == "before" and name.endswith(".out") and not unscaled:
                    std /= math.sqrt(2 * layers)
                nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
        if isinstance(self.embeddings.tokens, CharCNN | NgramBag | GlyphCNN):
            self.embeddings.tokens.begin()
        if unscaled:
            self._shrink_queries()

    @torch.no_grad()
    def _shrink_queries(self) -> None:
        for module in self.modules():
            if isinstance(module, Attention | CrossAttention):
                matrix = module.qkv if isinstance(module, Attention) else module.query
                matrix.weight[: module.across] *= self.shape.width_per_head**-0.5


def _share(blocks: nn.ModuleList, what: str) -> None:
    """Give all blocks the weights of the first that has each. Windows, and places for adapters, stay their own."""
    parts = {"none": (), "all": ("",)}.get(what, (what, f"cross_{what}"))
    first: dict[str, nn.Parameter] = {}
    for block in blocks:
        for name, weight in list(block.named_parameters()):
            if name.startswith(parts):
                module, _, leaf = name.rpartition(".")
                setattr(block.get_submodule(module), leaf, first.setdefault(name, weight))


def _fan_in(module: nn.Linear | nn.Embedding, width: int) -> float:
    """T5's standard deviations, as mesh-tensorflow's code has them."""
    if isinstance(module, nn.Linear):
        return float(module.in_features**-0.5)
    return 1.0 if module.embedding_dim == width else float(width**-0.5)


def _tokens(shape: Shape) -> nn.Module:
    if shape.embedding == "char_cnn":
        return CharCNN(LETTERS, LETTER_WIDTH, shape.convolutions, HIGHWAYS, shape.token_width)
    if shape.embedding == "fasttext_ngrams":
        return NgramBag(shape.vocab_size, shape.ngram_buckets, shape.token_width)
    if shape.embedding == "glyph_cnn":
        return GlyphCNN(shape.vocab_size, shape.glyph_channels, shape.token_width, shape.dropout)
    return TokenEmbedding(shape.vocab_size, shape.token_width)


def _distances(shape: Shape) -> nn.Embedding | None:
    """Of distances a number for each head, or a state."""
    sizes = {"buckets": (BUCKETS, shape.heads), "disentangled": (2 * SPAN, shape.width)}
    return nn.Embedding(*sizes[shape.positions]) if shape.positions in sizes else None


def _norm(shape: Shape, width: int | None = None) -> nn.Module:
    return norm_of(shape.norm_kind, width or shape.width, shape.norm_eps, shape.bias)


def _scale(shape: Shape) -> float | None:
    """What scores are multiplied by, where it is not 1 / sqrt(head_width): T5's by nothing, sums of three by less."""
    return {"buckets": 1.0, "disentangled": (3 * shape.width_per_head) ** -0.5}.get(shape.positions)


def block_shape(shape: Shape, layer: int, causal: bool) -> BlockShape:
    """What a layer's block has to know of the whole."""
    return BlockShape(
        width=shape.width,
        heads=shape.heads,
        head_width=shape.width_per_head,
        feed_forward=shape.feed_forward,
        dropout=shape.dropout,
        attention_dropout=shape.attention_dropout,
        activation_dropout=shape.activation_dropout,
        norm_before=shape.norm == "before",
        norm_kind=shape.norm_kind,
        norm_eps=shape.norm_eps,
        bias=shape.bias,
        activation=shape.activation,
        gated=shape.gated,
        window=shape.window_of(layer),
        causal=causal,
        scale=_scale(shape),
        bottleneck=shape.bottleneck,
        feed_forwards=shape.feed_forwards,
    )
