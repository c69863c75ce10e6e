"""The numbers and parts that tell one encoder from another. Reads without torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from unmask.config import Config


class Shape(Config):
    """BERT, ModernBERT and all that differ from them by numbers and parts. Defaults are BERT-base's (Devlin 2018)."""

    family: Literal["bert", "modernbert", "gpt2"] = Field(
        "bert", description="Whose names and parts it has in Hugging Face"
    )
    vocab_size: int = Field(
        30522, ge=1, description="Rows of the vocabulary matrix; set by the tokenizer when pre-training"
    )
    width: int = Field(768, ge=8, description="Width of the hidden states")
    layers: int = Field(12, ge=1, le=1024, description="Number of blocks")
    heads: int = Field(12, ge=1, description="Attention heads; they share the width")
    feed_forward: int = Field(3072, ge=1, description="Width inside the feed-forward sublayer")
    max_length: int = Field(512, ge=8, description="Longest sequence, special tokens included")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of embeddings and of every sublayer's output")
    attention_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of attention probabilities")
    positions: Literal["learned", "rotary"] = Field("learned", description="How a token knows where it stands")
    norm: Literal["after", "before"] = Field(
        "after", description="LayerNorm after each sublayer's sum, or before each sublayer"
    )
    norm_eps: float = Field(1e-12, gt=0, description="Epsilon of LayerNorm")
    bias: bool = Field(True, description="Biases in linear layers and norms")
    activation: Literal["gelu", "gelu_tanh"] = Field(
        "gelu", description="Of the feed-forward; gelu_tanh is its first approximation (Hendrycks 2016), as GPT-2 has"
    )
    embedding_norm: bool = Field(True, description="LayerNorm over the embeddings")
    causal: bool = Field(False, description="A token sees itself and those before it, none after it")
    gated: bool = Field(False, description="GeGLU feed-forward (Shazeer 2020) instead of a plain one")
    segments: int = Field(2, ge=0, description="Segment embeddings: 0 for none")
    window: int | None = Field(
        None, ge=2, description="Width of local attention in layers that are not global; none: all global"
    )
    global_every: int = Field(1, ge=1, description="Every n-th layer sees everything, starting with the first")
    rotary_base: float = Field(160_000.0, gt=0, description="Rotary base of global layers")
    local_rotary_base: float = Field(10_000.0, gt=0, description="Rotary base of local layers")
    init_std: float = Field(0.02, gt=0, description="Standard deviation of initial weights")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide the width; {self.heads} does not divide {self.width}")
        if self.positions == "rotary" and (self.width // self.heads) % 2:
            raise ValueError("rotary positions need an even width per head")
        return self

    def is_global(self, layer: int) -> bool:
        """Whether this layer sees the whole sequence."""
        return self.window is None or layer % self.global_every == 0

    @property
    def flow(self) -> str:
        """How data flow through it, which decides what it can be asked: see `models.backbone`."""
        return "encoder"

    @property
    def parameters(self) -> int:
        """How many numbers the encoder holds, heads not counted."""
        bias = self.width if self.bias else 0
        norm = self.width + bias
        embeddings = self.width * (
            self.vocab_size + self.segments + (self.max_length if self.positions == "learned" else 0)
        )
        inner = self.feed_forward * (2 if self.gated else 1)
        attention = 4 * self.width * self.width + 4 * bias
        feed_forward = self.width * (inner + self.feed_forward) + (inner + self.width if self.bias else 0)
        # of the blocks, of the embeddings; a pre-norm encoder has a final norm, and none before its first attention
        # where the embeddings have theirs
        norms = norm * (2 * self.layers + (1 if self.embedding_norm or self.norm == "before" else 0))
        return embeddings + self.layers * (attention + feed_forward) + norms
