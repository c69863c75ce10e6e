"""Which words occur, and which near each other. W words of text, V vocabulary, P pairs that occur."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from unmask.text.example import Array

AT_ONCE = 1 << 20
"""Words whose pairs are counted together."""

Run = tuple[Array, Array]
"Keys ascending, and their counts."


def vocabulary(sentences: Iterable[list[str]], min_count: int) -> list[str]:
    """The words that occur so often, the commonest first; of equally common ones the one that came first."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(sentence)
    return [word for word, count in counts.most_common() if count >= min_count]


@dataclass(frozen=True)
class Pairs:
    """How often words occur near each other: once each pair, ``first`` not above ``second``."""

    first: Array  # [P] int32
    second: Array  # [P] int32
    counts: Array  # [P] float32


def pairs(sentences: Iterable[list[str]], words: list[str], window: int) -> Pairs:
    """Count words so near each other, d words apart as 1/d (Pennington 2014, §4.2). Other words are as if not there.

    Of two equal words each is near the other, so that such a pair counts twice.
    """
    numbers = {word: n for n, word in enumerate(words)}
    runs: list[Run] = []
    for text, owner in _batches(sentences, numbers):
        runs.append(_count(text, owner, window, len(words)))
        # like a binary counter, so that each pair is merged as often as the logarithm of their number
        while len(runs) > 1 and len(runs[-2][0]) < 2 * len(runs[-1][0]):
            runs.append(_merge(runs.pop(-2), runs.pop()))
    while len(runs) > 1:
        runs.append(_merge(runs.pop(-2), runs.pop()))
    keys, counts = runs[0] if runs else (np.empty(0, np.int64), np.empty(0))
    first, second = (keys // max(1, len(words))).astype(np.int32), (keys % max(1, len(words))).astype(np.int32)
    return Pairs(first, second, (counts * (1 + (first == second))).astype(np.float32))


def _batches(sentences: Iterable[list[str]], numbers: dict[str, int]) -> Iterator[tuple[Array, Array]]:
    """Known words [W] by number, and the sentence [W] each stands in."""
    text: list[int] = []
    lengths: list[int] = []
    for sentence in sentences:
        before = len(text)
        text.extend(numbers[word] for word in sentence if word in numbers)
        lengths.append(len(text) - before)
        if len(text) >= AT_ONCE:
            yield np.array(text, np.int64), np.repeat(np.arange(len(lengths)), lengths)
            text, lengths = [], []
    if text:
        yield np.array(text, np.int64), np.repeat(np.arange(len(lengths)), lengths)


def _count(text: Array, owner: Array, window: int, words: int) -> Run:
    run: Run = (np.empty(0, np.int64), np.empty(0))
    for distance in range(1, min(window, len(text) - 1) + 1):
        left, right = text[:-distance], text[distance:]
        together = owner[:-distance] == owner[distance:]
        keys = np.sort((np.minimum(left, right) * words + np.maximum(left, right))[together])
        first = _firsts(keys)
        run = _merge(run, (keys[first], np.diff(first, append=len(keys)) / distance))
    return run


def _merge(a: Run, b: Run) -> Run:
    keys, counts = np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])
    order = np.argsort(keys, kind="stable")  # which knows two ascending runs when it meets them
    keys, counts = keys[order], counts[order]
    first = _firsts(keys)
    return keys[first], np.add.reduceat(counts, first) if len(keys) else counts


def _firsts(keys: Array) -> Array:
    """Where each key first stands among ascending ones."""
    return np.flatnonzero(np.diff(keys, prepend=-1))
