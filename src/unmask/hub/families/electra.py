"""ELECTRA (Clark 2020, 2003.10555): discriminators, and generators, which are masked language models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.hub.families.bert import NUMBERS, encoder
from unmask.hub.family import Config, Family, Head
from unmask.models.shape import Shape
from unmask.nn.heads import MaskedLMHead, ReplacedTokenHead


def _read(config: Config, path: Path) -> dict[str, Any]:
    same = config["embedding_size"] == config["hidden_size"]
    return {"embedding_width": None if same else config["embedding_size"]}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    return {"embedding_size": shape.token_width}


FAMILY = Family(
    model_type="electra",
    rules={
        **encoder("electra"),
        "backbone.projection": "electra.embeddings_project",
        "heads.replaced_token_detection.dense": "discriminator_predictions.dense",
        "heads.replaced_token_detection.choice": "discriminator_predictions.dense_prediction",
        "heads.masked_lm.dense": "generator_predictions.dense",
        "heads.masked_lm.norm": "generator_predictions.LayerNorm",
        "heads.masked_lm": "generator_lm_head",
        "heads.task.dense": "classifier.dense",
        "heads.task.out_proj": "classifier.out_proj",
        "heads.task.classifier": "classifier",
    },
    prefix="electra.",
    numbers=NUMBERS,
    defaults={
        "vocab_size": 30522, "embedding_size": 128, "hidden_size": 256, "num_hidden_layers": 12,
        "num_attention_heads": 4, "intermediate_size": 1024, "max_position_embeddings": 512, "initializer_range": 0.02,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
    },
    architectures={
        (): "ElectraModel",
        ("masked_lm",): "ElectraForMaskedLM",
        ("replaced_token_detection",): "ElectraForPreTraining",
        ("masked_lm", "replaced_token_detection"): "ElectraForPreTraining",
    },
    heads={
        "masked_lm": Head(MaskedLMHead, "heads.masked_lm.bias"),
        "replaced_token_detection": Head(ReplacedTokenHead, "heads.replaced_token_detection.choice.weight"),
    },
    fixed={
        "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    parts={"positions": "learned", "norm": "after", "bias": True, "gated": False, "window": None},
    settled=("embedding_width",),
    vocabulary="generator_lm_head",
    ids={"pad_token_id": "pad"},
    buffers=("electra.embeddings.position_ids", "electra.embeddings.token_type_ids"),
    read=_read,
    write=_write,
)  # fmt: skip
