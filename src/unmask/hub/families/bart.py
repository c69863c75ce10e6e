"""BART (Lewis 2019, 1910.13461).

Its tables of positions begin with two rows that nothing reads: they are zeros where we write them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import Shape
from unmask.nn.heads import DecoderLMHead

OLD = {
    "normalize_before": False, "normalize_embedding": True, "add_final_layer_norm": False, "add_bias_logits": False,
    "static_position_embeddings": False, "extra_pos_embeddings": 2,
}  # fmt: skip
"Settings of old files, as all of BART's have them."


def _read(config: Config, path: Path) -> dict[str, Any]:
    alike = {"decoder_attention_heads": config["encoder_attention_heads"], "decoder_ffn_dim": config["encoder_ffn_dim"]}
    refuse_other(config, {**OLD, **alike}, path)
    return {"embedding_scale": "input" if config["scale_embedding"] else "none"}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    return {
        "decoder_attention_heads": shape.heads,
        "decoder_ffn_dim": shape.feed_forward,
        "scale_embedding": shape.embedding_scale == "input",
        "is_encoder_decoder": True,
    }


def _stack(ours: str, theirs: str) -> dict[str, str]:
    """What an encoder and a decoder have alike."""
    layer = f"{theirs}.layers.#"
    return {
        f"{ours}.embeddings.positions": f"{theirs}.embed_positions^+2",
        f"{ours}.embeddings.norm": f"{theirs}.layernorm_embedding",
        f"{ours}.blocks.#.attention.qkv": f"{layer}.self_attn.{{q_proj,k_proj,v_proj}}",
        f"{ours}.blocks.#.attention.out": f"{layer}.self_attn.out_proj",
        f"{ours}.blocks.#.attention_norm": f"{layer}.self_attn_layer_norm",
        f"{ours}.blocks.#.feed_forward.into": f"{layer}.fc1",
        f"{ours}.blocks.#.feed_forward.out": f"{layer}.fc2",
        f"{ours}.blocks.#.feed_forward_norm": f"{layer}.final_layer_norm",
    }


FAMILY = Family(
    model_type="bart",
    rules={
        "backbone.embeddings.tokens": "model.shared",
        **_stack("backbone", "model.encoder"),
        **_stack("backbone.decoder", "model.decoder"),
        "backbone.decoder.blocks.#.cross_attention.query": "model.decoder.layers.#.encoder_attn.q_proj",
        "backbone.decoder.blocks.#.cross_attention.key_value": "model.decoder.layers.#.encoder_attn.{k_proj,v_proj}",
        "backbone.decoder.blocks.#.cross_attention.out": "model.decoder.layers.#.encoder_attn.out_proj",
        "backbone.decoder.blocks.#.cross_attention_norm": "model.decoder.layers.#.encoder_attn_layer_norm",
        "heads.decoder_lm.bias": "final_logits_bias^1",
    },
    prefix="model.",
    numbers={
        "vocab_size": "vocab_size", "width": "d_model", "layers": "encoder_layers", "decoder_layers": "decoder_layers",
        "heads": "encoder_attention_heads", "feed_forward": "encoder_ffn_dim", "max_length": "max_position_embeddings",
        "init_std": "init_std", "dropout": "dropout", "attention_dropout": "attention_dropout",
        "activation_dropout": "activation_dropout",
    },
    defaults={
        "vocab_size": 50265, "d_model": 1024, "encoder_layers": 12, "decoder_layers": 12,
        "encoder_attention_heads": 16, "decoder_attention_heads": 16, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096,
        "max_position_embeddings": 1024, "init_std": 0.02, "dropout": 0.1, "attention_dropout": 0.0,
        "activation_dropout": 0.0, "scale_embedding": False,
    },
    architectures={(): "BartModel", ("decoder_lm",): "BartForConditionalGeneration"},
    heads={"decoder_lm": Head(DecoderLMHead, "heads.decoder_lm.bias", "denoising")},
    fixed={
        "activation_function": "gelu", "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "tie_word_embeddings": True,
    },
    parts={
        "positions": "learned", "norm": "after", "norm_eps": 1e-5, "bias": True, "gated": False, "segments": 0,
        "window": None,
    },
    settled=("embedding_scale",),
    vocabulary="lm_head",
    copies=("model.encoder.embed_tokens", "model.decoder.embed_tokens"),
    aliases={
        "num_attention_heads": "encoder_attention_heads", "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
    },
    ids={
        "pad_token_id": "pad", "bos_token_id": "cls", "eos_token_id": "sep", "decoder_start_token_id": "sep",
        "forced_eos_token_id": "sep",
    },
    read=_read,
    write=_write,
)  # fmt: skip
