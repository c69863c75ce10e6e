"""T5's ways to hide parts of a text (Raffel 2019, 1910.10683, §3.1.4 and §3.3), as pure functions of a batch.

T tokens, N sequences, F ordinary tokens of them all, S spans.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unmask.text.chance import Chance
from unmask.text.example import Array, Stream


def random_spans(stream: Stream, chance: Chance, rate: float | Array, mean: float | Array) -> Array:
    """[T] bool: hidden. As the release's ``random_spans_noise_mask`` draws it; rate and mean may be [N].

    How many tokens of a text are hidden, and in how many spans, depends on its length alone. How long each span is, and
    how much stands between two of them, is drawn: all ways to part so many tokens into so many spans are as likely. A
    text begins with what is seen and ends with what is hidden. Special tokens in it are not counted and never hidden.
    """
    ordinary = _ordinary(stream)
    counts = np.bincount(stream.sequence[ordinary], minlength=len(stream.lengths))  # [N]
    hidden = np.clip(np.round(counts * rate), 1, np.maximum(counts - 1, 0)).astype(np.int64)
    spans = np.clip(np.round(hidden / mean), 1, np.minimum(hidden, counts - hidden)).astype(np.int64)
    seen = _parted(counts - hidden, np.maximum(spans, 1), chance, "what is seen")
    gone = _parted(hidden, np.maximum(spans, 1), chance, "what is hidden")
    lengths = np.stack([seen, gone], axis=1).ravel()  # [2S] in turn
    mask = np.zeros(len(stream.tokens), bool)
    mask[ordinary] = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return mask


def without_gaps(stream: Stream, mask: Array, whole: Array) -> Array:
    """[T] bool: hidden, and in these texts [N] all that stands between what is hidden, the border of documents too."""
    places = np.flatnonzero(mask & whole[stream.sequence])
    owners, first, count = np.unique(stream.sequence[places], return_index=True, return_counts=True)
    begin, end = np.zeros(len(stream.lengths), np.int64), np.full(len(stream.lengths), -1)
    begin[owners], end[owners] = places[first], places[first + count - 1]
    place = np.arange(len(mask))
    return mask | (begin[stream.sequence] <= place) & (place <= end[stream.sequence])


def random_tokens(stream: Stream, chance: Chance, rate: float) -> Array:
    """[T] bool: hidden, each ordinary token by itself; ``iid_noise_mask``."""
    mask = np.zeros(len(stream.tokens), bool)
    ordinary = _ordinary(stream)
    mask[ordinary] = chance.tokens(stream.lengths, "random_tokens")[ordinary] < rate
    return mask


def _ordinary(stream: Stream) -> Array:
    """[F] their places."""
    assert stream.units is not None
    return np.flatnonzero(stream.units >= 0)


def _parted(counts: Array, parts: Array, chance: Chance, purpose: str) -> Array:
    """[S] the sizes of parts: of each sequence's [N] so many tokens, in so many parts [N]; none is empty if it can be.

    Of the places at which a part may begin, so many are drawn, and the first.
    """
    starts, owner = np.cumsum(counts) - counts, np.repeat(np.arange(len(counts)), counts)
    lot = chance.bits(counts, purpose)
    lot[starts[counts > 0]] = 0
    order = np.lexsort((lot, owner))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - starts[owner]
    part = np.cumsum(rank < parts[owner]) - 1
    first = np.cumsum(parts) - parts
    # where there is nothing to part, its one part is empty
    shift = np.cumsum(np.where(counts > 0, 0, parts))
    return np.bincount(part + shift[owner], minlength=int(first[-1] + parts[-1]))


def number(stream: Stream, mask: Array, most: int) -> tuple[Array, Array]:
    """[T] the number of each hidden token's span in its sequence; [T] what is hidden, further spans than ``most`` not.

    A run of hidden tokens is a span.
    """
    begins = mask & ~np.concatenate([[False], mask[:-1] & (stream.sequence[1:] == stream.sequence[:-1])])
    count = np.cumsum(begins)
    before = (count - begins)[stream.starts]
    numbers = count - 1 - before[stream.sequence]
    return numbers, mask & (numbers < most)


def replaced(stream: Stream, mask: Array, numbers: Array, sentinels: Array) -> Stream:
    """What is seen, with one sentinel in the place of each span: ``Thank you <X> to <Y> week``."""
    begins = _begins(mask, numbers)
    stream = replace(stream, tokens=np.where(mask, sentinels[np.where(mask, numbers, 0)], stream.tokens))
    return stream.pick(np.flatnonzero(~mask | begins))


def told(stream: Stream, mask: Array, numbers: Array, sentinels: Array, end: int) -> tuple[Array, Array]:
    """What is hidden, each span behind its sentinel, and one more that ends it: ``<X> for <Y> last <Z>``, and the end.

    Returns:
        The tokens, laid end to end, and how many each sequence has [N].
    """
    places = np.flatnonzero(mask)
    copies = 1 + _begins(mask, numbers)[places]
    tokens, owner = np.repeat(stream.tokens[places], copies), np.repeat(stream.sequence[places], copies)
    tokens[(np.cumsum(copies) - copies)[copies > 1]] = sentinels[numbers[places[copies > 1]]]
    counts = np.bincount(stream.sequence[_begins(mask, numbers)], minlength=len(stream.lengths))  # [N] spans
    return with_ends(tokens, owner, np.stack([sentinels[counts], np.full_like(counts, end)], axis=1))


def with_ends(tokens: Array, owner: Array, ends: Array) -> tuple[Array, Array]:
    """Tokens of sequences, whose numbers are their owners', and behind each its ends [N, E]; and the lengths [N]."""
    lengths = np.bincount(owner, minlength=len(ends))
    places = np.repeat(np.cumsum(lengths), ends.shape[1])
    return np.insert(tokens, places, ends.ravel()), lengths + ends.shape[1]


def _begins(mask: Array, numbers: Array) -> Array:
    """[T] bool: the first of a span."""
    return mask & ~np.concatenate([[False], mask[:-1] & (numbers[1:] == numbers[:-1])])
