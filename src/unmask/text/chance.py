"""Chance that does not depend on history: a pure function of (seed, epoch, sequence, position, purpose).

A stateful generator would tie each draw to all draws before it, and with them to the number of workers and of
restarts. Here every number is a hash of its own address (splitmix64, Steele 2014), so any batch can be made again,
anywhere, alone.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from unmask.text.example import Array

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 15


def _mix(x: Array) -> Array:
    """Splitmix64's finaliser, in place, in blocks that stay in the processor's cache."""
    shifted = np.empty(min(len(x), _BLOCK), np.uint64)
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK]
        other = shifted[: len(block)]
        block ^= np.right_shift(block, np.uint64(30), out=other)
        block *= np.uint64(0xBF58476D1CE4E5B9)
        block ^= np.right_shift(block, np.uint64(27), out=other)
        block *= np.uint64(0x94D049BB133111EB)
        block ^= np.right_shift(block, np.uint64(31), out=other)
    return x


def _hash(*parts: Array | int) -> Array:
    """Fold integers (arrays broadcast) into one uint64 each."""
    total = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            total = _mix(total * _GOLDEN + np.asarray(part).astype(np.uint64) + _GOLDEN)
    return total


@dataclass(frozen=True)
class Chance:
    """The random numbers of N sequences, in one epoch each."""

    keys: Array  # [N] uint64

    @classmethod
    def of(cls, seed: int, epochs: Array | int, ids: Array) -> Chance:
        """Chance for the sequences with these ids (N of them) as they are fed in these epochs."""
        return cls(_hash(np.full(len(ids), seed), epochs, ids))

    def sequences(self, purpose: str) -> Array:
        """[N] numbers in [0, 1), one per sequence."""
        return fraction(_hash(self.keys, zlib.crc32(purpose.encode())))

    def tokens(self, lengths: Array, purpose: str) -> Array:
        """[T] numbers in [0, 1), one per token of sequences of these lengths."""
        return fraction(self.bits(lengths, purpose))

    def bits(self, lengths: Array, purpose: str) -> Array:
        """[T] uint64, one per token of sequences of these lengths."""
        keys = _hash(self.keys, zlib.crc32(purpose.encode()))
        starts = np.cumsum(lengths) - lengths
        with np.errstate(over="ignore"):
            # key + golden * position is splitmix64's own stream of the sequence
            counters = np.repeat(keys - starts.astype(np.uint64) * _GOLDEN, lengths)
            counters += np.arange(len(counters), dtype=np.uint64) * _GOLDEN
            return _mix(counters)

    def generator(self, n: int, purpose: str) -> np.random.Generator:
        """A numpy generator of sequence n's own, for corruptions that draw one thing after another."""
        key = int(_hash(self.keys[n : n + 1], zlib.crc32(purpose.encode()))[0])
        return np.random.Generator(np.random.Philox(key=key))


def again(bits: Array, n: int = 1) -> Array:
    """The n-th further uint64 of the same addresses, as good as a fresh draw and cheaper where few are wanted."""
    with np.errstate(over="ignore"):
        return _mix(bits + np.asarray([n], np.uint64) * _GOLDEN)


def fraction(bits: Array) -> Array:
    """Numbers in [0, 1) of uint64."""
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def generator(*address: int | str) -> np.random.Generator:
    """A numpy generator, the same for the same address."""
    parts = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in address]
    return np.random.Generator(np.random.Philox(key=int(_hash(*parts)[0])))


def permutation(n: int, *address: int | str) -> Array:
    """A permutation of range(n), the same for the same address."""
    return generator(*address).permutation(n)
