"""Slots become sequences: [CLS] text [SEP], or [CLS] A [SEP] B [SEP]. N sequences, T tokens, whole batches at a time.

Texts are not copied before their final place is known: a `Text` says where each stretch lies in a pool of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from unmask.text.borders import WORD, known
from unmask.text.chance import Chance
from unmask.text.example import Array, Example, Stream
from unmask.text.ranges import stretches

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Text:
    """N stretches of a pool of tokens; a stretch may be empty."""

    tokens: Array  # the pool's ids
    words: Array  # not 0: this token begins a word, and what else the flags of `text.borders` say
    starts: Array  # [N] where each stretch begins
    lengths: Array  # [N]

    def put(self, which: Array, other: Text) -> Text:
        """The same texts with those at ``which`` [K] replaced by ``other``'s K."""
        starts, lengths = self.starts.copy(), self.lengths.copy()
        starts[which], lengths[which] = other.starts + len(self.tokens), other.lengths
        return Text(
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.words, other.words]),
            starts,
            lengths,
        )

    def followed(self, *others: Text) -> Text:
        """These texts, and then the others."""
        parts = (self, *others)
        before = np.cumsum([0, *(len(part.tokens) for part in parts)])
        return Text(
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.words for part in parts]),
            np.concatenate([part.starts + shift for part, shift in zip(parts, before, strict=False)]),
            np.concatenate([part.lengths for part in parts]),
        )

    def pick(self, which: Array) -> Text:
        """The texts with these numbers."""
        return Text(self.tokens, self.words, self.starts[which], self.lengths[which])


@dataclass(frozen=True)
class Slots:
    """N stretches of corpus laid end to end: what a sampler is given."""

    tokens: Array  # [T] int32
    words: Array  # [T] not 0: this token begins a word, and what else the flags of `text.borders` say
    sentences: Array  # [T] bool: this token begins a sentence
    documents: Array  # [T] bool: this token begins a document
    lengths: Array  # [N]
    document: Array  # [N] the corpus-wide number of the document in which each slot begins
    ids: Array  # [N] corpus-wide numbers of the slots' first tokens; those of the tokens that follow are next to them
    rooms: Array  # [N] the tokens that a sequence made of the slot may have, special tokens included
    pairs: bool  # whether the format asks for two texts
    elsewhere: Callable[[Array, Array, Chance], Text]
    """(slots [K], budgets [K], chance of all N) -> K texts from other documents, whole sentences, at most so long."""
    adjacent: Callable[[bool], Text]
    """(whether after) -> the sentence before or after each slot [N] in its document; empty where there is none."""
    beside: Callable[[Array, Array], Text]
    """(after [N], budgets [N]) -> what is right before each slot in its document, or right after it."""
    groups: Array  # [N] rising numbers: slots of one are in one process and one piece of a step

    @property
    def text(self) -> Text:
        """Each slot whole."""
        return Text(self.tokens, self.words, np.cumsum(self.lengths) - self.lengths, self.lengths)

    @property
    def parted(self) -> tuple[Text, Array]:
        """Each sentence alone, K of them; and the slot [K] that it stands in."""
        whole = self.text
        begins = self.sentences.copy()
        begins[whole.starts] = True
        starts = np.flatnonzero(begins)
        owner = np.searchsorted(whole.starts, starts, "right") - 1
        return Text(self.tokens, self.words, starts, np.diff(starts, append=len(self.tokens))), owner


def single(slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
    """One sequence per slot: in the pair formats A and the B that follows it, else all as one text.

    Where a document begins inside a text, a further separator stands before it (RoBERTa §4.2).
    """
    if slots.pairs:
        return join(*halves(slots, chance), slots, tokenizer)
    return join(slots.text, None, slots, tokenizer)


def alone(text: Text, tokenizer: Tokenizer) -> Stream:
    """[CLS] text [SEP], a sequence each."""
    lengths = text.lengths + 2
    tokens = np.full(lengths.sum(), tokenizer.sep, np.int32)
    words = np.zeros(len(tokens), bool)
    starts = np.cumsum(lengths) - lengths
    tokens[starts] = tokenizer.cls
    _lay_down(text, stretches(text.starts, text.lengths), stretches(starts + 1, text.lengths), tokens, words)
    return Stream(tokens, lengths, None, _units(tokens, words, tokenizer))


def with_sentences(example: Example, slots: Slots, tokenizer: Tokenizer) -> Example:
    """The sequences of `single` that know where sentences begin."""
    stream = example.streams["encoder"]
    sentences = np.zeros(len(stream.tokens), bool)
    around = stream.tokens == tokenizer.sep  # a corpus holds none
    around[stream.starts] |= tokenizer.opens
    sentences[~around] = slots.sentences
    return example.with_stream(replace(stream, sentences=sentences))


def with_text_beside(example: Example, slots: Slots, after: Array, share: float) -> Example:
    """The sequences of `single` and, as a stream ``memory``, what stands beside each in its document.

    Args:
        example: the sequences.
        slots: what they were made of.
        after: [N] bool: what stands right behind it, and not what stands before.
        share: of the room of a sequence, at most so much.
    """
    text = slots.beside(after, (share * slots.rooms).astype(np.int64))
    if not text.lengths.any():
        return example
    tokens = text.tokens[stretches(text.starts, text.lengths)]
    first = np.where(after, example.streams["encoder"].lengths, -text.lengths)
    return example.with_stream(Stream(tokens, text.lengths, places=stretches(first, text.lengths)), "memory")


def halves(slots: Slots, chance: Chance) -> tuple[Text, Text]:
    """Each slot's sentences as A and B, parted at a border chosen by chance. B is empty where there is one sentence."""
    text = slots.text
    inner = slots.sentences.copy()
    inner[text.starts] = False
    borders = np.flatnonzero(inner)
    first = np.searchsorted(borders, text.starts)
    count = np.searchsorted(borders, text.starts + text.lengths) - first
    choice = first + (chance.sequences("border between A and B") * count).astype(np.int64)
    ends = text.starts + text.lengths
    border = np.where(count > 0, np.append(borders, 0)[choice], ends)
    return (
        Text(text.tokens, text.words, text.starts, border - text.starts),
        Text(text.tokens, text.words, border, ends - border),
    )


def join(a: Text, b: Text | None, slots: Slots, tokenizer: Tokenizer) -> Example:
    """[CLS] A [SEP], and B [SEP] where B is not empty; ``b`` is None where the format knows one text only.

    Where the vocabulary has no [CLS] (T5's), a text begins without. Units are words, numbered through the batch;
    special tokens, unknown ones included, are -1.
    """
    passed = np.zeros(len(a.tokens), np.int64) if b is not None else _documents_passed(slots)
    a_extra = _last(passed, a)
    b_lengths = np.zeros_like(a.lengths) if b is None else b.lengths
    lead = int(tokenizer.opens)
    lengths = lead + a.lengths + a_extra + 1 + b_lengths + (b_lengths > 0)
    starts = np.cumsum(lengths) - lengths
    tokens = np.full(lengths.sum(), tokenizer.sep, np.int32)
    words = np.zeros(len(tokens), a.words.dtype)
    if lead:
        tokens[starts] = tokenizer.cls
    source = stretches(a.starts, a.lengths)
    place = stretches(starts + lead, a.lengths) + passed[source]
    _lay_down(a, source, place, tokens, words)
    segments = None
    if b is not None:
        b_starts = starts + lead + a.lengths + 1
        _lay_down(b, stretches(b.starts, b.lengths), stretches(b_starts, b.lengths), tokens, words)
        segments = np.zeros(len(tokens), np.int8)
        segments[stretches(b_starts, b_lengths + (b_lengths > 0))] = 1
    units = _units(tokens, words, tokenizer)
    begins = words if known(words) > WORD else None
    return Example({"encoder": Stream(tokens, lengths, segments, units, begins=begins)}, documents=slots.document)


def _units(tokens: Array, words: Array, tokenizer: Tokenizer) -> Array:
    """[T] the number of each token's word, -1 for special tokens."""
    return np.where(tokenizer.special[tokens], -1, np.cumsum(words > 0, dtype=np.int32) - 1)


def _lay_down(text: Text, source: Array, place: Array, tokens: Array, words: Array) -> None:
    """Put texts from their pool to their places. A stretch begins a word even where a long sentence was cut in one.

    So it does a phrase and an entity, where these are known.
    """
    tokens[place] = text.tokens[source]
    words[place] = text.words[source]
    filled = text.lengths > 0
    words[place[(np.cumsum(text.lengths) - text.lengths)[filled]]] = known(text.words)


def _documents_passed(slots: Slots) -> Array:
    """[T] how many documents have begun inside the slot, up to and with this token."""
    begun = np.cumsum(slots.documents)
    starts = np.cumsum(slots.lengths) - slots.lengths
    return begun - np.repeat(begun[starts], slots.lengths)


def _last(values: Array, text: Text) -> Array:
    """[N] the value at each text's last token."""
    return np.where(text.lengths > 0, values[np.minimum(text.starts + text.lengths, len(values)) - 1], 0)
