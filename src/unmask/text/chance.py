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


def _mix(x: Array) -> Array:
    """Splitmix64's finaliser, in place."""
    with np.errstate(over="ignore"):
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
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
        return _unit(_hash(self.keys, zlib.crc32(purpose.encode())))

    def tokens(self, lengths: Array, purpose: str) -> Array:
        """[T] numbers in [0, 1), one per token of sequences of these lengths."""
        return _unit(self.bits(lengths, purpose))

    def bits(self, lengths: Array, purpose: str) -> Array:
        """[T] uint64, one per token of sequences of these lengths."""
        keys = _hash(self.keys, zlib.crc32(purpose.encode()))
        starts = np.cumsum(lengths) - lengths
        with np.errstate(over="ignore"):
            # key + golden * position is splitmix64's own stream of the sequence
            base = keys - starts.astype(np.uint64) * _GOLDEN
            counter = np.arange(int(lengths.sum()), dtype=np.uint64) * _GOLDEN
            return _mix(np.repeat(base, lengths) + counter)

    def generator(self, n: int, purpose: str) -> np.random.Generator:
        """A numpy generator of sequence n's own, for corruptions that draw one thing after another."""
        return np.random.Generator(np.random.Philox(key=int(_hash(self.keys[n : n + 1], zlib.crc32(purpose.encode()))[0])))


def _unit(bits: Array) -> Array:
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def permutation(n: int, *address: int) -> Array:
    """A permutation of range(n), the same for the same address."""
    key = int(_hash(*address)[0])
    return np.random.Generator(np.random.Philox(key=key)).permutation(n)
