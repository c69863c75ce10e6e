"""Models by name: ``bert-base``, ``modernbert-mini``, …

BERT: Devlin 2018 (1810.04805: base, large) and Turc 2019 (1908.08962: tiny, mini, small).
UniLM: Dong 2019 (1905.03197: large, and its release's base), which is a BERT with a cased vocabulary.
RoBERTa: Liu 2019 (1907.11692: base, large); tiny, mini and small are BERT's. All segments have one vector, as Hugging
Face's have.
DistilBERT: Sanh 2019 (1910.01108: base); tiny and mini are BERT's.
TinyBERT: Jiao 2020 (1909.10351: 4 and 6 layers), which is a BERT.
ModernBERT: Warner 2024 (2412.13663: base, large) and Weller 2025 (Ettin, 2507.11412: mini is its 17M, small its 32M);
tiny follows their proportions.
ELECTRA: Clark 2020 (2003.10555); tiny is BERT's with embeddings half as wide.
ALBERT: Lan 2019 (1909.11942, its second release, without dropout); tiny is BERT's with embeddings half as wide.
GPT-2: Radford 2019 (small, medium); tiny and mini are BERT's.
Longformer: Beltagy 2020 (2004.05150: base, large); tiny and mini are BERT's, with windows of an eighth of 1,024 tokens
and of a quarter.
BART: Lewis 2019 (1910.13461: base, large); tiny and mini are BERT's, twice.
MASS: Song 2019 (1905.02450: base), which is a BART of the paper's sizes; tiny follows its proportions.
T5: Raffel 2019 (1910.10683: small, base) and Tay 2021 (Scale Efficiently, 2109.10686: tiny, mini). Version 1.1 (gated
as in Shazeer 2020, 2002.05202; no dropout in pre-training, a vocabulary matrix of its own to answer by) has the
release's small and base; tiny and mini follow their proportions.
ELMo: Peters 2018 (1802.05365), and with transformers Peters 2018 (1808.08949); medium and small are as wide as the
release's, mini and tiny follow their proportions.
GRU: Kiros 2015 (1506.06726: large, the uni-skip of skip-thoughts); tiny and mini are as wide as BERT's.
XLNet: Yang 2019 (1906.08237: large, and base, which is as large as BERT's); tiny and mini are BERT's.
Transformer-XL: Dai 2019 (1901.02860, WikiText-103: base, its table's 151M, and large); tiny and mini are BERT's.
MobileBERT: Sun 2020 (2004.02984: base, its 25.3M); tiny follows its proportions.
DeBERTa: He 2021 (2111.09543: large, base, small, xsmall, its third version); tiny and mini are BERT's.
Reformer: Kitaev 2020 (2001.04451: base, its 12 layers for enwik8, a vocabulary of bytes); tiny and mini are BERT's in
either stream, so that states are twice as wide.
"""

from __future__ import annotations

import difflib
from typing import Any

from unmask.config.merge import overlay
from unmask.models.shape import Shape


def _bert(layers: int, width: int) -> Shape:
    return Shape(layers=layers, width=width, heads=width // 64, feed_forward=4 * width)


def _unilm(layers: int, width: int) -> Shape:
    return _bert(layers, width).model_copy(update={"vocab_size": 28996})


def _roberta(layers: int, width: int) -> Shape:
    others = {"family": "roberta", "vocab_size": 50265, "segments": 1, "norm_eps": 1e-5}
    return _bert(layers, width).model_copy(update=others)


def _distilbert(layers: int, width: int) -> Shape:
    return _bert(layers, width).model_copy(update={"family": "distilbert", "segments": 0})


def _gpt2(layers: int, width: int) -> Shape:
    return Shape(
        family="gpt2", vocab_size=50257, layers=layers, width=width, heads=width // 64, feed_forward=4 * width,
        max_length=1024, norm="before", norm_eps=1e-5, segments=0, activation="gelu_tanh", embedding_norm=False,
        causal=True,
    )  # fmt: skip


def _electra(layers: int, width: int, embedding_width: int | None = None) -> Shape:
    return _bert(layers, width).model_copy(update={"family": "electra", "embedding_width": embedding_width})


def _albert(layers: int, width: int, embedding_width: int = 128) -> Shape:
    return Shape(
        family="albert", vocab_size=30000, layers=layers, width=width, heads=width // 64, feed_forward=4 * width,
        embedding_width=embedding_width, layer_sharing="all", activation="gelu_tanh", dropout=0.0,
        attention_dropout=0.0,
    )  # fmt: skip


def _modernbert(layers: int, width: int, feed_forward: int) -> Shape:
    return Shape(
        family="modernbert", vocab_size=50368, layers=layers, width=width, heads=width // 64,
        feed_forward=feed_forward, max_length=8192, dropout=0.0, attention_dropout=0.0,
        positions="rotary", norm="before", norm_eps=1e-5, bias=False, gated=True,
        segments=0, window=128, global_every=3,
    )  # fmt: skip


def _longformer(layers: int, width: int, window: int) -> Shape:
    return Shape(
        family="longformer", vocab_size=50265, layers=layers, width=width, heads=width // 64, feed_forward=4 * width,
        max_length=4096, norm_eps=1e-5, segments=1, window=window, global_every=0, global_tokens="first",
    )  # fmt: skip


def _bart(layers: int, width: int) -> Shape:
    return Shape(
        family="bart", vocab_size=50265, layers=layers, decoder_layers=layers, width=width, heads=width // 64,
        feed_forward=4 * width, max_length=1024, norm_eps=1e-5, segments=0, activation_dropout=0.1,
    )  # fmt: skip


def _mass(layers: int, width: int) -> Shape:
    others = {"vocab_size": 60000, "heads": width // 128, "activation_dropout": 0.0}
    return _bart(layers, width).model_copy(update=others)


T5 = Shape(
    family="t5", vocab_size=32128, positions="buckets", norm="before", norm_kind="rms", norm_eps=1e-6, bias=False,
    embedding_norm=False, embedding_scale="output", activation="relu", activation_dropout=0.1, segments=0,
)  # fmt: skip
T5_1_1 = {
    "family": "t5-v1.1", "activation": "gelu_tanh", "gated": True, "embedding_scale": "none", "tied": False,
    "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
}  # fmt: skip


def _t5(layers: int, width: int, feed_forward: int, heads: int, head_width: int, **others: Any) -> Shape:
    sizes = {"layers": layers, "decoder_layers": layers, "width": width, "feed_forward": feed_forward}
    return T5.model_copy(update={**sizes, "heads": heads, "head_width": head_width, **others})


def _gru(width: int, embedding_width: int | None = None) -> Shape:
    return Shape(
        family="gru", layers=1, width=width, embedding_width=embedding_width, dropout=0.0,
        heads=1, feed_forward=1, segments=0, attention_dropout=0.0,
    )  # fmt: skip


def _xlnet(layers: int, width: int) -> Shape:
    return Shape(
        family="xlnet", vocab_size=32000, layers=layers, width=width, heads=width // 64, feed_forward=4 * width,
        positions="relative", embedding_norm=False, activation_dropout=0.1,
    )  # fmt: skip


def _transformer_xl(
    layers: int, width: int, heads: int, feed_forward: int, dropout: float = 0.1, attention_dropout: float = 0.0
) -> Shape:
    return Shape(
        family="transformer_xl", vocab_size=267735, layers=layers, width=width, heads=heads, feed_forward=feed_forward,
        max_length=1024, positions="relative", embedding_norm=False, embedding_scale="input", activation="relu",
        norm_eps=1e-5, causal=True, segments=0, dropout=dropout, attention_dropout=attention_dropout,
        activation_dropout=dropout,
    )  # fmt: skip


def _elmo(width: int, cells: int, filters: int = 2048) -> Shape:
    return Shape(
        family="elmo", embedding="char_cnn", filters=filters, tied=False, width=width, layers=2, feed_forward=cells,
        init_std=(width // 2) ** -0.5, heads=1, segments=0, attention_dropout=0.0, positions="none",
        embedding_norm=False,
    )  # fmt: skip


def _elmo_transformer(layers: int, width: int, filters: int = 2048) -> Shape:
    return Shape(
        family="elmo-transformer", embedding="char_cnn", filters=filters, tied=False, width=width, layers=layers,
        heads=width // 128, feed_forward=2 * width, segments=0, positions="rotary", rotary_base=10_000.0,
        embedding_norm=False, activation="relu", norm_eps=1e-5,
    )  # fmt: skip


def _mobilebert(layers: int, width: int) -> Shape:
    return Shape(
        family="mobilebert", layers=layers, width=width, embedding_width=width // 4, bottleneck=width // 4, heads=4,
        feed_forward=width, feed_forwards=4, norm_kind="none", activation="relu", dropout=0.0,
    )  # fmt: skip


def _deberta(layers: int, width: int) -> Shape:
    return Shape(
        family="deberta", vocab_size=128100, layers=layers, width=width, heads=width // 64, feed_forward=4 * width,
        positions="disentangled", norm_eps=1e-7, segments=0,
    )  # fmt: skip


def _reformer(layers: int, width: int, length: int = 4096, heads: int | None = None, **parts: Any) -> Shape:
    """Of a stream's width; chunks of 64 tokens are those of transformers' defaults."""
    return Shape(
        family="reformer", vocab_size=258, layers=layers, width=2 * width, heads=heads or width // 64,
        feed_forward=4 * width, max_length=length, positions="axial", norm="before", embedding_norm=False, tied=False,
        segments=0, activation="relu", activation_dropout=0.1, head_width=width // (heads or width // 64),
        reformer={"hashes": 4, "axial": (length // 64, 64), **parts},
    )  # fmt: skip


PRESETS: dict[str, Shape] = {
    "bert-tiny": _bert(2, 128),
    "bert-mini": _bert(4, 256),
    "bert-small": _bert(4, 512),
    "bert-base": _bert(12, 768),
    "bert-large": _bert(24, 1024),
    "unilm-base": _unilm(12, 768),
    "unilm-large": _unilm(24, 1024),
    "roberta-tiny": _roberta(2, 128),
    "roberta-mini": _roberta(4, 256),
    "roberta-small": _roberta(4, 512),
    "roberta-base": _roberta(12, 768),
    "roberta-large": _roberta(24, 1024),
    "distilbert-tiny": _distilbert(2, 128),
    "distilbert-mini": _distilbert(4, 256),
    "distilbert-base": _distilbert(6, 768),
    "tinybert-4": Shape(layers=4, width=312, heads=12, feed_forward=1200),
    "tinybert-6": _bert(6, 768),
    "modernbert-tiny": _modernbert(4, 128, 192),
    "modernbert-mini": _modernbert(7, 256, 384),
    "modernbert-small": _modernbert(10, 384, 576),
    "modernbert-base": _modernbert(22, 768, 1152),
    "modernbert-large": _modernbert(28, 1024, 2624),
    "electra-tiny": _electra(2, 128, 64),
    "electra-small": _electra(12, 256, 128),
    "electra-base": _electra(12, 768),
    "electra-large": _electra(24, 1024),
    "albert-tiny": _albert(2, 128, 64),
    "albert-base": _albert(12, 768),
    "albert-large": _albert(24, 1024),
    "albert-xlarge": _albert(24, 2048).model_copy(update={"heads": 16}),
    "albert-xxlarge": _albert(12, 4096),
    "gpt2-tiny": _gpt2(2, 128),
    "gpt2-mini": _gpt2(4, 256),
    "gpt2-small": _gpt2(12, 768),
    "gpt2-medium": _gpt2(24, 1024),
    "longformer-tiny": _longformer(2, 128, 128),
    "longformer-mini": _longformer(4, 256, 256),
    "longformer-base": _longformer(12, 768, 512),
    "longformer-large": _longformer(24, 1024, 512),
    "bart-tiny": _bart(2, 128),
    "bart-mini": _bart(4, 256),
    "bart-base": _bart(6, 768),
    "bart-large": _bart(12, 1024),
    "mass-tiny": _mass(2, 128),
    "mass-base": _mass(6, 1024),
    "t5-tiny": _t5(4, 256, 1024, 4, 64),
    "t5-mini": _t5(4, 384, 1536, 8, 64),
    "t5-small": _t5(6, 512, 2048, 8, 64),
    "t5-base": _t5(12, 768, 3072, 12, 64),
    "t5-v1.1-tiny": _t5(4, 256, 512, 4, 64, **T5_1_1),
    "t5-v1.1-mini": _t5(4, 384, 768, 6, 64, **T5_1_1),
    "t5-v1.1-small": _t5(8, 512, 1024, 6, 64, **T5_1_1),
    "t5-v1.1-base": _t5(12, 768, 2048, 12, 64, **T5_1_1),
    "elmo-tiny": _elmo(128, 256, 256),
    "elmo-mini": _elmo(256, 512, 512),
    "elmo-small": _elmo(256, 1024),
    "elmo-medium": _elmo(512, 2048),
    "elmo": _elmo(1024, 4096),
    "elmo-transformer-tiny": _elmo_transformer(2, 256, 256),
    "elmo-transformer": _elmo_transformer(6, 1024),
    "gru-tiny": _gru(128),
    "gru-mini": _gru(256),
    "gru-large": _gru(2400, 620).model_copy(update={"vocab_size": 20000}),
    "xlnet-tiny": _xlnet(2, 128),
    "xlnet-mini": _xlnet(4, 256),
    "xlnet-base": _xlnet(12, 768),
    "xlnet-large": _xlnet(24, 1024),
    "transformer-xl-tiny": _transformer_xl(2, 128, 2, 512),
    "transformer-xl-mini": _transformer_xl(4, 256, 4, 1024),
    "transformer-xl-base": _transformer_xl(16, 410, 10, 2100),
    "transformer-xl-large": _transformer_xl(18, 1024, 16, 4096, dropout=0.2, attention_dropout=0.2),
    "mobilebert-tiny": _mobilebert(4, 128),
    "mobilebert-base": _mobilebert(24, 512),
    "deberta-v3-tiny": _deberta(2, 128),
    "deberta-v3-mini": _deberta(4, 256),
    "deberta-v3-xsmall": _deberta(12, 384),
    "deberta-v3-small": _deberta(6, 768),
    "deberta-v3-base": _deberta(12, 768),
    "deberta-v3-large": _deberta(24, 1024),
    "reformer-tiny": _reformer(2, 128),
    "reformer-mini": _reformer(4, 256),
    "reformer-base": _reformer(12, 1024, 65536, 8, axial=(128, 512), local_chunk=128, lsh_chunk=256, buckets=512),
}

USUAL = {
    "encoder": "modernbert-mini",
    "decoder": "gpt2-mini",
    "encoder_decoder": "bart-mini",
    "gru": "gru-mini",
    "xlnet": "xlnet-mini",
    "transformer_xl": "transformer-xl-mini",
    "elmo": "elmo-mini",
}
"By flow of data (`Shape.flow`), the model that is taken where none is named."


def resolve(value: Any) -> Any:
    """A preset's name, alone or with settings that replace some of its own, to those settings.

    ``"bert-mini"`` or ``{"name": "bert-mini", "layers": 3}``. The paper's vocabulary is not among them: where a size is
    set, somebody asked for it.
    """
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or "name" not in value:
        return value
    changes = {k: v for k, v in value.items() if k != "name"}
    return overlay(Shape, _named(str(value["name"])).model_dump(exclude={"vocab_size"}), changes)


def name_of(shape: Shape) -> str:
    """The preset of this shape, whatever its vocabulary; its family where no preset is."""
    size = {"vocab_size": shape.vocab_size}
    return next(
        (name for name, preset in PRESETS.items() if preset.model_copy(update=size) == shape),
        shape.family if shape.layers else "vectors of tokens",
    )


def _named(name: str) -> Shape:
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(PRESETS)}"
        raise ValueError(f"no model is named '{name}'; {hint}")
    return PRESETS[name]
