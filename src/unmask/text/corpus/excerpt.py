"""A part of the sources, spread over all of them, which vocabularies and phrases are learned from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from unmask.text.sources.documents import Piece, Sources
from unmask.text.sources.tagged import Tagged
from unmask.text.tokens.units import written

SAMPLE = 16_000_000
"""Characters that are read, about."""


def excerpt(sources: Sources, size: int = SAMPLE) -> Iterator[Piece | Tagged]:
    """Documents from all over the sources, always the same: about so many characters, at most twice as many."""
    share = min(1.0, size / max(sources.unpacked_bytes, 1))
    taken, number, wanted = 0, -1, False
    for piece in sources.pieces():
        if piece.first:
            number += 1
            wanted = zlib.crc32(b"%d" % number) < share * 2**32
        if wanted:
            yield piece
            taken += len(piece.text)
        if taken > 2 * size:
            return


def texts(pieces: Iterator[Piece | Tagged]) -> Iterator[str]:
    """Their lines, or sentences."""
    for piece in pieces:
        if isinstance(piece, Tagged):
            yield from (written(sentence.words) for sentence in piece.sentences)
        else:
            yield from piece.fields
            yield from piece.text.split("\n")
