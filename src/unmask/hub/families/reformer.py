"""Reformer (Kitaev 2020, 2001.04451).

Their ``hidden_size`` is the width of one stream, and their states are as wide as two. The class that masks and the one
that writes from the left keep their head under the same names; ``is_decoder`` says which of them a file is of.

With a ``hash_seed`` they draw the same rotations in every layer, and so do we in use; without one theirs differ from
call to call. How many tokens go through the feed-forward at once is a matter of use, neither read nor carried: theirs
refuses texts that are no multiple of it. Their heads hold a bias that transformers 5 does not add: it is written as
zeros, and where a file of old holds others they are left out, which is said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import Shape, built_in
from unmask.nn.heads import WholeStateHead

LAYER = "reformer.encoder.layers.#"
PARTS = {
    "local_chunk": "local_attn_chunk_length", "lsh_chunk": "lsh_attn_chunk_length", "hashes": "num_hashes",
    "lsh_dropout": "lsh_attention_probs_dropout_prob",
}  # fmt: skip
"Our names of parts to theirs that mean the same."
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}


def _read(config: Config, path: Path) -> dict[str, Any]:
    ours = {theirs: name for name, theirs in ACTIVATIONS.items()}
    if config["hidden_act"] not in ours:
        refuse_other(config, {"hidden_act": "relu"}, path)
    if not isinstance(config["attn_layers"], list) or not config["attn_layers"]:
        refuse_other(config, {"attn_layers": ["local", "lsh"]}, path)
    refuse_other(config, {"num_hidden_layers": len(config["attn_layers"])}, path)
    axial = bool(config["axial_pos_embds"])
    if axial and sum(config["axial_pos_embds_dim"]) != config["hidden_size"]:
        raise UserError(f"{path}: axial_pos_embds_dim does not add up to hidden_size {config['hidden_size']}")
    buckets = config.get("num_buckets")
    parts = {name: config[theirs] for name, theirs in PARTS.items()} | {
        "attention": _in_turn(tuple(config["attn_layers"])),
        "buckets": buckets[0] if isinstance(buckets, list) and len(buckets) == 1 else buckets,
        "hash_seed": config.get("hash_seed", 0),
        "axial": tuple(config["axial_pos_shape"]) if axial else None,
        "axial_width": _row_width(config) if axial else None,
    }
    return {
        "width": 2 * config["hidden_size"],
        "layers": len(config["attn_layers"]),
        "positions": "axial" if axial else "learned",
        "activation": ours[config["hidden_act"]],
        "reformer": parts,
    }


def _row_width(config: Config) -> int | None:
    """None where it is the usual quarter."""
    row: int = config["axial_pos_embds_dim"][0]
    return None if row == config["hidden_size"] // 4 else row


def _in_turn(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The shortest beginning that repeats to make all of them."""
    return next(kinds[:n] for n in range(1, len(kinds) + 1) if kinds == (kinds[:n] * len(kinds))[: len(kinds)])


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    parts = shape.reformer
    assert parts is not None
    if shape.activation_dropout != shape.dropout:
        raise UserError(
            f"{path}: Hugging Face's reformer has one dropout, {shape.dropout} here; model.activation_dropout "
            f"{shape.activation_dropout} has no place"
        )
    axial = {"axial_pos_shape": parts.axial, "axial_pos_embds_dim": parts.axial_widths(shape.token_width)}
    return {
        **{theirs: getattr(parts, name) for name, theirs in PARTS.items()},
        **{name: list(value) for name, value in axial.items() if parts.axial and value},
        "hidden_size": shape.token_width,
        "attention_head_size": shape.width_per_head,
        "attn_layers": [parts.kind(layer) for layer in range(shape.layers)],
        "num_buckets": list(parts.buckets) if isinstance(parts.buckets, tuple) else parts.buckets,
        "hash_seed": parts.hash_seed,
        "axial_pos_embds": parts.axial is not None,
        "hidden_act": ACTIVATIONS[shape.activation],
    }


FAMILY = Family(
    model_type="reformer",
    rules={
        "backbone.embeddings.tokens": "reformer.embeddings.word_embeddings",
        "backbone.embeddings.positions": "reformer.embeddings.position_embeddings.embedding",
        "backbone.embeddings.positions.rows": "reformer.embeddings.position_embeddings.weights.0",
        "backbone.embeddings.positions.columns": "reformer.embeddings.position_embeddings.weights.1",
        "backbone.blocks.#.attention_norm": f"{LAYER}.attention.layer_norm",
        "backbone.blocks.#.attention.qkv": f"{LAYER}.attention.self_attention.{{query,key,value}}",
        "backbone.blocks.#.attention.qv": f"{LAYER}.attention.self_attention.{{query_key,value}}",
        "backbone.blocks.#.attention.out": f"{LAYER}.attention.output.dense",
        "backbone.blocks.#.feed_forward_norm": f"{LAYER}.feed_forward.layer_norm",
        "backbone.blocks.#.feed_forward.into": f"{LAYER}.feed_forward.dense.dense",
        "backbone.blocks.#.feed_forward.out": f"{LAYER}.feed_forward.output.dense",
        "backbone.norm": "reformer.encoder.layer_norm",
        "heads.masked_lm.vocabulary": "lm_head.decoder.weight",
        "heads.causal_lm.vocabulary": "lm_head.decoder.weight",
        "heads.task.dense": "classifier.dense",
        "heads.task.out_proj": "classifier.out_proj",
    },
    prefix="reformer.",
    numbers={
        "vocab_size": "vocab_size", "heads": "num_attention_heads", "head_width": "attention_head_size",
        "feed_forward": "feed_forward_size", "max_length": "max_position_embeddings", "causal": "is_decoder",
        "dropout": "hidden_dropout_prob", "activation_dropout": "hidden_dropout_prob",
        "attention_dropout": "local_attention_probs_dropout_prob", "norm_eps": "layer_norm_eps",
        "init_std": "initializer_range",
    },
    defaults={
        "vocab_size": 320, "num_attention_heads": 12, "attention_head_size": 64, "feed_forward_size": 512,
        "max_position_embeddings": 4096, "is_decoder": False, "hidden_dropout_prob": 0.05, "hidden_size": 256,
        "local_attention_probs_dropout_prob": 0.05, "lsh_attention_probs_dropout_prob": 0.0, "layer_norm_eps": 1e-12,
        "initializer_range": 0.02, "hidden_act": "relu", "axial_pos_embds": True, "axial_pos_shape": [64, 64],
        "axial_pos_embds_dim": [64, 192], "local_attn_chunk_length": 64, "lsh_attn_chunk_length": 64, "num_hashes": 1,
        "attn_layers": ["local", "lsh", "local", "lsh", "local", "lsh"],
    },
    architectures={
        (): "ReformerModel", ("masked_lm",): "ReformerForMaskedLM", ("causal_lm",): "ReformerModelWithLMHead",
    },
    heads={
        "masked_lm": Head(WholeStateHead, "heads.masked_lm.vocabulary", causal=False),
        "causal_lm": Head(WholeStateHead, "heads.causal_lm.vocabulary", causal=True),
    },
    fixed={
        "local_num_chunks_before": 1, "local_num_chunks_after": 0, "lsh_num_chunks_before": 1,
        "lsh_num_chunks_after": 0, "tie_word_embeddings": False,
    },
    parts=built_in("reformer"),
    settled=("activation", "positions", "reformer"),
    vocabulary="lm_head.decoder",
    ids={"pad_token_id": "pad", "bos_token_id": "cls", "eos_token_id": "sep"},
    classless=("TokenClassification",),
    idle=("lm_head.bias",),
    read=_read,
    write=_write,
)  # fmt: skip
