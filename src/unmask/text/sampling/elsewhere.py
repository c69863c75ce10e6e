"""Texts of other documents, for objectives that put one in for the text that follows. N slots, K texts.

Of several stretches drawn the longest that fits is taken, and whole sentences where there are any that fit. So neither
its length nor a broken end tells a text that was put in from one that follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from unmask.errors import UserError
from unmask.text.chance import Chance
from unmask.text.example import Array
from unmask.text.ranges import stretches
from unmask.text.sampling.sequences import Text

if TYPE_CHECKING:
    from unmask.text.corpus.shards import Shard

DRAWS = 32


class Shards(Protocol):
    """What sampling asks of a corpus."""

    @property
    def folder(self) -> Path:
        """Where it lies, to name it."""

    @property
    def shards(self) -> int:
        """How many there are."""

    @property
    def documents(self) -> int:
        """How many documents."""

    def shard(self, i: int) -> Shard:
        """The i-th."""


def elsewhere(
    corpus: Shards, shards: Array, document: Array, single: bool, which: Array, budgets: Array, chance: Chance
) -> Text:
    """K texts from other documents than those of the slots ``which``, as near to the budgets as whole sentences come.

    Args:
        corpus: where the texts come from; a slot's own shard if that holds two documents.
        shards: [N] the shard of each slot.
        document: [N] the document of each slot.
        single: whether one sentence is wanted, not as many as fit.
        which: [K] the slots that want a text.
        budgets: [K] tokens at most.
        chance: of all N slots.

    Raises:
        UserError: there is no other document.
    """
    if corpus.documents < 2:
        raise UserError(f"{corpus.folder}: one document only; texts of other documents are wanted, so at least 2 fit")
    draws = chance.tokens(np.full(len(shards), DRAWS), "elsewhere").reshape(-1, DRAWS)[which]
    homes = np.array([_home(corpus, int(shards[n]), int(document[n])) for n in which], np.int64)
    text = Text(
        np.empty(0, np.int32),
        np.empty(0, bool),
        np.zeros(len(which), np.int64),
        np.zeros(len(which), np.int64),
    )
    for s in np.unique(homes).tolist():
        shard, here = corpus.shard(s), np.flatnonzero(homes == s)
        starts, lengths = _others(shard, document[which[here]], budgets[here], draws[here], single)
        source = stretches(starts, lengths)
        found = Text(shard.tokens[source].astype(np.int32), shard.words[source], np.cumsum(lengths) - lengths, lengths)
        text = text.put(here, found)
    return text


def _home(corpus: Shards, shard: int, document: int) -> int:
    """The first shard from this one on that holds another document."""
    for s in (*range(shard, corpus.shards), *range(shard)):
        other = corpus.shard(s)
        if len(other.documents) > 2 or other.first_document != document:
            return s
    raise UserError(f"{corpus.folder}: all texts are parts of one document; at least 2 documents fit")


def _others(shard: Shard, document: Array, budgets: Array, draws: Array, single: bool) -> tuple[Array, Array]:
    """[K] starts and lengths of stretches outside these documents; [K, DRAWS] numbers in [0, 1) decide."""
    sentences, documents = shard.sentences, shard.documents
    own = np.clip(document - shard.first_document + np.array([[0], [1]]), 0, len(documents) - 1)
    first, last = np.searchsorted(sentences, documents[own])
    sentence = (draws * (len(sentences) - 1 - (last - first))[:, None]).astype(np.int64)
    sentence += np.where(sentence >= first[:, None], (last - first)[:, None], 0)
    starts = sentences[sentence]
    document_ends = documents[np.searchsorted(documents, starts, "right")]
    latest = np.minimum(starts + budgets[:, None], sentences[sentence + 1] if single else document_ends)
    lengths = sentences[np.searchsorted(sentences, latest, "right") - 1] - starts
    best = lengths.argmax(1)[:, None]
    starts, lengths = (np.take_along_axis(x, best, 1)[:, 0] for x in (starts, lengths))
    return starts, np.where(lengths > 0, lengths, budgets)
