"""ALBERT (Lan 2019, 1909.11942): one layer's weights for all layers, and embeddings narrower than the model.

Files of several groups of layers, each with weights of its own, are refused: nobody has released any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.hub.families.bert import NUMBERS
from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import Shape
from unmask.nn.heads import MaskedLMHead, SequenceRelationHead

LAYER = "albert.encoder.albert_layer_groups.#.albert_layers.0"


def _read(config: Config, path: Path) -> dict[str, Any]:
    if config["embedding_size"] == config["hidden_size"]:
        raise UserError(f"{path}: embedding_size {config['embedding_size']} is hidden_size; a smaller one would fit")
    activations = {"gelu_new": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
    if (activation := config["hidden_act"]) not in activations:
        refuse_other(config, {"hidden_act": "gelu_new"}, path)
    return {"activation": activations[activation]}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    if shape.embedding_width is None:
        raise UserError(f"{path}: Hugging Face's albert needs model.embedding_width; {shape.width // 2} would fit")
    activations = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}
    return {"hidden_act": activations[shape.activation], "classifier_dropout_prob": shape.dropout}


FAMILY = Family(
    model_type="albert",
    rules={
        "backbone.embeddings.tokens": "albert.embeddings.word_embeddings",
        "backbone.embeddings.positions": "albert.embeddings.position_embeddings",
        "backbone.embeddings.segments": "albert.embeddings.token_type_embeddings",
        "backbone.embeddings.norm": "albert.embeddings.LayerNorm",
        "backbone.projection": "albert.encoder.embedding_hidden_mapping_in",
        "backbone.blocks.#.attention.qkv": f"{LAYER}.attention.{{query,key,value}}",
        "backbone.blocks.#.attention.out": f"{LAYER}.attention.dense",
        "backbone.blocks.#.attention_norm": f"{LAYER}.attention.LayerNorm",
        "backbone.blocks.#.feed_forward.into": f"{LAYER}.ffn",
        "backbone.blocks.#.feed_forward.out": f"{LAYER}.ffn_output",
        "backbone.blocks.#.feed_forward_norm": f"{LAYER}.full_layer_layer_norm",
        "heads.masked_lm.dense": "predictions.dense",
        "heads.masked_lm.norm": "predictions.LayerNorm",
        "heads.masked_lm": "predictions",
        "heads.sentence_order.pooler": "albert.pooler",
        "heads.sentence_order.classifier": "sop_classifier.classifier",
        "heads.task.pooler": "albert.pooler",
        "heads.task.classifier": "classifier",
    },
    prefix="albert.",
    numbers={**NUMBERS, "embedding_width": "embedding_size"},
    defaults={
        "vocab_size": 30000, "embedding_size": 128, "hidden_size": 4096, "num_hidden_layers": 12,
        "num_attention_heads": 64, "intermediate_size": 16384, "max_position_embeddings": 512,
        "initializer_range": 0.02, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12, "type_vocab_size": 2, "hidden_act": "gelu_new",
    },
    architectures={
        (): "AlbertModel",
        ("masked_lm",): "AlbertForMaskedLM",
        ("masked_lm", "sentence_order"): "AlbertForPreTraining",
    },
    heads={
        "masked_lm": Head(MaskedLMHead, "heads.masked_lm.bias"),
        "sentence_order": Head(SequenceRelationHead, "heads.sentence_order.classifier.weight"),
    },
    fixed={
        "num_hidden_groups": 1, "inner_group_num": 1, "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
    },
    parts={
        "positions": "learned", "norm": "after", "bias": True, "gated": False, "window": None, "layer_sharing": "all",
    },
    settled=("activation",),
    vocabulary="predictions.decoder",
    ids={"pad_token_id": "pad", "bos_token_id": "cls", "eos_token_id": "sep"},
    buffers=("albert.embeddings.position_ids", "albert.embeddings.token_type_ids"),
    spare="albert.pooler.",
    read=_read,
    write=_write,
)  # fmt: skip
