"""DistilBERT (Sanh 2019, 1910.01108): BERT without segments and without a pooler, by names of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.hub.family import Family, Head
from unmask.models.shape import Shape
from unmask.nn.heads import MaskedLMHead


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    return {"seq_classif_dropout": shape.dropout}


LAYER = "distilbert.transformer.layer.#"

FAMILY = Family(
    model_type="distilbert",
    rules={
        "backbone.embeddings.tokens": "distilbert.embeddings.word_embeddings",
        "backbone.embeddings.positions": "distilbert.embeddings.position_embeddings",
        "backbone.embeddings.norm": "distilbert.embeddings.LayerNorm",
        "backbone.blocks.#.attention.qkv": f"{LAYER}.attention.{{q_lin,k_lin,v_lin}}",
        "backbone.blocks.#.attention.out": f"{LAYER}.attention.out_lin",
        "backbone.blocks.#.attention_norm": f"{LAYER}.sa_layer_norm",
        "backbone.blocks.#.feed_forward.into": f"{LAYER}.ffn.lin1",
        "backbone.blocks.#.feed_forward.out": f"{LAYER}.ffn.lin2",
        "backbone.blocks.#.feed_forward_norm": f"{LAYER}.output_layer_norm",
        "heads.masked_lm.dense": "vocab_transform",
        "heads.masked_lm.norm": "vocab_layer_norm",
        "heads.masked_lm": "vocab_projector",
        "heads.task.pre_classifier": "pre_classifier",
        "heads.task.classifier": "classifier",
    },
    prefix="distilbert.",
    numbers={
        "vocab_size": "vocab_size", "width": "dim", "layers": "n_layers", "heads": "n_heads",
        "feed_forward": "hidden_dim", "max_length": "max_position_embeddings", "init_std": "initializer_range",
        "dropout": "dropout", "attention_dropout": "attention_dropout",
    },
    defaults={
        "vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
        "max_position_embeddings": 512, "initializer_range": 0.02, "dropout": 0.1, "attention_dropout": 0.1,
    },
    architectures={(): "DistilBertModel", ("masked_lm",): "DistilBertForMaskedLM"},
    heads={"masked_lm": Head(MaskedLMHead, "heads.masked_lm.bias")},
    fixed={"activation": "gelu", "sinusoidal_pos_embds": False, "tie_word_embeddings": True, "pruned_heads": {}},
    parts={
        "positions": "learned", "norm": "after", "norm_eps": 1e-12, "bias": True, "gated": False, "segments": 0,
        "window": None,
    },
    vocabulary="vocab_projector",
    aliases={"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"},
    ids={"pad_token_id": "pad"},
    buffers=("distilbert.embeddings.position_ids",),
    write=_write,
)  # fmt: skip
