"""What is asked for where a text is read from the left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unmask.text.example import Array, Stream

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer


def next_tokens(stream: Stream, tokenizer: Tokenizer) -> Array:
    """[M] the places of tokens that the place before can be asked for.

    Unknown tokens are not, nor is a sequence's closing [SEP], which stands where the room ends and not the text. One
    that stands between two documents is: so a model learns to say that a text is over.
    """
    asked = stream.tokens != tokenizer.unk
    asked[stream.starts] = asked[stream.starts + stream.lengths - 1] = False
    return np.flatnonzero(asked)
