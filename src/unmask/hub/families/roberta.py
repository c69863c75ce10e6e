"""RoBERTa (Liu 2019, 1907.11692).

XLM-RoBERTa (Conneau 2019, 1911.02116) and CamemBERT (Martin 2019, 1911.03894) are RoBERTas of other texts, with
weights that go by its name. Its positions are counted behind the padding's id, as in fairseq. The rows ahead, which
nothing reads, are zeros where we write them, as many as our tokenizer's padding asks for.
"""

from __future__ import annotations

from unmask.hub.families.bert import NUMBERS, encoder
from unmask.hub.family import AFTER_PADDING, Family, Head
from unmask.nn.heads import MaskedLMHead

FAMILY = Family(
    model_type="roberta",
    rules={
        **encoder("roberta"),
        "backbone.embeddings.positions": f"roberta.embeddings.position_embeddings^{AFTER_PADDING}",
        "heads.masked_lm.dense": "lm_head.dense",
        "heads.masked_lm.norm": "lm_head.layer_norm",
        "heads.masked_lm": "lm_head",
        "heads.task.dense": "classifier.dense",
        "heads.task.out_proj": "classifier.out_proj",
        "heads.task.classifier": "classifier",
    },
    prefix="roberta.",
    also=("xlm-roberta", "camembert"),
    numbers=NUMBERS,
    defaults={
        "vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 512, "initializer_range": 0.02,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
        "pad_token_id": 1,
    },
    architectures={(): "RobertaModel", ("masked_lm",): "RobertaForMaskedLM"},
    heads={"masked_lm": Head(MaskedLMHead, "heads.masked_lm.bias")},
    fixed={
        "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    parts={"positions": "learned", "norm": "after", "bias": True, "gated": False, "window": None},
    vocabulary="lm_head.decoder",
    ids={"pad_token_id": "pad", "bos_token_id": "cls", "eos_token_id": "sep"},
    buffers=("roberta.embeddings.position_ids", "roberta.embeddings.token_type_ids"),
    spare="roberta.pooler.",
)  # fmt: skip
