"""Families of which one file of `models` builds all parts in. Reads without torch."""

from __future__ import annotations

from typing import Any

OF_ONE_PIECE: dict[str, tuple[set[str], dict[str, Any]]] = {
    "gru": (
        {"family", "vocab_size", "width", "embedding_width", "layers", "max_length", "dropout", "tied"},
        {"heads": 1, "feed_forward": 1, "segments": 0, "attention_dropout": 0.0},
    ),
    "elmo": (
        {"family", "vocab_size", "embedding", "filters", "ngram_buckets", "glyph_channels", "glyph_size",
         "font", "width", "layers", "feed_forward", "max_length", "dropout", "tied", "init_std"},
        {"heads": 1, "segments": 0, "attention_dropout": 0.0, "positions": "none", "embedding_norm": False},
    ),
    "xlnet": (
        {"family", "vocab_size", "width", "layers", "heads", "feed_forward", "activation", "max_length", "dropout",
         "attention_dropout", "activation_dropout", "norm_eps", "init_std"},
        {"positions": "relative", "embedding_norm": False},
    ),
    "transformer_xl": (
        {"family", "vocab_size", "width", "layers", "heads", "feed_forward", "activation", "max_length", "dropout",
         "attention_dropout", "activation_dropout", "norm_eps", "tied", "init_std"},
        {"positions": "relative", "embedding_norm": False, "embedding_scale": "input", "causal": True, "segments": 0},
    ),
    "reformer": (
        {"family", "vocab_size", "width", "layers", "heads", "head_width", "feed_forward", "activation", "max_length",
         "dropout", "attention_dropout", "activation_dropout", "positions", "norm_eps", "causal", "reformer",
         "init_std"},
        {"norm": "before", "embedding_norm": False, "tied": False, "segments": 0},
    ),
}  # fmt: skip
"""Families whose one file of `models` builds all parts in: what may vary, and what else is not as by default."""

RELATIVE = tuple(name for name, (_, others) in OF_ONE_PIECE.items() if others.get("positions") == "relative")
"""Those of them whose positions are distances."""
