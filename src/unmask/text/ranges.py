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
    borders = np.append(np.flatnonzero(np.concatenate([[True], units[1:] != units[:-1]])), len(units))
    kept = np.flatnonzero(units[borders[:-1]] >= 0)
    numbers = units[borders[kept]]
    new = np.append(np.flatnonzero(np.diff(numbers, prepend=-1)), len(numbers))
    return borders[kept[new[:-1]]], borders[kept[new[1:] - 1] + 1]


def inside(units: Array, begin: Array, end: Array) -> tuple[Array, Array]:
    """[M] places between these borders, special tokens left out; and [M] the first place between the same ones."""
    places, first = stretches(begin, end - begin), np.repeat(begin, end - begin)
    ordinary = units[places] >= 0
    return places[ordinary], first[ordinary]
