"""A `Shape` and Hugging Face's ``config.json``, both ways. What one cannot say of the other is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unmask.errors import UserError
from unmask.models.shape import Shape

SAME = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "max_length": "max_position_embeddings",
    "init_std": "initializer_range",
}
"Numbers that mean the same in both families."

BERT = {
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "norm_eps": "layer_norm_eps",
    "segments": "type_vocab_size",
}
MODERNBERT = {
    "dropout": "embedding_dropout",
    "attention_dropout": "attention_dropout",
    "norm_eps": "norm_eps",
    "window": "local_attention",
}

# what their files leave out has these values
BERT_DEFAULTS = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 512, "initializer_range": 0.02, "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
}  # fmt: skip
MODERNBERT_DEFAULTS = {
    "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
    "intermediate_size": 1152, "max_position_embeddings": 8192, "initializer_range": 0.02, "embedding_dropout": 0.0,
    "attention_dropout": 0.0, "mlp_dropout": 0.0, "norm_eps": 1e-5, "norm_bias": False, "local_attention": 128,
}  # fmt: skip

# settings of theirs that change numbers and have no place here, with the only value that fits
BERT_FIXED = {
    "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False,
    "tie_word_embeddings": True, "pruned_heads": {},
}  # fmt: skip
MODERNBERT_FIXED = {
    "hidden_activation": "gelu", "classifier_activation": "gelu", "tie_word_embeddings": True,
}  # fmt: skip

# parts that make a shape one of their family
BERT_PARTS = {"positions": "learned", "norm": "after", "bias": True, "gated": False, "window": None}
MODERNBERT_PARTS = {"positions": "rotary", "norm": "before", "gated": True, "segments": 0}


def read_shape(config: Mapping[str, Any], path: Path) -> Shape:
    """The shape that a ``config.json`` describes.

    Raises:
        UserError: Names the setting that has no place here, and what would fit.
    """
    config = {name: value for name, value in config.items() if value is not None}
    family = config.get("model_type")
    if family not in ("bert", "modernbert"):
        raise UserError(f"{path}: model_type {family!r} is not known here; bert and modernbert are")
    try:
        return _read_bert(config, path) if family == "bert" else _read_modernbert(config, path)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "model"
        raise UserError(f"{path}: {where}: {first['msg']}") from None
    except (TypeError, AttributeError, ValueError):
        raise UserError(
            f"{path}: a setting is of the wrong type; a configuration written by transformers would fit"
        ) from None


def write_shape(shape: Shape, path: Path) -> dict[str, Any]:
    """What ``config.json`` says of a shape.

    Raises:
        UserError: The shape has parts that its family does not have there.
    """
    parts = BERT_PARTS if shape.family == "bert" else MODERNBERT_PARTS
    for name, fits in parts.items():
        if (value := getattr(shape, name)) != fits:
            raise UserError(
                f"{path}: Hugging Face's {shape.family} has no place for model.{name} {value}; {fits} would fit"
            )
    if shape.family == "bert" and not shape.segments:
        raise UserError(f"{path}: Hugging Face's bert has no place for model.segments 0; 1 or more would fit")
    own = _write_bert(shape) if shape.family == "bert" else _write_modernbert(shape)
    return {"model_type": shape.family, **{them: getattr(shape, us) for us, them in SAME.items()}, **own}


def _read_bert(config: dict[str, Any], path: Path) -> Shape:
    _refuse_other(config, BERT_FIXED, path)
    whole = BERT_DEFAULTS | config
    return Shape(family="bert", **{us: whole[them] for us, them in (SAME | BERT).items()}, **BERT_PARTS)


def _write_bert(shape: Shape) -> dict[str, Any]:
    return {**{them: getattr(shape, us) for us, them in BERT.items()}, **BERT_FIXED}


def _read_modernbert(config: dict[str, Any], path: Path) -> Shape:
    whole = MODERNBERT_DEFAULTS | config
    bias = whole["norm_bias"]
    biases = dict.fromkeys(("attention_bias", "mlp_bias", "classifier_bias"), bias)
    # a bias or a dropout that is left out is off there
    _refuse_other(dict.fromkeys(biases, False) | config, biases, path)
    _refuse_other(whole, {"mlp_dropout": whole["embedding_dropout"]}, path)
    _refuse_other(config, MODERNBERT_FIXED, path)
    rotary_base, local_rotary_base = (_rotary_base(config, kind, path) for kind in ("full", "sliding"))
    numbers = {us: whole[them] for us, them in (SAME | MODERNBERT).items()}
    numbers["global_every"] = every = _global_every(whole, path)
    numbers["window"] = numbers["window"] if every > 1 else None
    return Shape(
        family="modernbert", bias=bias, rotary_base=rotary_base, local_rotary_base=local_rotary_base,
        **numbers, **MODERNBERT_PARTS,
    )  # fmt: skip


def _write_modernbert(shape: Shape) -> dict[str, Any]:
    kinds = ["full_attention" if shape.is_global(i) else "sliding_attention" for i in range(shape.layers)]
    bases = {"full_attention": shape.rotary_base, "sliding_attention": shape.local_rotary_base}
    return {
        **{them: getattr(shape, us) for us, them in MODERNBERT.items()},
        **MODERNBERT_FIXED,
        "local_attention": shape.window or MODERNBERT_DEFAULTS["local_attention"],
        "mlp_dropout": shape.dropout,
        "classifier_dropout": shape.dropout,
        **{f"{part}_bias": shape.bias for part in ("norm", "attention", "mlp", "classifier")},
        "decoder_bias": True,
        "layer_types": kinds,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
        # the same for versions of transformers before 5
        "global_attn_every_n_layers": shape.global_every if shape.window else 1,
        "global_rope_theta": shape.rotary_base,
        "local_rope_theta": shape.local_rotary_base,
    }


def _global_every(config: Mapping[str, Any], path: Path) -> int:
    kinds = config.get("layer_types")
    every: int = max(1, int(config.get("global_attn_every_n_layers", 3)))
    if kinds is None:
        return every
    for n in (every, *range(1, len(kinds) + 1)):
        if kinds == ["sliding_attention" if i % n else "full_attention" for i in range(config["num_hidden_layers"])]:
            return int(n)
    raise UserError(f"{path}: layer_types does not repeat; full_attention in every n-th layer from the first would fit")


def _rotary_base(config: Mapping[str, Any], kind: str, path: Path) -> float:
    old = {"full": "global_rope_theta", "sliding": "local_rope_theta"}[kind]
    default = {"full": 160_000.0, "sliding": 10_000.0}[kind]
    found = (config.get("rope_parameters") or {}).get(f"{kind}_attention") or {}
    if (scaled := found.get("rope_type", "default")) != "default" or config.get("rope_scaling"):
        raise UserError(f"{path}: rope_type {scaled!r} or rope_scaling is not known here; default rotary positions fit")
    return float(found.get("rope_theta", config.get(old, default)))


def _refuse_other(config: Mapping[str, Any], fits: Mapping[str, Any], path: Path) -> None:
    for name, value in fits.items():
        if (found := config.get(name, value)) != value:
            raise UserError(f"{path}: {name} {found!r} is not known here; {value!r} would fit")
