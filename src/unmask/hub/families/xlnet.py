"""XLNet (Yang 2019, 1906.08237).

How long a memory is kept (``mem_len``, ``reuse_len``) is a matter of how a model is used, not of the model: it is
neither read nor carried. ``max_sequence_length`` is ours, for there no sequence is too long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import Shape, built_in
from unmask.nn.heads import PermutationLMHead

ATTENTION, THEIRS = "backbone.blocks.#.attention", "transformer.layer.#.rel_attn"


def _read(config: Config, path: Path) -> dict[str, Any]:
    refuse_other(config, {"d_head": int(config["d_model"]) // int(config["n_head"])}, path)
    return {}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    for name in ("attention_dropout", "activation_dropout"):
        if (other := getattr(shape, name)) != shape.dropout:
            raise UserError(
                f"{path}: Hugging Face's xlnet has one dropout, {shape.dropout} here; model.{name} {other} has no place"
            )
    # our sequences begin with [CLS], where XLNet's own end with it
    summary = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "tanh"}
    return {**summary, "summary_last_dropout": shape.dropout, "mem_len": None, "reuse_len": None}


FAMILY = Family(
    model_type="xlnet",
    rules={
        "backbone.embeddings.tokens": "transformer.word_embedding",
        "backbone.embeddings.query": "transformer.mask_emb^11",
        f"{ATTENTION}.query.weight": f"{THEIRS}.q^TH",
        f"{ATTENTION}.key.weight": f"{THEIRS}.k^TH",
        f"{ATTENTION}.value.weight": f"{THEIRS}.v^TH",
        f"{ATTENTION}.distance.weight": f"{THEIRS}.r^TH",
        f"{ATTENTION}.out.weight": f"{THEIRS}.o^H",
        f"{ATTENTION}.content_bias": f"{THEIRS}.r_w_bias",
        f"{ATTENTION}.position_bias": f"{THEIRS}.r_r_bias",
        f"{ATTENTION}.segment_bias": f"{THEIRS}.r_s_bias",
        f"{ATTENTION}.segments": f"{THEIRS}.seg_embed",
        f"{ATTENTION}_norm": f"{THEIRS}.layer_norm",
        "backbone.blocks.#.feed_forward.into": "transformer.layer.#.ff.layer_1",
        "backbone.blocks.#.feed_forward.out": "transformer.layer.#.ff.layer_2",
        "backbone.blocks.#.feed_forward_norm": "transformer.layer.#.ff.layer_norm",
        "heads.permutation_lm": "lm_loss",
        "heads.task.pooler": "sequence_summary.summary",
        "heads.task.logits_proj": "logits_proj",
        "heads.task.classifier": "classifier",
    },
    prefix="transformer.",
    numbers={
        "vocab_size": "vocab_size", "width": "d_model", "layers": "n_layer", "heads": "n_head",
        "feed_forward": "d_inner", "max_length": "max_sequence_length", "init_std": "initializer_range",
        "norm_eps": "layer_norm_eps", "dropout": "dropout", "attention_dropout": "dropout",
        "activation_dropout": "dropout",
    },
    defaults={
        "vocab_size": 32000, "d_model": 1024, "n_layer": 24, "n_head": 16, "d_inner": 4096,
        "max_sequence_length": 512, "initializer_range": 0.02, "dropout": 0.1, "layer_norm_eps": 1e-12,
    },
    architectures={(): "XLNetModel", ("permutation_lm",): "XLNetLMHeadModel"},
    heads={"permutation_lm": Head(PermutationLMHead, "heads.permutation_lm.bias")},
    fixed={
        "ff_activation": "gelu", "attn_type": "bi", "bi_data": False, "clamp_len": -1, "same_length": False,
        "untie_r": True, "tie_word_embeddings": True,
    },
    parts={"activation": "gelu", **built_in("xlnet")},
    vocabulary="lm_loss",
    aliases={"n_token": "vocab_size", "hidden_size": "d_model", "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer"},
    ids={"pad_token_id": "pad", "bos_token_id": "cls", "eos_token_id": "sep"},
    read=_read,
    write=_write,
)  # fmt: skip
