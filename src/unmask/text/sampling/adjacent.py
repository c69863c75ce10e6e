"""What stands next to slots in their documents, for objectives that ask about it or look at it. N slots."""

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

    What was cut because it is too long for a sequence counts as several sentences, here as everywhere.

    Args:
        corpus: where the texts come from.
        pieces: [P+1] the borders of a shard's sentences, and of the parts of those that were cut.
        shards: [N] the shard of each slot.
        starts: [N] its first token there.
        lengths: [N] its tokens.
        after: whether the sentence after it is wanted.
    """

    def where(shard: int, here: Array) -> tuple[Array, Array]:
        border = starts[here] + (lengths[here] if after else 0)
        return _at(np.asarray(pieces(shard)), np.asarray(corpus.shard(shard).documents), border, after)

    return _read(corpus, shards, where)


def beside(corpus: Shards, shards: Array, starts: Array, lengths: Array, after: Array, budgets: Array) -> Text:
    """What stands right before each slot, or right after it, and is in its document there.

    Args:
        corpus: where the texts come from.
        shards: [N] the shard of each slot.
        starts: [N] its first token there.
        lengths: [N] its tokens.
        after: [N] bool: what stands after it is wanted.
        budgets: [N] tokens at most.
    """

    def where(shard: int, here: Array) -> tuple[Array, Array]:
        documents = corpus.shard(shard).documents
        first, end = starts[here], starts[here] + lengths[here]
        before = first - documents[np.searchsorted(documents, first, "right") - 1]
        behind = documents[np.searchsorted(documents, end)] - end
        size = np.minimum(np.where(after[here], behind, before), budgets[here])
        return np.where(after[here], end, first - size), size

    return _read(corpus, shards, where)


def _read(corpus: Shards, shards: Array, where: Callable[[int, Array], tuple[Array, Array]]) -> Text:
    """A text [N] from each of these shards: ``where(shard, numbers)`` says where texts begin in it, and their sizes."""
    begins, sizes = np.zeros(len(shards), np.int64), np.zeros(len(shards), np.int64)
    pool, words, held = [np.empty(0, np.int32)], [np.empty(0, bool)], 0
    for s in np.unique(shards).tolist():
        shard, here = corpus.shard(s), np.flatnonzero(shards == s)
        first, size = where(s, here)
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
