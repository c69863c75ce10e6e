"""MobileBERT (Sun 2020, 2004.02984): of its options those of the release, bottlenecks that queries and keys share.

Their trigrams take the padding behind a text for its next token where others of its batch are longer; here, and where
none is longer, nothing stands there. The vocabulary's answers are its embeddings and a matrix beside them, which they
hold turned over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.hub.families import bert
from unmask.hub.families.bert import NUMBERS, encoder
from unmask.hub.family import Config, Family
from unmask.models.shape import Shape

LAYER = "mobilebert.encoder.layer.#"


def _read(config: Config, path: Path) -> dict[str, Any]:
    same = config["embedding_size"] == config["hidden_size"]
    return {"embedding_width": None if same else config["embedding_size"]}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    return {"embedding_size": shape.token_width}


FAMILY = Family(
    model_type="mobilebert",
    rules={
        **{ours: theirs for ours, theirs in encoder("mobilebert").items() if ".blocks." not in ours},
        "backbone.embeddings.trigrams": "mobilebert.embeddings.embedding_transformation",
        "backbone.blocks.#.input.dense": f"{LAYER}.bottleneck.input.dense",
        "backbone.blocks.#.input.norm": f"{LAYER}.bottleneck.input.LayerNorm",
        "backbone.blocks.#.shared.dense": f"{LAYER}.bottleneck.attention.dense",
        "backbone.blocks.#.shared.norm": f"{LAYER}.bottleneck.attention.LayerNorm",
        "backbone.blocks.#.attention.query_key": f"{LAYER}.attention.self.{{query,key}}",
        "backbone.blocks.#.attention.value": f"{LAYER}.attention.self.value",
        "backbone.blocks.#.attention.out": f"{LAYER}.attention.output.dense",
        "backbone.blocks.#.attention_norm": f"{LAYER}.attention.output.LayerNorm",
        "backbone.blocks.#.first.#.feed_forward.into": f"{LAYER}.ffn.#.intermediate.dense",
        "backbone.blocks.#.first.#.feed_forward.out": f"{LAYER}.ffn.#.output.dense",
        "backbone.blocks.#.first.#.norm": f"{LAYER}.ffn.#.output.LayerNorm",
        "backbone.blocks.#.last.feed_forward.into": f"{LAYER}.intermediate.dense",
        "backbone.blocks.#.last.feed_forward.out": f"{LAYER}.output.dense",
        "backbone.blocks.#.last.norm": f"{LAYER}.output.LayerNorm",
        "backbone.blocks.#.output": f"{LAYER}.output.bottleneck.dense",
        "backbone.blocks.#.output_norm": f"{LAYER}.output.bottleneck.LayerNorm",
        "heads.masked_lm.beside": "cls.predictions.dense.weight^T",
        **{ours: theirs.replace("bert.pooler", "mobilebert.pooler") for ours, theirs in bert.FAMILY.rules.items()
           if ours.startswith("heads.")},
    },
    prefix="mobilebert.",
    numbers={**NUMBERS, "bottleneck": "intra_bottleneck_size", "feed_forwards": "num_feedforward_networks"},
    defaults={
        "vocab_size": 30522, "embedding_size": 128, "hidden_size": 512, "num_hidden_layers": 24,
        "num_attention_heads": 4, "intermediate_size": 512, "intra_bottleneck_size": 128, "num_feedforward_networks": 4,
        "max_position_embeddings": 512, "initializer_range": 0.02,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
    },
    architectures={
        (): "MobileBertModel",
        ("masked_lm",): "MobileBertForMaskedLM",
        ("next_sentence",): "MobileBertForNextSentencePrediction",
        ("masked_lm", "next_sentence"): "MobileBertForPreTraining",
    },
    heads=bert.FAMILY.heads,
    fixed={
        "hidden_act": "relu", "trigram_input": True, "use_bottleneck": True, "use_bottleneck_attention": False,
        "key_query_shared_bottleneck": True, "normalization_type": "no_norm", "classifier_activation": True,
        "tie_word_embeddings": True,
    },
    parts={
        "positions": "learned", "norm": "after", "norm_kind": "none", "activation": "relu", "bias": True,
        "gated": False, "window": None,
    },
    settled=("embedding_width",),
    vocabulary="cls.predictions.decoder",
    ids={"pad_token_id": "pad"},
    buffers=("mobilebert.embeddings.position_ids",),
    spare="mobilebert.pooler.",
    read=_read,
    write=_write,
)  # fmt: skip
