"""Longformer (Beltagy 2020, 2004.05150): RoBERTa's names, and of each layer a window and global projections.

Which tokens are global is told their models with each call. ``global_tokens`` is ours: where a file lacks it, it is
what the class that wrote it takes if it is told nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from unmask.errors import UserError
from unmask.hub.families import roberta
from unmask.hub.families.bert import encoder
from unmask.hub.family import AFTER_PADDING, Config, Family
from unmask.models.shape import Shape

BY_CLASS = {"LongformerForSequenceClassification": "first", "LongformerForQuestionAnswering": "question"}
ATTENTION = "longformer.encoder.layer.#.attention.self"


def _read(config: Config, path: Path) -> dict[str, Any]:
    windows, layers = config["attention_window"], config["num_hidden_layers"]
    if isinstance(windows, list):
        windows = windows[0] if windows == windows[:1] * layers else tuple(windows)
    usual = BY_CLASS.get(next(iter(config.get("architectures", ())), ""), "none")
    return {"window": windows, "global_every": 0, "global_tokens": config.get("global_tokens", usual)}


def _write(shape: Shape, path: Path) -> dict[str, Any]:
    windows = [shape.window_of(i) for i in range(shape.layers)]
    for window in windows:
        if window is None:
            raise UserError(f"{path}: Hugging Face's longformer has no layer that sees all; global_every 0 would fit")
        if window < 4:  # of one token to either side its slices are empty
            raise UserError(f"{path}: transformers' longformer cannot run a window of {window}; 4 would fit")
        if window % 2:
            raise UserError(f"{path}: Hugging Face's longformer has no window of {window}; {window - 1} is the same")
    return {"attention_window": windows, "global_tokens": shape.global_tokens}


def _call(shape: Shape, ids: Tensor) -> dict[str, Any]:
    if shape.global_tokens == "none":
        return {}
    mask = ids.new_zeros(ids.shape)
    mask[:, 0] = 1
    return {"global_attention_mask": mask}


FAMILY = Family(
    model_type="longformer",
    rules={
        **encoder("longformer"),
        "backbone.embeddings.positions": f"longformer.embeddings.position_embeddings^{AFTER_PADDING}",
        "backbone.blocks.#.attention.global_query": f"{ATTENTION}.query_global",
        "backbone.blocks.#.attention.global_key_value": f"{ATTENTION}.{{key_global,value_global}}",
        **{ours: theirs for ours, theirs in roberta.FAMILY.rules.items() if ours.startswith("heads.")},
    },
    prefix="longformer.",
    numbers={**roberta.FAMILY.numbers, "window": "attention_window"},
    defaults={**roberta.FAMILY.defaults, "vocab_size": 30522, "attention_window": 512},
    architectures={(): "LongformerModel", ("masked_lm",): "LongformerForMaskedLM"},
    heads=roberta.FAMILY.heads,
    fixed={"hidden_act": "gelu", "tie_word_embeddings": True},
    parts={"positions": "learned", "norm": "after", "bias": True, "gated": False},
    settled=("global_tokens",),
    vocabulary="lm_head.decoder",
    ids={"pad_token_id": "pad", "bos_token_id": "cls", "eos_token_id": "sep", "sep_token_id": "sep"},
    buffers=("longformer.embeddings.position_ids",),
    spare="longformer.pooler.",
    read=_read,
    write=_write,
    call=_call,
)
