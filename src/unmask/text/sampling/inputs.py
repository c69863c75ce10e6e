"""Texts as a model reads them: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]. N sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unmask.text.example import Array, Stream
from unmask.text.ranges import stretches

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Laid:
    """N texts' tokens end to end, and how many each has."""

    ids: Array  # [sum of lengths]
    lengths: Array  # [N]


def lay(texts: Sequence[Laid], tokenizer: Tokenizer, length: int) -> tuple[Stream, Array]:
    """One text or two for each of N sequences of at most so many tokens; and [N] how many tokens were cut off.

    Segments are 0 for A and 1 for B. Texts are cut at their ends, of two the longer one first.
    """
    rooms = _share(texts, length - 1 - len(texts))
    lengths = np.sum([room + 1 for room in rooms], axis=0) + 1
    begin = np.cumsum(lengths) - lengths
    tokens = np.full(int(lengths.sum()), tokenizer.sep, np.int32)
    segments = np.zeros(len(tokens), np.int8)
    tokens[begin] = tokenizer.cls
    begin = begin + 1
    for segment, (text, room) in enumerate(zip(texts, rooms, strict=True)):
        source = stretches(np.cumsum(text.lengths) - text.lengths, room)
        tokens[stretches(begin, room)] = text.ids[source]
        segments[stretches(begin, room + 1)] = segment
        begin = begin + room + 1
    cut = np.sum([text.lengths - room for text, room in zip(texts, rooms, strict=True)], axis=0)
    return Stream(tokens, lengths, segments if len(texts) > 1 else None), cut


def _share(texts: Sequence[Laid], room: int) -> list[Array]:
    """[N] the tokens that each text keeps."""
    if len(texts) == 1:
        return [np.minimum(texts[0].lengths, room)]
    a, b = (text.lengths for text in texts)
    # both get half where both are long; an odd place goes to the longer one, as in transformers
    shorter, longer = np.minimum(a, b), np.maximum(a, b)
    kept_shorter = np.minimum(shorter, np.maximum(room - longer, room // 2))
    kept_longer = np.minimum(longer, room - kept_shorter)
    return [np.where(a <= b, kept_shorter, kept_longer), np.where(a <= b, kept_longer, kept_shorter)]
