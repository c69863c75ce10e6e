"""DeBERTa, versions 2 and 3 (He 2020, 2006.03654; He 2021, 2111.09543).

What transformers has of it is here, and no more than that. The enhanced mask decoder of the paper (§3.2: a last layer
that is applied twice and told where tokens stand) is not in transformers, whose masked LM is BERT's: a file may hold
``embeddings.position_embeddings``, the decoder's places, which nothing reads there nor here. The second dense layer of
version 3, ``mask_predictions``, which detects replaced tokens, has no class there either and is left out.

The head of masked LM goes by two names, the same numbers in both: ``cls.predictions``, transformers' own, and
``lm_predictions.lm_head``, that of the release (``legacy`` false), which has no place for embeddings narrower than the
model. Both are read; transformers' own is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.hub.families.bert import NUMBERS
from unmask.hub.family import Config, Family, Head, refuse_other
from unmask.models.shape import SPAN, Shape
from unmask.nn.heads import MaskedLMHead

LAYER = "deberta.encoder.layer.#"
ABSENT = {
    "relative_attention": False, "position_biased_input": True, "pos_att_type": "none", "position_buckets": -1,
    "norm_rel_ebd": "none", "share_att_key": False,
}  # fmt: skip
"What settings are there that a file leaves out."
FITS = {
    "relative_attention": True, "position_biased_input": False, "position_buckets": SPAN, "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
}  # fmt: skip
BOTH = "p2c|c2p"


def _read(config: Config, path: Path) -> dict[str, Any]:
    if config.get("conv_kernel_size", 0):
        raise UserError(
            f"{path}: conv_kernel_size {config['conv_kernel_size']}: the convolution beside the first layer, which the "
            "largest models of version 2 have, is not known here; a model without it would fit, as all of version 3 are"
        )
    refuse_other({**ABSENT, **config}, FITS, path)
    kinds = config.get("pos_att_type", ABSENT["pos_att_type"])
    if set(kinds.split("|") if isinstance(kinds, str) else kinds) != set(BOTH.split("|")):
        refuse_other({"pos_att_type": kinds}, {"pos_att_type": BOTH}, path)
    width, longest = config["hidden_size"], config["max_position_embeddings"]
    if config.get("max_relative_positions", -1) > 0:
        refuse_other(config, {"max_relative_positions": longest}, path)
    refuse_other(config, {"attention_head_size": width // config["num_attention_heads"]}, path)
    narrow = config.get("embedding_size", width)
    return {"embedding_width": None if narrow == width else narrow}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    narrow = {} if shape.token_width == shape.width else {"embedding_size": shape.token_width}
    return {**FITS, "pos_att_type": BOTH, "max_relative_positions": -1, "pooler_dropout": 0, **narrow}


FAMILY = Family(
    model_type="deberta-v2",
    rules={
        "backbone.embeddings.tokens": "deberta.embeddings.word_embeddings",
        "backbone.embeddings.segments": "deberta.embeddings.token_type_embeddings",
        "backbone.embeddings.norm": "deberta.embeddings.LayerNorm",
        "backbone.embeddings.projection": "deberta.embeddings.embed_proj",
        "backbone.distances": "deberta.encoder.rel_embeddings",
        "backbone.distances_norm": "deberta.encoder.LayerNorm",
        "backbone.blocks.#.attention.qkv": f"{LAYER}.attention.self.{{query_proj,key_proj,value_proj}}",
        "backbone.blocks.#.attention.out": f"{LAYER}.attention.output.dense",
        "backbone.blocks.#.attention_norm": f"{LAYER}.attention.output.LayerNorm",
        "backbone.blocks.#.feed_forward.into": f"{LAYER}.intermediate.dense",
        "backbone.blocks.#.feed_forward.out": f"{LAYER}.output.dense",
        "backbone.blocks.#.feed_forward_norm": f"{LAYER}.output.LayerNorm",
        "heads.masked_lm.dense": "cls.predictions.transform.dense",
        "heads.masked_lm.norm": "cls.predictions.transform.LayerNorm",
        "heads.masked_lm": "cls.predictions",
        "heads.task.pooler": "pooler.dense",
        "heads.task.classifier": "classifier",
    },
    prefix="deberta.",
    numbers=NUMBERS,
    defaults={
        "vocab_size": 128100, "hidden_size": 1536, "num_hidden_layers": 24, "num_attention_heads": 24,
        "intermediate_size": 6144, "max_position_embeddings": 512, "initializer_range": 0.02,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-7, "type_vocab_size": 0,
    },
    architectures={(): "DebertaV2Model", ("masked_lm",): "DebertaV2ForMaskedLM"},
    heads={"masked_lm": Head(MaskedLMHead, "heads.masked_lm.bias")},
    older={
        "lm_predictions.lm_head.dense.": "cls.predictions.transform.dense.",
        "lm_predictions.lm_head.LayerNorm.": "cls.predictions.transform.LayerNorm.",
        "lm_predictions.lm_head.": "cls.predictions.",
    },
    fixed={"hidden_act": "gelu", "pooler_hidden_act": "gelu", "tie_word_embeddings": True},
    parts={"positions": "disentangled", "norm": "after", "bias": True, "gated": False, "window": None},
    settled=("embedding_width",),
    vocabulary="cls.predictions.decoder",
    ids={"pad_token_id": "pad"},
    buffers=("deberta.embeddings.position_ids",),
    spare="deberta.embeddings.position_embeddings.",
    read=_read,
    write=_write,
)  # fmt: skip
