"""ModernBERT (Warner 2024, 2412.13663)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import Shape
from unmask.nn.heads import MaskedLMHead

WINDOW = 128
"Where a file does not say."


def _read(config: Config, path: Path) -> dict[str, Any]:
    bias = config["norm_bias"]
    biases = dict.fromkeys(("attention_bias", "mlp_bias", "classifier_bias"), bias)
    # a bias or a dropout that is left out is off there
    refuse_other({**dict.fromkeys(biases, False), **config}, biases, path)
    refuse_other(config, {"mlp_dropout": config["embedding_dropout"]}, path)
    if "sliding_window" in config:  # which means one side there
        refuse_other(config, {"sliding_window": config["local_attention"] // 2}, path)
    every = _global_every(config, path)
    return {
        "bias": bias,
        "rotary_base": _rotary_base(config, "full", path),
        "local_rotary_base": _rotary_base(config, "sliding", path),
        "global_every": every,
        "window": config["local_attention"] if every > 1 else None,
    }


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    kinds = ["full_attention" if shape.is_global(i) else "sliding_attention" for i in range(shape.layers)]
    bases = {"full_attention": shape.rotary_base, "sliding_attention": shape.local_rotary_base}
    return {
        "local_attention": shape.window or WINDOW,
        "mlp_dropout": shape.dropout,
        "classifier_dropout": shape.dropout,
        **{f"{part}_bias": shape.bias for part in ("norm", "attention", "mlp", "classifier")},
        "decoder_bias": True,
        "layer_types": kinds,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
        # the same for versions of transformers before 5
        "global_attn_every_n_layers": shape.global_every if shape.window else 1,
        "global_rope_theta": shape.rotary_base,
        "local_rope_theta": shape.local_rotary_base,
    }


def _global_every(config: Config, path: Path) -> int:
    kinds = config.get("layer_types")
    every = int(config.get("global_attn_every_n_layers", 3))
    if kinds is None:
        if every < 1:
            raise UserError(f"{path}: global_attn_every_n_layers {every}: every n-th layer is meant; 1 would fit")
        return every
    for n in (max(1, every), *range(1, len(kinds) + 1)):
        if kinds == ["sliding_attention" if i % n else "full_attention" for i in range(config["num_hidden_layers"])]:
            return int(n)
    raise UserError(f"{path}: layer_types does not repeat; full_attention in every n-th layer from the first would fit")


def _rotary_base(config: Config, kind: str, path: Path) -> float:
    old = {"full": "global_rope_theta", "sliding": "local_rope_theta"}[kind]
    default = {"full": 160_000.0, "sliding": 10_000.0}[kind]
    found = (config.get("rope_parameters") or {}).get(f"{kind}_attention") or {}
    if (scaled := found.get("rope_type", found.get("type", "default"))) != "default" or config.get("rope_scaling"):
        raise UserError(f"{path}: rope_type {scaled!r} or rope_scaling is not known here; default rotary positions fit")
    return float(found["rope_theta"] if "rope_theta" in found else config.get(old, default))


FAMILY = Family(
    model_type="modernbert",
    rules={
        "backbone.embeddings.tokens": "model.embeddings.tok_embeddings",
        "backbone.embeddings.norm": "model.embeddings.norm",
        "backbone.blocks.#.attention_norm": "model.layers.#.attn_norm",
        "backbone.blocks.#.attention.qkv": "model.layers.#.attn.Wqkv",
        "backbone.blocks.#.attention.out": "model.layers.#.attn.Wo",
        "backbone.blocks.#.feed_forward_norm": "model.layers.#.mlp_norm",
        "backbone.blocks.#.feed_forward.into": "model.layers.#.mlp.Wi",
        "backbone.blocks.#.feed_forward.out": "model.layers.#.mlp.Wo",
        "backbone.norm": "model.final_norm",
        "heads.masked_lm.dense": "head.dense",
        "heads.masked_lm.norm": "head.norm",
        "heads.masked_lm": "decoder",
        "heads.task.dense": "head.dense",
        "heads.task.norm": "head.norm",
        "heads.task.classifier": "classifier",
    },
    prefix="model.",
    numbers={
        "vocab_size": "vocab_size", "width": "hidden_size", "layers": "num_hidden_layers",
        "heads": "num_attention_heads", "feed_forward": "intermediate_size", "max_length": "max_position_embeddings",
        "init_std": "initializer_range", "dropout": "embedding_dropout", "attention_dropout": "attention_dropout",
        "norm_eps": "norm_eps",
    },
    defaults={
        "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
        "intermediate_size": 1152, "max_position_embeddings": 8192, "initializer_range": 0.02,
        "embedding_dropout": 0.0, "attention_dropout": 0.0, "mlp_dropout": 0.0, "norm_eps": 1e-5, "norm_bias": False,
        "local_attention": WINDOW,
    },
    architectures={(): "ModernBertModel", ("masked_lm",): "ModernBertForMaskedLM"},
    heads={"masked_lm": Head(MaskedLMHead, "heads.masked_lm.bias")},
    fixed={"hidden_activation": "gelu", "classifier_activation": "gelu", "tie_word_embeddings": True},
    parts={"positions": "rotary", "norm": "before", "gated": True, "segments": 0},
    vocabulary="decoder",
    ids={
        "pad_token_id": "pad", "bos_token_id": "cls", "cls_token_id": "cls", "eos_token_id": "sep",
        "sep_token_id": "sep",
    },
    pools=("cls", "mean"),
    read=_read,
    write=_write,
)  # fmt: skip
