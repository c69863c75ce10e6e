"""The numbers and parts that tell one model from another. Reads without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from unmask.config import Config
from unmask.models.pieces import OF_ONE_PIECE, RELATIVE
from unmask.models.reformer_parts import ReformerParts

BUCKETS = 32
"""Of distances, as in every T5."""
SPAN = 256
"""Of distances to either side, as in every DeBERTa since its second version."""

LETTER_WIDTH, HIGHWAYS = 16, 2
SHARES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 16, 7: 32}
"""Of 64 filters of a char_cnn those of each width: ELMo's 2,048 are 32, 32, 64, 128, 256, 512 and 1,024."""

Window = Annotated[int, Field(ge=2)]


class Shape(Config):
    """BERT, ModernBERT, GPT-2, BART, T5 and all that differ from them by numbers and parts.

    Defaults are BERT-base's (Devlin 2018).
    """

    # fmt: off
    family: Literal[
        "bert", "modernbert", "gpt2", "electra", "albert", "bart", "t5", "t5-v1.1", "gru", "xlnet", "elmo",
        "elmo-transformer", "roberta", "distilbert", "longformer", "mobilebert",
        "transformer_xl", "deberta", "reformer",
    ] = Field(
        "bert", description="Whose names and parts it has in Hugging Face, which knows no gru, elmo and transformer_xl"
    )
    # fmt: on
    vocab_size: int = Field(
        30522, ge=1, description="Rows of the vocabulary matrix; set by the tokenizer when pre-training"
    )
    embedding: Literal["subword", "char_cnn", "fasttext_ngrams", "glyph_cnn"] = Field(
        "subword",
        description="How a token gets its vector: subword, it is learned; char_cnn, from its letters (Kim 2015); "
        "fasttext_ngrams, learned and from its n-grams of letters (Bojanowski 2016); glyph_cnn, learned and from how "
        "Chinese characters are drawn (Meng 2019)",
    )
    filters: int = Field(2048, ge=64, multiple_of=64, description="Filters of a char_cnn, of all widths together")
    glyph_channels: int = Field(1024, ge=64, multiple_of=64, description="Channels of a glyph_cnn")
    glyph_size: int = Field(12, ge=6, le=128, description="Places of a side of the images that a glyph_cnn reads")
    font: str | None = Field(
        None, description="File of the font that a glyph_cnn's images are drawn with; none: fontconfig's for Chinese"
    )
    ngram_buckets: int = Field(32_768, ge=1, description="Vectors that fasttext_ngrams share, by their hash")
    width: int = Field(
        768,
        ge=8,
        description="Width of the hidden states; of an elmo half of it reads either way, a reformer has two streams of "
        "half of it",
    )
    embedding_width: int | None = Field(
        None,
        ge=8,
        description="Width of the embeddings, which a matrix then brings to the model's (Lan 2019); none: the model's",
    )
    layers: int = Field(
        12,
        ge=0,
        le=1024,
        description="Number of blocks, of the encoder where there is a decoder too; 0: vectors of tokens alone",
    )
    decoder_layers: int = Field(0, ge=0, le=1024, description="Blocks of a decoder that reads the encoder; 0: none")
    layer_sharing: Literal["none", "attention", "feed_forward", "all"] = Field(
        "none",
        description="What all layers have the same weights for (Lan 2019, §3.1); all: both sublayers",
    )
    heads: int = Field(12, ge=1, description="Attention heads")
    head_width: int | None = Field(None, ge=1, description="Width of a head; none: they share the model's width")
    feed_forward: int = Field(
        3072, ge=1, description="Width inside the feed-forward sublayer; of a recurrent elmo its cells"
    )
    bottleneck: int | None = Field(
        None, ge=8, description="Of a mobilebert the width within its layers, of their heads too (Sun 2020)"
    )
    feed_forwards: int = Field(1, ge=1, le=16, description="Of a mobilebert the feed-forwards of a layer")
    max_length: int = Field(512, ge=8, description="Longest sequence, special tokens included")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of embeddings and of every sublayer's output")
    attention_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of attention probabilities")
    activation_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout inside the feed-forward sublayer")
    positions: Literal["learned", "rotary", "buckets", "relative", "disentangled", "axial", "none"] = Field(
        "learned",
        description="How a token knows where it stands; buckets: by a number for each distance, in the place of "
        "scaled scores (T5); relative: by what a token asks of each distance (Transformer-XL); disentangled: by "
        "that, and by what each distance asks of a token (DeBERTa); axial: by its row and column, each of which is "
        "learned (Reformer); none: by the order of reading alone",
    )
    norm: Literal["after", "before"] = Field(
        "after", description="Norm after each sublayer's sum, or before each sublayer"
    )
    norm_kind: Literal["layer", "rms", "none"] = Field(
        "layer",
        description="LayerNorm, or RMSNorm (Zhang 2019); none: a weight and a bias for each number (Sun 2020)",
    )
    norm_eps: float = Field(1e-12, gt=0, description="Epsilon of norms")
    embedding_norm: bool = Field(True, description="A norm after the embeddings")
    embedding_scale: Literal["none", "input", "output"] = Field(
        "none",
        description="Where the vocabulary matrix meets the square root of the width: none; input: embeddings are "
        "multiplied by it (Vaswani 2017); output: what asks for tokens is divided by it (T5)",
    )
    tied: bool = Field(True, description="Whether answers in tokens are read off the matrix of the embeddings")
    bias: bool = Field(True, description="Biases in linear layers and norms")
    activation: Literal["gelu", "gelu_tanh", "relu"] = Field(
        "gelu",
        description="Of the feed-forward; gelu_tanh is its first approximation (Hendrycks 2016), as GPT-2 and T5 1.1 "
        "have",
    )
    causal: bool = Field(False, description="A token sees itself and those before it, none after it")
    gated: bool = Field(False, description="Gated feed-forward (Shazeer 2020) instead of a plain one")
    segments: int = Field(2, ge=0, description="Segment embeddings: 0 for none; 1 for one that all have (RoBERTa)")
    window: Window | tuple[Window, ...] | None = Field(
        None,
        description="Width of local attention in layers that are not global, or one for each layer; none: all global",
    )
    global_every: int = Field(
        1, ge=0, description="Every n-th layer sees everything, starting with the first; 0: none does"
    )
    global_tokens: Literal["none", "first", "question"] = Field(
        "none",
        description="Of a longformer, what sees and is seen by all of its sequence: its first token; question: of two "
        "texts all of the first one too",
    )
    reformer: ReformerParts | None = Field(None, description="What a reformer has besides")
    rotary_base: float = Field(160_000.0, gt=0, description="Rotary base of global layers")
    local_rotary_base: float = Field(10_000.0, gt=0, description="Rotary base of local layers")
    init_std: float = Field(0.02, gt=0, description="Standard deviation of initial weights")

    @field_validator("window", mode="before")
    @classmethod
    def _each(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) and "," in value else value

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        across = self.bottleneck or self.width
        if self.head_width is None and across % self.heads:
            raise ValueError(f"heads must divide the width; {self.heads} does not divide {across}")
        if self.positions == "rotary" and self.width_per_head % 2:
            raise ValueError("rotary positions need an even width per head")
        if self.positions == "relative" and self.width % 2:
            raise ValueError(f"width {self.width} is odd; relative positions need an even one")
        if not self.layers and self.positions != "none":
            raise ValueError("layers 0 leaves vectors of tokens alone; 1 or more would fit, or positions none")
        if self.embedding_width is not None and self.decoder_layers:
            raise ValueError("embedding_width is for models without a decoder of their encoder; leave it out")
        return self

    @model_validator(mode="after")
    def _has_the_parts_of_its_flow(self) -> Self:
        self._refuse_other_than(built_in(self.family))
        if self.positions == "relative" and self.family not in RELATIVE:
            fits = " and ".join(RELATIVE)
            raise ValueError(f"positions relative are for {fits}; they do not go with family {self.family}")
        plain = self.flow in ("encoder", "decoder") and self.family not in ("longformer", "reformer")
        if self.positions == "disentangled" and not plain:
            raise ValueError(f"positions disentangled do not go with a decoder of an encoder or family {self.family}")
        return self

    @model_validator(mode="after")
    def _fits_a_reformer(self) -> Self:
        if self.reformer is not None and self.family == "reformer":
            if self.positions not in ("axial", "learned"):
                raise ValueError(f"positions {self.positions} do not go with family reformer; axial would fit")
            if self.width % 2 or (self.head_width is None and self.width // 2 % self.heads):
                raise ValueError(f"a reformer has two streams of half the width, which {self.heads} heads must divide")
            self.reformer.refuse(self.positions == "axial", self.max_length, self.token_width)
        elif self.reformer is not None or self.family == "reformer":
            raise ValueError(f"the settings reformer are for family reformer, which needs them; family {self.family}")
        elif self.positions == "axial":
            raise ValueError(f"positions axial do not go with family {self.family}; learned would fit")
        return self

    @model_validator(mode="after")
    def _reads_two_ways(self) -> Self:
        if self.flow != "elmo":
            return self
        if self.width % (2 * self.heads):
            raise ValueError(f"an elmo reads with half the width either way, which {self.heads} heads must divide")
        if self.family == "elmo" and self.feed_forward <= self.width // 2:
            raise ValueError(f"feed_forward {self.feed_forward}: an elmo's cells must be more than half its width")
        absent = {"embedding_width": None, "causal": False, "decoder_layers": 0, "segments": 0, "layer_sharing": "none"}
        self._refuse_other_than(absent)
        return self

    @model_validator(mode="after")
    def _sees_by_windows(self) -> Self:
        if isinstance(self.window, tuple) and (len(self.window) != self.layers or self.decoder_layers):
            raise ValueError(f"window has {len(self.window)} widths for {self.layers} layers; one for all would fit")
        fits: dict[str, Any] = {"global_tokens": "none"}
        if self.family == "longformer":
            if self.window is None:
                raise ValueError("window none does not go with family longformer; 512 would fit")
            if self.causal and self.global_tokens != "none":
                raise ValueError("what comes later is told by a global token; with causal global_tokens none would fit")
            fits = {"decoder_layers": 0}
        self._refuse_other_than(fits)
        return self

    @model_validator(mode="after")
    def _works_in_bottlenecks(self) -> Self:
        fits: dict[str, Any] = {"bottleneck": None, "feed_forwards": 1}
        if self.family == "mobilebert":
            if self.bottleneck is None:
                raise ValueError("bottleneck none does not go with family mobilebert; 128 would fit")
            if self.token_width > self.width:
                raise ValueError(f"embedding_width {self.token_width} is above width {self.width}, which would fit")
            fits = {
                "positions": "learned", "norm": "after", "gated": False, "causal": False, "decoder_layers": 0,
                "layer_sharing": "none", "embedding_scale": "none", "window": None, "bias": True,
            }  # fmt: skip
        self._refuse_other_than(fits)
        return self

    @model_validator(mode="after")
    def _can_answer(self) -> Self:
        if self.embedding != "subword" and self.tied:
            raise ValueError(f"with a {self.embedding} there is no matrix of tokens to answer by; tied false would fit")
        if self.embedding != "subword" and self.decoder_layers:
            raise ValueError(f"embedding {self.embedding} is for models without a decoder of their encoder")
        return self

    def _refuse_other_than(self, fits: dict[str, Any]) -> None:
        """Refuse settings that its family cannot have."""
        for part, fit in fits.items():
            if (found := getattr(self, part)) != fit:
                raise ValueError(f"{part} {found} does not go with family {self.family}; {fit} would fit")

    @property
    def token_width(self) -> int:
        """Width of the vectors of tokens, positions and segments."""
        return self.embedding_width or self._part

    @property
    def trigrams(self) -> bool:
        """Whether states are made of each token's vector and its neighbours', so that a token is told of the next."""
        return self.family == "mobilebert"

    @property
    def widens_first(self) -> bool:
        """Whether narrower embeddings are brought to the model's width ahead of their norm, not behind it."""
        return self.family == "deberta"

    @property
    def tells_later(self) -> bool:
        """Whether something tells a token of those behind it, whatever attention hides."""
        return self.global_tokens != "none" or self.trigrams

    @property
    def answer_width(self) -> int:
        """Width of what a masked token is read off: of the vectors of tokens, and of a mobilebert more beside them."""
        return self.width if self.family == "mobilebert" else self.token_width

    @property
    def width_per_head(self) -> int:
        """Of queries, keys and values."""
        return self.head_width or (self.bottleneck or self._part) // self.heads

    @property
    def _part(self) -> int:
        """Width of what its layers read: of an elmo and a reformer half of a state."""
        return self.width // 2 if self.flow == "elmo" or self.family == "reformer" else self.width

    @property
    def convolutions(self) -> dict[int, int]:
        """Of a char_cnn the filters of each width in letters."""
        return {wide: self.filters // 64 * share for wide, share in SHARES.items()}

    @property
    def one_way(self) -> Shape:
        """Of an elmo the half that reads from the left, as a model of its own; the other half is like it."""
        return self.model_copy(update={"family": "bert", "width": self.width // 2, "causal": True})

    @property
    def static(self) -> Shape:
        """Its vectors of tokens alone, as a model of its own."""
        tokens = (
            "vocab_size", "embedding", "filters", "ngram_buckets", "glyph_channels", "glyph_size", "font", "tied",
            "max_length", "init_std",
        )  # fmt: skip
        absent = {"layers": 0, "heads": 1, "feed_forward": 1, "segments": 0, "dropout": 0.0, "attention_dropout": 0.0}
        others = {"width": self.token_width, "positions": "none", "embedding_norm": False, **absent}
        return Shape(**{name: getattr(self, name) for name in tokens}, **others)

    def is_global(self, layer: int) -> bool:
        """Whether this layer sees the whole sequence."""
        return self.window is None or (self.global_every > 0 and layer % self.global_every == 0)

    def window_of(self, layer: int) -> int | None:
        """The width of a layer's local attention; none: it sees the whole sequence."""
        if self.is_global(layer):
            return None
        return self.window[layer] if isinstance(self.window, tuple) else self.window

    @property
    def flow(self) -> str:
        """How data flow through it, which decides what it can be asked: see `models.backbone`."""
        if (self.family in OF_ONE_PIECE and self.family != "reformer") or self.family == "elmo-transformer":
            return self.family.removesuffix("-transformer")
        return "encoder_decoder" if self.decoder_layers else "decoder" if self.causal else "encoder"


def built_in(family: str) -> dict[str, Any]:
    """The settings that are no choice in a family; none, where all parts are."""
    if family not in OF_ONE_PIECE:
        return {}
    varies, others = OF_ONE_PIECE[family]
    return {name: field.default for name, field in Shape.model_fields.items() if name not in varies} | others
