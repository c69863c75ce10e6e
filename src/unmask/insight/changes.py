"""What became of each token, found by laying what a model is given beside the text it was made of.

B tokens before, A tokens after. Tokens are numbers that a `Trail` gave: no two of a text's are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Literal

from unmask.text.example import Array

State = Literal["special", "seen", "kept", "hidden", "random", "drawn", "moved", "removed"]

MEANINGS: dict[State, str] = {
    "seen": "as it stands in the text",
    "hidden": "the model does not see what stood here",
    "random": "a token drawn at random stands here instead",
    "drawn": "a token that the generator drew stands here: another, or the same again",
    "kept": "as it stands in the text, and asked for all the same",
    "moved": "stood somewhere else in the text",
    "removed": "taken out: the model does not see that it is missing",
    "special": "special token",
}


ELSEWHERE = "stands in another document"


@dataclass(frozen=True)
class Change:
    """A token after, or one that is no longer there."""

    state: State
    place: int | None  # in what is after; None: it was taken out
    was: list[int] | None  # the tokens it stands for, if it is known to stand for others; they may be none


def in_place(before: Array, after: Array, special: Array) -> list[Change]:
    """Both have the same length: each token is compared with that at its own place."""
    pairs, known = zip(before.tolist(), after.tolist(), strict=True), set(before.tolist())
    return [_changed(b, a, place, special, known) for place, (b, a) in enumerate(pairs)]


def aligned(
    before: Array, after: Array, special: Array, whole: bool = True, added: Collection[int] = ()
) -> list[Change]:
    """Lengths differ: the longest stretches that both have are laid on each other.

    Args:
        before: [B] the text.
        after: [A] what was made of it.
        special: whether a number is a special token.
        whole: whether all of the text should be in it: then what is missing was taken out, or something stands for it.
        added: special tokens that stand for nothing.
    """
    old, new = before.tolist(), after.tolist()
    found: list[Change] = []
    known = {*old, *added}
    for kind, i, k, j, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found += [Change(_plain(new[place], special), place, None) for place in range(j, m)]
        elif kind == "replace" and k - i == m - j:  # one for one
            found += [_changed(old[i + place - j], new[place], place, special, known) for place in range(j, m)]
        else:
            missing = [token for token in old[i:k] if token not in new] if whole else []
            found += _differing(range(j, m), new, missing, special, known)
    return found if whole else [replace(change, was=None) for change in found]


def _changed(before: int, after: int, place: int, special: Array, known: set[int]) -> Change:
    state = _state(before, after, special, known)
    return Change(state, place, [before] if state in ("hidden", "random") else None)


def _differing(places: range, new: list[int], missing: list[int], special: Array, known: set[int]) -> Iterator[Change]:
    """A stretch that is not in both: what stands there stands for what is missing, or that was taken out."""
    states = [_state(None, new[place], special, known) for place in places]
    stand_in = next((n for n, state in enumerate(states) if state == "hidden"), None)
    if stand_in is None:
        yield from (Change("removed", None, [token]) for token in missing)
    for n, (place, state) in enumerate(zip(places, states, strict=True)):
        yield Change(state, place, missing if n == stand_in else None)


def _plain(token: int, special: Array) -> State:
    return "special" if special[token] else "seen"


def _state(before: int | None, after: int, special: Array, known: set[int]) -> State:
    if after == before or (special[after] and after in known):
        return _plain(after, special)
    if special[after]:
        return "hidden"
    return "moved" if after in known else "random"
