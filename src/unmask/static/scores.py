"""How well vectors agree with people: similarity of words, and analogies. Q questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.static.vectors import WordVectors, in_chunks

AT_ONCE = 512  # questions asked together


@dataclass(frozen=True)
class Similarity:
    """Scores of one file of pairs."""

    spearman: float | None  # rank correlation with people's scores; none where fewer than two pairs have vectors
    pairs: int  # in the file
    scored: int  # those whose words both have vectors
    from_ngrams: int  # of these those with a word that was never seen, and has a vector from its letters
    unknown: list[str]  # words without vectors


@dataclass
class Section:
    """Scores of one section of a file of analogies."""

    right: int = 0
    asked: int = 0  # questions whose four words all have vectors of their own
    unknown: int = 0  # the others

    @property
    def accuracy(self) -> float | None:
        """The share of what was asked; none where nothing was."""
        return self.right / self.asked if self.asked else None


@dataclass(frozen=True)
class Analogies:
    """Scores of one file of analogies, section by section."""

    sections: dict[str, Section] = field(default_factory=dict)

    @property
    def total(self) -> Section:
        """All sections together."""
        rows = self.sections.values()
        return Section(sum(s.right for s in rows), sum(s.asked for s in rows), sum(s.unknown for s in rows))

    def told(self) -> dict[str, Any]:
        """As ``result.json`` has it."""
        rows = {"total": self.total, **self.sections}
        return {name: {"accuracy": section.accuracy, **asdict(section)} for name, section in rows.items()}


def similarity(vectors: WordVectors, path: Path) -> Similarity:
    """Cosines of word pairs beside what people said, by Spearman's rank correlation."""
    from scipy.stats import spearmanr

    rows = [(spelled(vectors, a), spelled(vectors, b), score) for a, b, score in read_pairs(path)]
    unknown = dict.fromkeys(word for a, b, _ in rows for word in (a, b) if vectors.get(word) is None)
    known = [row for row in rows if row[0] not in unknown and row[1] not in unknown]
    unseen = sum(a not in vectors or b not in vectors for a, b, _ in known)
    cosines = [vectors.similarity(a, b) for a, b, _ in known]
    found = float(spearmanr(cosines, [score for _, _, score in known]).statistic) if len(known) > 1 else None
    return Similarity(found, len(rows), len(known), unseen, list(unknown))


def analogies(vectors: WordVectors, path: Path) -> Analogies:
    """Questions a : b, c : d, answered by the word nearest to b - a + c among all others (Mikolov 2013, 1301.3781)."""
    found = Analogies()
    for name, questions in read_analogies(path).items():
        words = [[vectors.numbers.get(spelled(vectors, word)) for word in question] for question in questions]
        known = np.array([row for row in words if None not in row], np.int64).reshape(-1, 4)
        right = sum(
            int((vectors.analogies(known[part, :3]) == known[part, 3]).sum()) for part in in_chunks(len(known), AT_ONCE)
        )
        found.sections[name] = Section(right, len(known), len(words) - len(known))
    return found


def spelled(vectors: WordVectors, word: str) -> str:
    """A word as it was learned: as it stands, or else in small letters."""
    return word if word in vectors else word.lower()


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Lines of two words and a score. Raises `UserError`, which names the first that is something else."""
    found = []
    for number, line in _lines(path):
        parts = line.split("\t") if "\t" in line else line.replace(",", " ").replace(";", " ").split()
        try:
            a, b, score = (part.strip() for part in parts)
            found.append((a, b, float(score)))
        except ValueError:
            raise UserError(f"{path}:{number}: {line[:40]!r}: must be two words and a score") from None
    if not found:
        raise UserError(f"{path}: holds no pairs; a line is two words and a score")
    return found


def read_analogies(path: Path) -> dict[str, list[list[str]]]:
    """Lines of four words by section, whose name follows a colon. Raises `UserError`, which names a wrong line."""
    found: dict[str, list[list[str]]] = {}
    section = path.stem
    for number, line in _lines(path):
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(words := line.split()) == 4:
            found.setdefault(section, []).append(words)
        else:
            raise UserError(f"{path}:{number}: {line[:40]!r}: must be four words, or a colon and a section's name")
    if not found:
        raise UserError(f"{path}: holds no questions; a line is four words")
    return found


def files(given: Sequence[Path]) -> list[Path]:
    """Files, and of folders those that end in .txt. Raises `UserError` where there is nothing."""
    found = [file for path in given for file in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]
    for path in given:
        if not path.exists() or (path.is_dir() and not any(path.glob("*.txt"))):
            raise UserError(f"{path}: {'holds no .txt files' if path.is_dir() else 'does not exist'}")
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
