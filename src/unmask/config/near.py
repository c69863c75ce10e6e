"""What the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The most similar of the words; of dotted ones, one whose last part is similar also counts."""
    words = list(words)
    if whole := difflib.get_close_matches(word, words, 1, 0.75):
        return whole[0]
    ends = {known.rpartition(".")[2] for known in words}
    if not (end := difflib.get_close_matches(word.rpartition(".")[2], ends, 1, 0.7)):
        return None
    alike = [known for known in words if known.rpartition(".")[2] == end[0]]
    return max(alike, key=lambda known: difflib.SequenceMatcher(None, word, known).ratio())


def hint(word: str, words: Iterable[str]) -> str:
    """A suggestion, or all there is to choose from."""
    words = list(words)
    near = nearest(word, words)
    return f"did you mean {near}?" if near else f"choose from {', '.join(words)}"
