"""Which text a step is made of. The batch at step s is a pure function of (corpus, config, seed, s).

Shards are cut into slots and the slots laid into rows once and for all (`cutting.py`); an epoch is a permutation of the
rows. Row r of the endless stream is row ``r % rows`` of epoch ``r // rows``, and a step takes a fixed number of
rows, so that nothing has to be remembered or repeated to make any step's batch, on any number of machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from unmask.errors import UserError
from unmask.text.chance import Chance, permutation
from unmask.text.example import Array, Example
from unmask.text.ranges import stretches
from unmask.text.sampling.adjacent import adjacent, beside
from unmask.text.sampling.cutting import FORMATS, Rows, cut
from unmask.text.sampling.elsewhere import Shards, elsewhere
from unmask.text.sampling.sequences import Slots

if TYPE_CHECKING:
    from unmask.text.corpus.corpus import Corpus
    from unmask.text.tokens.tokenizer import Tokenizer

INPUT_FORMATS = tuple(FORMATS)
USUAL = ("full_sentences", "segment_pair", "doc_sentences", "sentence_pair", "single_sentences")  # the first that fits

LEAST = 8  # tokens in a row: special tokens, and something between them
GROUP = 4  # shards whose rows are shuffled together: memory depends on this, not on the corpus


class Sampler(Protocol):
    """What sampling wants of an objective."""

    input_formats: ClassVar[tuple[str, ...]]

    @property
    def samples(self) -> bool:
        """Whether it makes its own sequences."""

    def epochs(self, epochs: Array) -> Array:
        """The epochs whose chance is drawn on."""

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Make sequences of slots."""

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Hide something and say where the answers are."""


def formats(objectives: Mapping[str, Sampler], input_format: str | None = None) -> list[str]:
    """The input formats that all objectives can learn from, the usual one first.

    Raises:
        UserError: no format is left, or the one asked for does not fit.
    """
    fit = [form for form in USUAL if all(form in objective.input_formats for objective in objectives.values())]
    if not fit:
        raise UserError(f"objective: {' and '.join(objectives)} have no input format in common; choose one of them")
    if input_format is not None and input_format not in fit:
        against = [name for name, o in objectives.items() if input_format not in o.input_formats]
        raise UserError(f"input_format: {' and '.join(against)} cannot use {input_format}; fitting: {', '.join(fit)}")
    return fit if input_format is None else [input_format]


def refuse_two_cutters(together: Mapping[str, Sampler]) -> None:
    """Raise a `UserError` where two objectives that are asked together each want their own sequences."""
    own = [name for name, objective in together.items() if objective.samples]
    if len(own) > 1:
        raise UserError(f"objective: {' and '.join(own)} each cut sequences their own way; choose one of them")


class Plan:
    """How a corpus becomes steps.

    Args:
        corpus: what `unmask prepare` made.
        input_format: one of `INPUT_FORMATS`.
        length: tokens in a row, and the most in a sequence, special tokens included.
        rows_per_step: rows that a step takes, over all ranks.
        seed: decides the cutting and the order.
        together: about how many sentences no two ranks and pieces may share, where answers hang on other sentences.

    Raises:
        UserError: the corpus is too small for one step, or the length for any text.
    """

    rows: int  # rows in an epoch
    fill: float  # share of the rows' places that hold tokens, special tokens included
    cut: int  # sentences too long for a sequence, which were cut into pieces
    groups: int  # parts of a step that stay whole: its rows, or fewer where sentences belong together

    def __init__(
        self,
        corpus: Corpus,
        input_format: str = "full_sentences",
        length: int = 128,
        rows_per_step: int = 32,
        seed: int = 0,
        together: int = 1,
    ):
        if length < LEAST:
            raise UserError(f"length: {length} tokens leave no room for text; at least {LEAST} fit")
        self.corpus, self.input_format, self.length = corpus, input_format, length
        self.rows_per_step, self.seed = rows_per_step, seed
        self._rows = lru_cache(2 * GROUP)(self._cut)
        self._epoch = lru_cache(2)(self._shards_of)
        self._order = lru_cache(2)(self._rows_of)
        figures = np.array([self._figures(shard) for shard in range(corpus.shards)], np.int64).reshape(-1, 4)
        self._counts = figures[:, 0]
        self.rows, held, self.cut, sentences = figures.sum(0).tolist()
        if self.rows < rows_per_step:
            raise UserError(self._too_small())
        self.fill = held / (self.rows * length)
        self._rows_per_group = together * self.rows / sentences
        self.groups = min(rows_per_step, max(1, round(rows_per_step / self._rows_per_group)))

    def slots(self, step: int, rank: int = 0, world: int = 1) -> tuple[Slots, Array, Array]:
        """A rank's share of a step: its slots, and by slot the row [N] in the step and the epoch [N] it stands in."""
        if world > self.groups:
            raise UserError(self._too_many(world))
        borders = self.rows_per_step * np.arange(self.groups + 1) // self.groups  # of groups, in rows
        first, last = (int(borders[self.groups * r // world]) for r in (rank, rank + 1))
        stream = range(step * self.rows_per_step + first, step * self.rows_per_step + last)
        shard, row = np.array([self._find(r) for r in stream], np.int64).reshape(-1, 2).T
        places, counts = self._places(shard, row)
        row_of = np.repeat(np.arange(first, last), counts)
        epochs = (row_of + step * self.rows_per_step) // self.rows
        groups = np.searchsorted(borders, row_of, "right") - 1
        return gather(self.corpus, self.input_format, *places, self._pieces, groups), row_of, epochs

    def _cut(self, shard: int) -> Rows:
        return cut(self.corpus.shard(shard), self.input_format, self.length, self.seed, shard)

    def _pieces(self, shard: int) -> Array:
        return self._rows(shard).pieces

    def _figures(self, shard: int) -> tuple[int, int, int, int]:
        rows = self._rows(shard)
        return len(rows), int(rows.rooms.sum()), rows.cut, len(rows.pieces) - 1

    def _too_small(self) -> str:
        fitting = f"--batch-size {self.rows} would fit, or a shorter --length" if self.rows else "nothing can be read"
        return (
            f"{self.corpus.folder}: {self.corpus.tokens:,} tokens make {self.rows} rows of {self.length}, "
            f"and a step takes {self.rows_per_step}; {fitting}"
        )

    def _too_many(self, world: int) -> str:
        step, sharing = f"a step of {self.rows_per_step} rows", f"shared by {world} processes and pieces"
        if self.groups == self.rows_per_step:
            return f"{step} is {sharing}; --batch-size {world} or more would fit"
        rows = math.ceil(world * self._rows_per_group)
        return (
            f"{step} holds {self.groups} groups of sentences that stay together, and is {sharing}; "
            f"--batch-size {rows} would fit, or smaller groups"
        )

    def _shards_of(self, epoch: int) -> tuple[Array, Array]:
        """The epoch's order of shards, and the rows up to and with each."""
        shards = permutation(self.corpus.shards, "shards", self.seed, epoch)
        return shards, np.cumsum(self._counts[shards])

    def _rows_of(self, epoch: int, group: int, rows: int) -> Array:
        return permutation(rows, "rows", self.seed, epoch, group)

    def _find(self, r: int) -> tuple[int, int]:
        """The shard, and the row in it, of row r of the endless stream."""
        epoch, r = divmod(r, self.rows)
        shards, ends = self._epoch(epoch)
        first = int(np.searchsorted(ends, r, "right")) // GROUP * GROUP
        members = shards[first : first + GROUP]
        before = int(ends[first - 1]) if first else 0
        group_ends = ends[first : first + GROUP] - before
        row = int(self._order(epoch, first // GROUP, int(group_ends[-1]))[r - before])
        member = int(np.searchsorted(group_ends, row, "right"))
        return int(members[member]), row - int(group_ends[member - 1] if member else 0)

    def _places(self, shard: Array, row: Array) -> tuple[tuple[Array, Array, Array, Array], Array]:
        """The slots of rows [R]: shard, start, length, room [N] each; and the number of slots by row [R]."""
        found = []
        for s, r in zip(shard.tolist(), row.tolist(), strict=True):
            rows = self._rows(s)
            here = slice(rows.first[r], rows.first[r + 1])
            found.append((np.full(here.stop - here.start, s), rows.starts[here], rows.lengths[here], rows.rooms[here]))
        shards, starts, lengths, rooms = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return (shards, starts, lengths, rooms), np.array([len(part[0]) for part in found])


def gather(
    corpus: Shards,
    input_format: str,
    shards: Array,
    starts: Array,
    lengths: Array,
    rooms: Array,
    pieces: Callable[[int], Array] | None = None,
    groups: Array | None = None,
) -> Slots:
    """Slots [N] read from their shards: what each has of tokens from where on, and may have as a sequence.

    ``pieces`` are the borders of a shard's sentences, where some of them were cut; ``groups`` [N] those that slots
    belong to, if there are several.
    """
    total, offsets = int(lengths.sum()), np.cumsum(lengths) - lengths
    tokens, document = np.empty(total, np.int32), np.empty(len(starts), np.int64)
    sentences, documents = (np.zeros(total, bool) for _ in range(2))
    words = np.zeros(total, corpus.shard(int(shards[0])).words.dtype)
    for s in np.unique(shards).tolist():
        shard, here = corpus.shard(s), shards == s
        source, place = stretches(starts[here], lengths[here]), stretches(offsets[here], lengths[here])
        tokens[place], words[place] = shard.tokens[source], shard.words[source]
        document[here] = shard.first_document + np.searchsorted(shard.documents, starts[here], "right") - 1
        for borders, flags in ((shard.sentences, sentences), (shard.documents, documents)):
            flags[_borders(borders, starts[here], lengths[here], offsets[here])] = True
    form = FORMATS[input_format]
    negatives = partial(elsewhere, corpus, shards, document, form.most is not None)
    # a slot is known by its shard and by its first token there
    ids = (shards << 32) + starts
    edges = pieces or (lambda s: corpus.shard(s).sentences)
    sentences_beside = partial(adjacent, corpus, edges, shards, starts, lengths)
    texts_beside = partial(beside, corpus, shards, starts, lengths)
    groups = np.zeros(len(starts), np.int64) if groups is None else groups
    return Slots(
        tokens, words, sentences, documents, lengths, document, ids, rooms, form.pairs,
        negatives, sentences_beside, texts_beside, groups,
    )  # fmt: skip


def draw(
    plan: Plan,
    objectives: Sequence[Sampler],
    tokenizer: Tokenizer,
    seed: int,
    step: int,
    rank: int = 0,
    world: int = 1,
) -> Example:
    """A rank's share of a step: the sequences, then what every objective hides of them and asks, in turn."""
    slots, _, epochs = plan.slots(step, rank, world)
    *_, example = stages(slots, epochs, objectives, tokenizer, seed)
    return example


def stages(
    slots: Slots, epochs: Array, objectives: Sequence[Sampler], tokenizer: Tokenizer, seed: int
) -> Iterator[Example]:
    """Slots as an example: the sequences as they are cut, then what each objective makes of them in its turn."""
    for objective in objectives:
        epochs = objective.epochs(epochs)
    chance = Chance.of(seed, epochs, slots.ids)
    sampler = next((o for o in objectives if o.samples), objectives[0])
    example = sampler.sample(slots, tokenizer, chance)
    yield example
    for objective in objectives:
        example = objective.corrupt(example, tokenizer, chance)
        yield example


def _borders(borders: Array, starts: Array, lengths: Array, offsets: Array) -> Array:
    """Where the borders that lie in these stretches come to stand, when the stretches are moved to the offsets."""
    first = np.searchsorted(borders, starts)
    count = np.searchsorted(borders, starts + lengths) - first
    return borders[stretches(first, count)] - np.repeat(starts - offsets, count)
