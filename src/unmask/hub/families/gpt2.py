"""GPT-2 (Radford 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import Shape
from unmask.nn.heads import CausalLMHead


def _read(config: Config, path: Path) -> dict[str, Any]:
    refuse_other(config, {"embd_pdrop": config["resid_pdrop"]}, path)
    return {"feed_forward": config.get("n_inner") or 4 * config["n_embd"]}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    return {"n_inner": shape.feed_forward, "embd_pdrop": shape.dropout, "n_ctx": shape.max_length}


FAMILY = Family(
    model_type="gpt2",
    rules={
        "backbone.embeddings.tokens": "transformer.wte",
        "backbone.embeddings.positions": "transformer.wpe",
        "backbone.blocks.#.attention_norm": "transformer.h.#.ln_1",
        "backbone.blocks.#.attention.qkv": "transformer.h.#.attn.c_attn^T",
        "backbone.blocks.#.attention.out": "transformer.h.#.attn.c_proj^T",
        "backbone.blocks.#.feed_forward_norm": "transformer.h.#.ln_2",
        "backbone.blocks.#.feed_forward.into": "transformer.h.#.mlp.c_fc^T",
        "backbone.blocks.#.feed_forward.out": "transformer.h.#.mlp.c_proj^T",
        "backbone.norm": "transformer.ln_f",
        "heads.task.score": "score",
        "heads.task.classifier": "classifier",
    },
    prefix="transformer.",
    numbers={
        "vocab_size": "vocab_size", "width": "n_embd", "layers": "n_layer", "heads": "n_head",
        "max_length": "n_positions", "init_std": "initializer_range", "dropout": "resid_pdrop",
        "attention_dropout": "attn_pdrop", "norm_eps": "layer_norm_epsilon",
    },
    defaults={
        "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
        "initializer_range": 0.02, "resid_pdrop": 0.1, "attn_pdrop": 0.1, "layer_norm_epsilon": 1e-5,
    },
    architectures={(): "GPT2Model", ("causal_lm",): "GPT2LMHeadModel"},
    heads={"causal_lm": Head(CausalLMHead)},
    fixed={
        "activation_function": "gelu_new", "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False, "add_cross_attention": False, "tie_word_embeddings": True,
    },
    parts={
        "positions": "learned", "norm": "before", "bias": True, "gated": False, "segments": 0, "window": None,
        "causal": True, "activation": "gelu_tanh", "embedding_norm": False,
    },
    vocabulary="lm_head",
    aliases={"hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer"},
    ids={"pad_token_id": "pad", "bos_token_id": "cls", "eos_token_id": "sep"},
    pools=("last",),
    buffers=("transformer.h.#.attn.bias", "transformer.h.#.attn.masked_bias"),
    read=_read,
    write=_write,
)  # fmt: skip
