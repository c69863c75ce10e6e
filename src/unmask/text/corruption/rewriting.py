"""What a decoder is given to write, token by token. T tokens that it writes, N sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unmask.text.example import Array, Example, Stream, Targets

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer

HEAD = "decoder_lm"


def ask(
    source: Stream, tokens: Array, lengths: Array, first: int, tokenizer: Tokenizer, places: Array | None = None
) -> Example:
    """A decoder that reads the source writes these tokens: each is asked of the one before it.

    Args:
        source: what the encoder is given.
        tokens: [T] what is to be written, laid end to end.
        lengths: [N] the tokens of each.
        first: the token that a decoder begins with.
        tokenizer: knows the unknown token, which is never asked for.
        places: [T] where what is given stands, if not from 0 on.
    """
    given = np.concatenate([[first], tokens[:-1]]).astype(np.int32)
    given[np.cumsum(lengths) - lengths] = first
    asked = np.flatnonzero(tokens != tokenizer.unk)
    targets = Targets(asked, tokens[asked].astype(np.int64), "decoder")
    decoder = Stream(given, lengths, places=places, reads="encoder")
    return Example({"encoder": replace(source, sentences=None), "decoder": decoder}, {HEAD: targets})


def whole(stream: Stream, tokenizer: Tokenizer) -> tuple[Array, Array]:
    """All of each text and its end, without what it begins with: the tokens, laid end to end, and their lengths [N]."""
    kept = np.ones(len(stream.tokens), bool)
    kept[stream.starts] = not tokenizer.opens
    return stream.tokens[kept], stream.lengths - tokenizer.opens
