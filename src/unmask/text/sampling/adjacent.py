"""The sentences next to slots, for objectives that ask what stands around a sentence. N slots.

What was cut because it is too long for a sequence counts as several sentences, here as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unmask.text.example import Array
from unmask.text.ranges import stretches
from unmask.text.sampling.elsewhere import Shards
from unmask.text.sampling.sequences import Text


def adjacent(
    corpus: Shards, pieces: Callable[[int], Array], shards: Array, starts: Array, lengths: Array, after: bool
) -> Text:
    """The sentence before or after each slot, of the same document; empty where the document begins or ends there.

    Args:
        corpus: where the texts come from.
        pieces: [P+1] the borders of a shard's sentences, and of the parts of those that were cut.
        shards: [N] the shard of each slot.
        starts: [N] its first token there.
        lengths: [N] its tokens.
        after: whether the sentence after it is wanted.
    """
    begins, sizes = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    pool, words, held = [np.empty(0, np.int32)], [np.empty(0, bool)], 0
    for s in np.unique(shards).tolist():
        shard, here = corpus.shard(s), np.flatnonzero(shards == s)
        border = starts[here] + (lengths[here] if after else 0)
        first, size = _at(np.asarray(pieces(s)), np.asarray(shard.documents), border, after)
        source = stretches(first, size)
        pool.append(shard.tokens[source].astype(np.int32))
        words.append(shard.words[source])
        begins[here], sizes[here] = held + np.cumsum(size) - size, size
        held += len(source)
    return Text(np.concatenate(pool), np.concatenate(words), begins, sizes)


def _at(edges: Array, documents: Array, border: Array, after: bool) -> tuple[Array, Array]:
    """Starts and lengths [N] of the pieces that begin, or end, at these borders of theirs; none across documents."""
    number = np.searchsorted(edges, border) - (0 if after else 1)
    number = number.clip(0, len(edges) - 2)  # at a shard's ends documents begin and end too
    return edges[number], np.where(np.isin(border, documents), 0, edges[number + 1] - edges[number])
