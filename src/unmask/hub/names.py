"""Our names of weights and Hugging Face's, as one table per family that reads in both directions.

``#`` stands for a layer's number. ``{query,key,value}``: what we hold as one matrix is stored as several, joined along
the first dimension. Every row names a module; its ``weight`` and ``bias`` keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

RULES: dict[str, dict[str, str]] = {
    "bert": {
        "backbone.embeddings.tokens": "bert.embeddings.word_embeddings",
        "backbone.embeddings.positions": "bert.embeddings.position_embeddings",
        "backbone.embeddings.segments": "bert.embeddings.token_type_embeddings",
        "backbone.embeddings.norm": "bert.embeddings.LayerNorm",
        "backbone.blocks.#.attention.qkv": "bert.encoder.layer.#.attention.self.{query,key,value}",
        "backbone.blocks.#.attention.out": "bert.encoder.layer.#.attention.output.dense",
        "backbone.blocks.#.attention_norm": "bert.encoder.layer.#.attention.output.LayerNorm",
        "backbone.blocks.#.feed_forward.into": "bert.encoder.layer.#.intermediate.dense",
        "backbone.blocks.#.feed_forward.out": "bert.encoder.layer.#.output.dense",
        "backbone.blocks.#.feed_forward_norm": "bert.encoder.layer.#.output.LayerNorm",
        "heads.masked_lm.dense": "cls.predictions.transform.dense",
        "heads.masked_lm.norm": "cls.predictions.transform.LayerNorm",
        "heads.masked_lm": "cls.predictions",
        "heads.next_sentence.pooler": "bert.pooler.dense",
        "heads.next_sentence.classifier": "cls.seq_relationship",
        "heads.task.pooler": "bert.pooler.dense",
        "heads.task.classifier": "classifier",
    },
    "modernbert": {
        "backbone.embeddings.tokens": "model.embeddings.tok_embeddings",
        "backbone.embeddings.norm": "model.embeddings.norm",
        "backbone.blocks.#.attention_norm": "model.layers.#.attn_norm",
        "backbone.blocks.#.attention.qkv": "model.layers.#.attn.Wqkv",
        "backbone.blocks.#.attention.out": "model.layers.#.attn.Wo",
        "backbone.blocks.#.feed_forward_norm": "model.layers.#.mlp_norm",
        "backbone.blocks.#.feed_forward.into": "model.layers.#.mlp.Wi",
        "backbone.blocks.#.feed_forward.out": "model.layers.#.mlp.Wo",
        "backbone.norm": "model.final_norm",
        "heads.masked_lm.dense": "head.dense",
        "heads.masked_lm.norm": "head.norm",
        "heads.masked_lm": "decoder",
        "heads.task.dense": "head.dense",
        "heads.task.norm": "head.norm",
        "heads.task.classifier": "classifier",
    },
}

PREFIX = {"bert": "bert.", "modernbert": "model."}
"What stands before the backbone's names, unless the backbone was saved alone."

VOCABULARY = {"bert": "cls.predictions.decoder", "modernbert": "decoder"}
"The layer whose weight is the embeddings' own; some files hold it a second time."

BUFFERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")
"Held by old files, but no weights."


def theirs(family: str, ours: str) -> tuple[str, ...]:
    """Their names of one of our weights, more than one where they store its parts; none if they have no such thing.

    >>> theirs("bert", "backbone.blocks.3.attention.out.bias")
    ('bert.encoder.layer.3.attention.output.dense.bias',)
    """
    module, _, leaf = ours.rpartition(".")
    number = re.search(r"\.(\d+)\.", module)
    pattern = RULES[family].get(re.sub(r"\.\d+\.", ".#.", module))
    if pattern is None:
        return ()
    pattern = pattern.replace("#", number[1]) if number else pattern
    stem, _, parts = pattern.rstrip("}").partition("{")
    return tuple(f"{stem}{part}.{leaf}" for part in parts.split(","))


def to_theirs(family: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under their names, joined ones taken apart. What they have no name for is left out."""
    found: dict[str, Tensor] = {}
    for ours, tensor in tensors.items():
        names = theirs(family, ours)
        found |= zip(names, tensor.chunk(len(names)), strict=True) if names else ()
    return found


def to_ours(family: str, tensors: Mapping[str, Tensor], wanted: list[str]) -> dict[str, Tensor]:
    """Those of our weights whose parts are all there, joined."""
    return {
        ours: torch.cat([tensors[name] for name in names]) if len(names) > 1 else tensors[names[0]]
        for ours in wanted
        if (names := theirs(family, ours)) and all(name in tensors for name in names)
    }


def modern(family: str, names: list[str]) -> dict[str, str]:
    """Today's form of their names by the form found: ``gamma``, ``beta``, and a backbone saved without its prefix."""
    prefix = PREFIX[family]
    alone = not any(name.startswith(prefix) for name in names)
    starts = {pattern[len(prefix) :].split(".")[0] for pattern in RULES[family].values() if pattern.startswith(prefix)}
    found = {}
    for name in names:
        whole = prefix + name if alone and name.split(".")[0] in starts else name
        found[name] = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", whole))
    return found
