"""T5 (Raffel 2019, 1910.10683), and its version 1.1 (Shazeer 2020, 2002.05202): a gated feed-forward.

MT5 (Xue 2020, 2010.11934) is version 1.1 of texts in many languages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import BUCKETS, Shape
from unmask.nn.heads import DecoderLMHead
from unmask.nn.positions import FURTHEST

LONGEST = 512
"Where a file does not say; distances have no end."


def _read(config: Config, path: Path) -> dict[str, Any]:
    _refuse_one_stack(config.get("architectures"), path)
    dropout, tied = config["dropout_rate"], config.get("tie_word_embeddings", True)
    many = config["model_type"] == "mt5"
    meant = {"relu": "relu", "gated-gelu": "gelu_new"}[
        config.get("feed_forward_proj", "gated-gelu" if many else "relu")
    ]
    refuse_other(config, {"dense_act_fn": meant}, path)  # which wins there
    return {
        "tied": tied,
        "max_length": config.get("n_positions", LONGEST),
        "attention_dropout": dropout,
        "activation_dropout": dropout,
        "decoder_layers": config.get("num_decoder_layers", config["num_layers"]),
        # transformers before 5 told by this setting alone, and later ones tie whatever a file does not hold twice
        "embedding_scale": "output" if config.get("scale_decoder_outputs", tied and not many) else "none",
    }


def _refuse_one_stack(classes: Any, path: Path) -> None:
    for name in classes if isinstance(classes, list) else [classes]:
        if str(name).endswith(("EncoderModel", "ForTokenClassification")):
            fits = "T5ForConditionalGeneration would fit"
            raise UserError(f"{path}: architectures {name}: an encoder alone, and both stacks are wanted; {fits}")


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    others = {shape.attention_dropout, shape.activation_dropout}
    if others != {shape.dropout}:
        raise UserError(
            f"{path}: Hugging Face's t5 has one dropout; model.attention_dropout and model.activation_dropout "
            f"{shape.dropout} would fit"
        )
    if shape.embedding_scale == "input":
        raise UserError(f"{path}: Hugging Face's t5 has no place for model.embedding_scale input; output would fit")
    return {
        "d_kv": shape.width_per_head,
        "num_decoder_layers": shape.decoder_layers,
        "n_positions": shape.max_length,
        "tie_word_embeddings": shape.tied,
        "scale_decoder_outputs": shape.embedding_scale == "output",
        "is_encoder_decoder": True,
    }


def _stack(ours: str, theirs: str, last: int, into: str) -> dict[str, str]:
    """What an encoder and a decoder have alike; a feed-forward is the ``last`` of a block's sublayers."""
    block = f"{theirs}.block.#.layer"
    return {
        f"{ours}.distances": f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias",
        f"{ours}.blocks.#.attention_norm": f"{block}.0.layer_norm",
        f"{ours}.blocks.#.attention.qkv": f"{block}.0.SelfAttention.{{q,k,v}}",
        f"{ours}.blocks.#.attention.out": f"{block}.0.SelfAttention.o",
        f"{ours}.blocks.#.feed_forward_norm": f"{block}.{last}.layer_norm",
        f"{ours}.blocks.#.feed_forward.into": f"{block}.{last}.DenseReluDense.{into}",
        f"{ours}.blocks.#.feed_forward.out": f"{block}.{last}.DenseReluDense.wo",
        f"{ours}.norm": f"{theirs}.final_layer_norm",
    }


def _family(feed_forward: str, into: str, activation: str) -> Family:
    return Family(
        model_type="t5",
        rules={
            "backbone.embeddings.tokens": "shared",
            **_stack("backbone", "encoder", 1, into),
            **_stack("backbone.decoder", "decoder", 2, into),
            "backbone.decoder.blocks.#.cross_attention_norm": "decoder.block.#.layer.1.layer_norm",
            "backbone.decoder.blocks.#.cross_attention.query": "decoder.block.#.layer.1.EncDecAttention.q",
            "backbone.decoder.blocks.#.cross_attention.key_value": "decoder.block.#.layer.1.EncDecAttention.{k,v}",
            "backbone.decoder.blocks.#.cross_attention.out": "decoder.block.#.layer.1.EncDecAttention.o",
            "heads.decoder_lm.vocabulary": "lm_head.weight",
        },
        prefix="",
        numbers={
            "vocab_size": "vocab_size", "width": "d_model", "head_width": "d_kv", "layers": "num_layers",
            "heads": "num_heads", "feed_forward": "d_ff", "dropout": "dropout_rate", "norm_eps": "layer_norm_epsilon",
        },
        defaults={
            "vocab_size": 32128, "d_model": 512, "d_kv": 64, "num_layers": 6, "num_heads": 8, "d_ff": 2048,
            "dropout_rate": 0.1, "layer_norm_epsilon": 1e-6,
        },
        architectures={(): "T5Model", ("decoder_lm",): "T5ForConditionalGeneration"},
        heads={"decoder_lm": Head(DecoderLMHead, "heads.decoder_lm.vocabulary", "span_corruption", bare=True)},
        also=("mt5",),
        told_by={"feed_forward_proj": feed_forward} if feed_forward != "relu" else {},
        fixed={
            "feed_forward_proj": feed_forward, "relative_attention_num_buckets": BUCKETS,
            "relative_attention_max_distance": FURTHEST,
        },
        parts={
            "positions": "buckets", "norm": "before", "norm_kind": "rms", "embedding_norm": False, "bias": False,
            "activation": activation, "gated": feed_forward != "relu", "segments": 0, "window": None,
        },
        settled=("decoder_layers", "activation_dropout", "embedding_scale", "tied"),
        vocabulary="lm_head",
        older={"transformer.": ""},  # in a class for a task
        copies=("encoder.embed_tokens", "decoder.embed_tokens"),
        aliases={"hidden_size": "d_model", "num_attention_heads": "num_heads", "num_hidden_layers": "num_layers",
            "head_dim": "d_kv"},
        ids={"pad_token_id": "pad", "eos_token_id": "sep", "decoder_start_token_id": "pad"},
        buffers=("decoder.block.#.layer.#.EncDecAttention.relative_attention_bias.weight",),
        read=_read,
        write=_write,
    )  # fmt: skip


FAMILY = _family("relu", "wi", "relu")
FAMILY_1_1 = _family("gated-gelu", "{wi_0,wi_1}", "gelu_tanh")
