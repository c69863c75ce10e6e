"""A shard's documents -> slots -> rows, the same for the same shard, format, length and seed.

A *slot* is a run of whole sentences that becomes one sequence; a *row* is slots side by side, at most ``length`` tokens
with their special tokens. P pieces (sentences, or parts of those too long for a sequence), N slots, R rows.

Runs as long as a row never end exactly at its end: one tenth of a row of 128 would stay empty. So rows are filled as
in first-fit decreasing, and where nothing fits the rest of a row, the run gives up its last sentences, which become a
slot of their own, until something does. Nothing is dropped, nothing is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from unmask.text.chance import generator, permutation
from unmask.text.example import Array

if TYPE_CHECKING:
    from unmask.text.corpus.shards import Shard

Run = tuple[int, int]  # from one piece up to, not including, another

SHORT_SEQUENCES = 0.1  # BERT's short_seq_prob: some inputs are short, so that short texts are no surprise later
WASTE = 64  # a row is full when less than one in so many places is empty
EMPTY = 8  # where more than one in so many stays empty, a pair is parted rather
STOCK = 128  # short runs kept at hand to fill rows with


@dataclass(frozen=True)
class Format:
    """How a slot is made (Liu 2019, RoBERTa, 1907.11692, §4.2)."""

    special: int  # special tokens of a sequence
    pairs: bool = False  # two texts, A and B?
    crosses: bool = False  # may it go on in the next document, after a separator of its own?
    most: int | None = None  # sentences in a slot
    gives: tuple[int, ...] = (
        1,
        2,
    )  # sentences a slot may give up for a full row, the best first; so many it keeps
    short: float = 0.0  # share of slots that are cut short on purpose


FORMATS = {
    "segment_pair": Format(special=3, pairs=True, gives=(2, 3, 1), short=SHORT_SEQUENCES),
    "sentence_pair": Format(special=3, pairs=True, gives=(2,), most=2),
    "full_sentences": Format(special=2, crosses=True),
    "doc_sentences": Format(special=2),
    "single_sentences": Format(special=2, most=1),  # not RoBERTa's: for objectives on sentences
}


@dataclass(frozen=True)
class Rows:
    """N slots of one shard, laid into R rows."""

    starts: Array  # [N] int64 each slot's first token in the shard
    lengths: Array  # [N] int64 its tokens
    rooms: Array  # [N] int64 its tokens as a sequence, special tokens included
    first: Array  # [R+1] int64 row r holds the slots first[r] … first[r+1] - 1
    pieces: Array  # [P+1] int64 where the pieces that slots are made of begin in the shard, and its end
    cut: int  # sentences that were too long for a sequence and became several pieces

    def __len__(self) -> int:
        return len(self.first) - 1


def cut(shard: Shard, input_format: str, length: int, *address: int) -> Rows:
    """Cut a shard into slots and lay them into rows of ``length``; ``address`` (seed, shard) decides all."""
    form = FORMATS[input_format]
    edges, long = _pieces(np.asarray(shard.sentences, np.int64), shard.words, length - form.special)
    pieces = _Pieces.of(edges, np.asarray(shard.documents, np.int64), form)
    runs = pieces.runs(_limits(len(edges) - 1, length - form.special, form, address))
    order = permutation(len(runs), "runs", *address)
    rows = _lay([runs[n] for n in order.tolist()], pieces, length)
    i, j = np.array([run for row in rows for run in row], np.int64).reshape(-1, 2).T
    first = np.cumsum([0, *map(len, rows)])
    return Rows(edges[i], edges[j] - edges[i], pieces.price(i, j), first, edges, long)


def _pieces(sentences: Array, words: Array, room: int) -> tuple[Array, int]:
    """[P+1] borders of the sentences, of those longer than ``room`` also inner ones; and how many were longer."""
    long = np.flatnonzero(np.diff(sentences) > room)
    inner = [e for s in long for e in _inner_edges(words, int(sentences[s]), int(sentences[s + 1]), room)]
    return np.sort(np.concatenate([sentences, np.array(inner, np.int64)])), len(long)


def _inner_edges(words: Array, start: int, stop: int, room: int) -> list[int]:
    """Where to cut a long sentence: before the last word, if possible phrase and entity, that does not fit whole."""
    edges = []
    while stop - start > room:
        here = words[start + 1 : start + room + 1]
        inside = np.flatnonzero((here > 0) & (here == here.max()))
        start += int(inside[-1]) + 1 if len(inside) else room
        edges.append(start)
    return edges


def _limits(pieces: int, room: int, form: Format, address: tuple[int, ...]) -> Array:
    """[P] the tokens that a run beginning at each piece may have."""
    limits = np.full(pieces, room)
    if form.short:
        chance = generator("short", *address)  # drawn for every piece, used by those that begin a run
        short = chance.random(pieces) < form.short
        limits[short] = chance.integers(2, room + 1, short.sum())
    return limits


@dataclass(frozen=True)
class _Pieces:
    """What runs of pieces cost: run (i, j) takes cost[j] - before[i] tokens of a row, a lone one no second [SEP]."""

    form: Format
    cost: Array  # [P+1]
    before: Array  # [P]
    document_end: Array  # [P] the piece at which each piece's document ends

    @classmethod
    def of(cls, edges: Array, documents: Array, form: Format) -> _Pieces:
        first = np.searchsorted(edges, documents)  # [K+1] documents in pieces
        separators = np.zeros(len(edges), np.int64)
        separators[first[:-1]] = form.crosses
        # a document that goes on in a slot costs a separator; one that begins it does not
        passed = np.concatenate([[0], np.cumsum(separators)[:-1]])
        before = edges[:-1] + passed[:-1] + separators[:-1] - form.special
        return cls(form, edges + passed, before, np.repeat(first[1:], np.diff(first)))

    def price(self, i: Array, j: Array) -> Array:
        """[N] tokens of the sequences that runs become."""
        return self.cost[j] - self.before[i] - (self.form.pairs & (j - i == 1))

    def runs(self, limits: Array) -> list[Run]:
        """One run after another, each as long as its limit and format allow, and at least one piece."""
        here = np.arange(len(limits))
        ends = np.searchsorted(self.cost, self.before + self.form.special + limits, "right") - 1
        ends = np.maximum(ends, here + 1)
        if not self.form.crosses:
            ends = np.minimum(ends, self.document_end)
        if self.form.most:
            ends = np.minimum(ends, here + self.form.most)
        hops, runs, i = ends.tolist(), [], 0
        while i < len(hops):
            runs.append((i, hops[i]))
            i = hops[i]
        return runs


class _Shelf:
    """Runs by what they cost; the dearest that a room can pay is found at once."""

    def __init__(self, pieces: _Pieces, length: int):
        self.gives, self.pairs = pieces.form.gives, pieces.form.pairs
        self.cost, self.before = pieces.cost.tolist(), pieces.before.tolist()
        self.runs: list[list[Run]] = [[] for _ in range(length + 1)]
        self.held = 0  # bit c: there is a run that costs c
        self.small, self.short = length // 4, 0

    def price(self, i: int, j: int) -> int:
        price: int = self.cost[j] - self.before[i] - (self.pairs and j - i == 1)
        return price

    def add(self, i: int, j: int) -> None:
        price = self.price(i, j)
        self.runs[price].append((i, j))
        self.held |= 1 << price
        self.short += price <= self.small

    def dearest(self, room: int) -> int:
        """What the dearest run costs that fits, 0 if none does."""
        return max(0, (self.held & ((2 << room) - 1)).bit_length() - 1)

    def take(self, price: int) -> Run:
        run = self.runs[price].pop()
        if not self.runs[price]:
            self.held ^= 1 << price
        self.short -= price <= self.small
        return run

    def rest(self, room: int) -> int:
        """What stays empty of a room."""
        while price := self.dearest(room):
            room -= price
        return room


def _lay(runs: list[Run], pieces: _Pieces, length: int) -> list[list[Run]]:
    """Rows of runs, the dearest run first, each filled with what fits best."""
    least, stock = pieces.form.gives[0], min(STOCK, len(runs) // 8)
    shelf, rows = _Shelf(pieces, length), []
    for run in runs:
        shelf.add(*run)
    while shelf.held:
        i, j = shelf.take(shelf.dearest(length))
        rest, k = _division(shelf, i, j, length)
        if rest > length // WASTE and shelf.short < stock and j - i >= 2 * least:
            for run in _parts(i, j, least):
                shelf.add(*run)
            continue
        row, room = [(i, k)], length - shelf.price(i, k)
        while price := shelf.dearest(room):
            row.append(shelf.take(price))
            room -= price
        if k < j:
            shelf.add(k, j)
        rows.append(row)
    return rows


def _division(shelf: _Shelf, i: int, j: int, length: int) -> tuple[int, int]:
    """What stays empty of a row that begins with the run (i, k), and that k ≤ j: the first that is good enough."""
    best = (shelf.rest(length - shelf.price(i, j)), j)
    for k in (j - given for given in shelf.gives):
        if best[0] <= length // WASTE:
            break
        keeps = shelf.gives[0] if best[0] <= length // EMPTY else 1
        if k - i >= keeps:
            best = min(best, (shelf.rest(length - shelf.price(i, k)), k), key=itemgetter(0))
    return best


def _parts(i: int, j: int, least: int) -> list[Run]:
    """A run as runs of ``least`` pieces, the last with what is left."""
    edges = [*range(i, j - least + 1, least), j]
    return list(pairwise(edges))
