"""Words and their vectors: asked, saved, opened. V words, D size, Q questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unmask.disk import replace_file
from unmask.errors import UserError
from unmask.static.ngrams import Ngrams
from unmask.text.example import Array

FILE, NGRAMS = "vectors.txt", "ngrams.safetensors"
_SETTINGS = ("min_n", "max_n", "buckets")


@dataclass(frozen=True, repr=False)
class WordVectors:
    """A vector for each word, the commonest words first; with n-grams for unseen words too.

    ``WordVectors.open("vectors/mine").nearest("river")``
    """

    words: list[str]  # [V]
    matrix: Array  # [V, D] float32
    ngrams: Ngrams | None = None
    result: dict[str, Any] = field(default_factory=dict)  # `result.json` of the run that made them

    def __repr__(self) -> str:
        return f"WordVectors({len(self.words):,} words, {self.matrix.shape[1]} numbers each)"

    def __contains__(self, word: str) -> bool:
        return word in self.numbers

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Words to their rows."""
        return {word: n for n, word in enumerate(self.words)}

    @cached_property
    def units(self) -> Array:
        """[V, D] the vectors, each of length 1."""
        return unit(self.matrix)

    def get(self, word: str) -> Array | None:
        """A word's vector [D]: its own or that of its n-grams; none if it has neither."""
        if word in self.numbers:
            return self.matrix[self.numbers[word]]
        return self.ngrams.of(word) if self.ngrams else None

    def vector(self, word: str) -> Array:
        """A word's vector [D]. Raises `UserError` where it has none."""
        if (found := self.get(word)) is None:
            raise UserError(f"{word!r}: has no vector; it was not in the text, or too seldom")
        return found

    def similarity(self, a: str, b: str) -> float:
        """The cosine of two words' vectors. Raises `UserError` where one has none."""
        return float(unit(self.vector(a)) @ unit(self.vector(b)))

    def nearest(self, word: str, k: int = 10) -> list[tuple[str, float]]:
        """The k words whose vectors point most nearly the same way, with their cosines.

        Raises:
            UserError: the word has no vector.
        """
        if k < 1:
            raise UserError(f"k {k}: at least one word can be told")
        cosines = self.units @ unit(self.vector(word))
        if word in self.numbers:
            cosines[self.numbers[word]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(k, len(self.words) - (word in self.numbers))]
        return [(self.words[n], float(cosines[n])) for n in best]

    def analogies(self, questions: Array) -> Array:
        """To each question a : b, c : ? [Q, 3] of words' numbers, the answer's number [Q], none of the three words."""
        a, b, c = (self.units[column] for column in questions.T)
        cosines = (b - a + c) @ self.units.T
        np.put_along_axis(cosines, questions, -np.inf, 1)
        return cosines.argmax(1)

    def save(self, folder: Path) -> None:
        """Write ``ngrams.safetensors``, where there are some, and last ``vectors.txt`` in word2vec's text format."""
        from safetensors.numpy import save

        if self.ngrams:
            arrays = {"vectors": np.ascontiguousarray(self.ngrams.rows, np.float32), "buckets": self.ngrams.ids}
            about = {name: str(getattr(self.ngrams, name)) for name in _SETTINGS}
            replace_file(folder / NGRAMS, save(arrays, about))
        replace_file(folder / FILE, written(self.words, self.matrix))

    @classmethod
    def open(cls, folder: str | Path) -> WordVectors:
        """What `save` wrote. Raises `UserError` where a file is missing or not what it should be."""
        folder = Path(folder)
        if not (folder / FILE).is_file():
            raise UserError(f"{folder}: holds no word vectors (no {FILE}); `unmask vectors` makes some")
        return cls(*read(folder / FILE), _read_ngrams(folder / NGRAMS) if (folder / NGRAMS).exists() else None)


def unit(vectors: Array) -> Array:
    """Vectors […, D] with length 1; one of zeros stays so."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def written(words: Sequence[str], matrix: Array) -> bytes:
    """word2vec's text format: a line that counts both, then a word and its numbers a line. Nine digits hold float32."""
    row = " ".join(["%.9g"] * matrix.shape[1])
    lines = [f"{word} {row % tuple(numbers)}\n" for word, numbers in zip(words, matrix.tolist(), strict=True)]
    return "".join([f"{len(words)} {matrix.shape[1]}\n", *lines]).encode()


def read(path: Path) -> tuple[list[str], Array]:
    """Words [V] and vectors [V, D] of such a file. Raises `UserError`, which names the line that is none of it."""
    first, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    try:
        count, size = map(int, first.split())
    except ValueError:
        raise UserError(f"{path}:1: {first[:40]!r}: must be two numbers, of words and of numbers in a vector") from None
    if len(lines) != count:
        raise UserError(f"{path}: has {len(lines):,} words and should have {count:,}; learn the vectors again")
    matrix, words = np.empty((count, size), np.float32), []
    for n, line in enumerate(lines):
        word, *numbers = line.split(" ")
        try:
            matrix[n] = _exactly(size, numbers)
            if not np.isfinite(matrix[n]).all():
                raise ValueError
        except ValueError:
            raise UserError(f"{path}:{n + 2}: {line[:40]!r}: must be a word and {size} numbers") from None
        words.append(word)
    return words, matrix


def _exactly(size: int, numbers: list[str]) -> list[str]:
    if len(numbers) != size:
        raise ValueError  # numpy would take one number for all of them
    return numbers


def _read_ngrams(path: Path) -> Ngrams:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            settings = {name: int(file.metadata()[name]) for name in _SETTINGS}
            return Ngrams(**settings, ids=file.get_tensor("buckets"), rows=file.get_tensor("vectors"))
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a whole file of n-grams ({error}); learn the vectors again") from None


def in_chunks(count: int, size: int) -> Sequence[slice]:
    """Slices of so many rows."""
    return [slice(start, start + size) for start in range(0, count, size)]
