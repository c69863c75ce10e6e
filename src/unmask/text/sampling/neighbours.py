"""What stands beside a slot in its document, for objectives that look back on it, or forward. N slots."""

from __future__ import annotations

import numpy as np

from unmask.text.example import Array
from unmask.text.ranges import stretches
from unmask.text.sampling.elsewhere import Shards
from unmask.text.sampling.sequences import Text


def neighbours(corpus: Shards, shards: Array, starts: Array, lengths: Array, after: Array, budgets: Array) -> Text:
    """N texts that stand right before the slots, or right after them; none of them leaves the document.

    Args:
        corpus: where the slots come from.
        shards: [N] the shard of each slot.
        starts: [N] its first token there.
        lengths: [N] its tokens.
        after: [N] bool: what stands after it is wanted, not what stands before.
        budgets: [N] tokens at most.
    """
    begin, length = np.zeros_like(starts), np.zeros_like(lengths)
    tokens, words, pool = [np.empty(0, np.int32)], [np.empty(0, bool)], 0
    for s in np.unique(shards).tolist():
        shard, here = corpus.shard(s), np.flatnonzero(shards == s)
        first, end, wanted = starts[here], starts[here] + lengths[here], budgets[here]
        document = shard.documents[np.searchsorted(shard.documents, first, "right") - 1]
        document_end = shard.documents[np.searchsorted(shard.documents, end)]
        room = np.minimum(np.where(after[here], document_end - end, first - document), wanted)
        source = stretches(np.where(after[here], end, first - room), room)
        begin[here], length[here] = pool + np.cumsum(room) - room, room
        tokens.append(shard.tokens[source].astype(np.int32))
        words.append(shard.words[source])
        pool += len(source)
    return Text(np.concatenate(tokens), np.concatenate(words), begin, length)
