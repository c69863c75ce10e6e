"""BERT (Devlin 2018, 1810.04805)."""

from __future__ import annotations

from unmask.hub.family import Family, Head
from unmask.nn.heads import MaskedLMHead, SequenceRelationHead


def encoder(theirs: str) -> dict[str, str]:
    """What the embeddings and layers of BERT's kind are called there, behind a family's own name."""
    return {
        "backbone.embeddings.tokens": f"{theirs}.embeddings.word_embeddings",
        "backbone.embeddings.positions": f"{theirs}.embeddings.position_embeddings",
        "backbone.embeddings.segments": f"{theirs}.embeddings.token_type_embeddings",
        "backbone.embeddings.norm": f"{theirs}.embeddings.LayerNorm",
        "backbone.blocks.#.attention.qkv": f"{theirs}.encoder.layer.#.attention.self.{{query,key,value}}",
        "backbone.blocks.#.attention.out": f"{theirs}.encoder.layer.#.attention.output.dense",
        "backbone.blocks.#.attention_norm": f"{theirs}.encoder.layer.#.attention.output.LayerNorm",
        "backbone.blocks.#.feed_forward.into": f"{theirs}.encoder.layer.#.intermediate.dense",
        "backbone.blocks.#.feed_forward.out": f"{theirs}.encoder.layer.#.output.dense",
        "backbone.blocks.#.feed_forward_norm": f"{theirs}.encoder.layer.#.output.LayerNorm",
    }


NUMBERS = {
    "vocab_size": "vocab_size", "width": "hidden_size", "layers": "num_hidden_layers",
    "heads": "num_attention_heads", "feed_forward": "intermediate_size", "max_length": "max_position_embeddings",
    "init_std": "initializer_range", "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob", "norm_eps": "layer_norm_eps",
    "segments": "type_vocab_size",
}  # fmt: skip
"Our settings to those of theirs, of BERT's kind."

FAMILY = Family(
    model_type="bert",
    rules={
        **encoder("bert"),
        "heads.masked_lm.dense": "cls.predictions.transform.dense",
        "heads.masked_lm.norm": "cls.predictions.transform.LayerNorm",
        "heads.masked_lm": "cls.predictions",
        "heads.next_sentence.pooler": "bert.pooler.dense",
        "heads.next_sentence.classifier": "cls.seq_relationship",
        "heads.task.pooler": "bert.pooler.dense",
        "heads.task.classifier": "classifier",
    },
    prefix="bert.",
    numbers=NUMBERS,
    defaults={
        "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 512, "initializer_range": 0.02,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
    },
    architectures={
        (): "BertModel",
        ("masked_lm",): "BertForMaskedLM",
        ("next_sentence",): "BertForNextSentencePrediction",
        ("masked_lm", "next_sentence"): "BertForPreTraining",
    },
    heads={
        "masked_lm": Head(MaskedLMHead, "heads.masked_lm.bias"),
        "next_sentence": Head(SequenceRelationHead, "heads.next_sentence.classifier.weight"),
    },
    fixed={
        "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False,
        "tie_word_embeddings": True, "pruned_heads": {},
    },
    parts={"positions": "learned", "norm": "after", "bias": True, "gated": False, "window": None},
    vocabulary="cls.predictions.decoder",
    ids={"pad_token_id": "pad"},
    buffers=("bert.embeddings.position_ids", "bert.embeddings.token_type_ids"),
    spare="bert.pooler.",
)  # fmt: skip
