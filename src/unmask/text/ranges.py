"""Ranges of indices, many at a time. U units."""

from __future__ import annotations

import numpy as np

from unmask.text.example import Array


def stretches(starts: Array, lengths: Array) -> Array:
    """Indices of stretches, one after another: starts 7, 2 and lengths 3, 2 give 7 8 9 2 3."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())


def table(starts: Array, lengths: Array) -> Array:
    """[N, S] the indices of each stretch in a row of its own, -1 where it is shorter than the longest."""
    columns = np.arange(lengths.max(initial=0))
    return np.where(columns < lengths[:, None], starts[:, None] + columns, -1)


def runs(units: Array) -> tuple[Array, Array]:
    """Where the units begin [U] and end [U]; a special token (-1) is none, but may stand inside one."""
    places = np.flatnonzero(units >= 0)
    numbers = units[places]
    first = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)])
    last = np.append(first[1:], len(numbers))[: len(first)] - 1
    return places[first], places[last] + 1


def begins(units: Array, places: Array) -> Array:
    """[M] whether a unit begins at each of these places."""
    before = places - 1
    other = units[before]
    while len(special := np.flatnonzero((other < 0) & (before > 0))):
        before[special] -= 1
        other[special] = units[before[special]]
    return (units[places] >= 0) & ((units[places] != other) | (before < 0))


def onwards(units: Array, begin: Array) -> Array:
    """[M] the places of the units that begin at these, in order, special tokens left out."""
    chosen, here, numbers = np.zeros(len(units), bool), begin, units[begin]
    while len(here):
        chosen[here] = True
        inner = here + 1 < len(units)
        here, numbers = here[inner] + 1, numbers[inner]
        goes_on = (units[here] == numbers) | (units[here] < 0)
        here, numbers = here[goes_on], numbers[goes_on]
    return np.flatnonzero(chosen & (units >= 0))


def inside(units: Array, begin: Array, end: Array) -> tuple[Array, Array]:
    """[M] places between these borders, special tokens left out; and [M] the first place between the same ones."""
    places, first = stretches(begin, end - begin), np.repeat(begin, end - begin)
    ordinary = units[places] >= 0
    return places[ordinary], first[ordinary]
