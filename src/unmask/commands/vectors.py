"""Learn a vector for each word of a corpus: the baseline before context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from unmask.config import Config, choice

if TYPE_CHECKING:
    from unmask.static.methods.base import Method
    from unmask.static.vectors import WordVectors

Methods = choice("Methods", "unmask.static.methods")


class Vectors(Config):
    """Learn a vector for each word of a corpus: the baseline before context.

    Repeating the command with other files to score by scores what was learned; ``overwrite`` learns anew.
    """

    positional: ClassVar[tuple[str, ...]] = ("corpus",)

    corpus: Path = Field(description="A folder that `unmask prepare` made")
    method: Methods = Field("word2vec", description="How they are learned")  # type: ignore[valid-type]
    out: Path = Field(description="The folder of the vectors")
    similarity: tuple[Path, ...] = Field(
        (), description="Word pairs with people's scores, to compare by rank; files, or folders of .txt files"
    )
    analogies: tuple[Path, ...] = Field(
        (), description="Questions of four words (the Google set's form); files, or folders of .txt files"
    )
    seed: int = Field(1, ge=0, lt=2**32, description="Decides first values, order and what is drawn")
    workers: int = Field(1, ge=1, description="Threads that gensim learns in; with more than one the seed decides less")
    overwrite: bool = Field(False, description="Delete the vectors that are in the folder and learn anew")

    def run(self) -> WordVectors:
        """Learn, score, write a page. Returns the vectors; their ``result`` holds the figures."""
        from unmask.runs.vectors import vectors

        return vectors(self)

    @property
    def chosen(self) -> tuple[str, Method]:
        """The method, by its name."""
        return next(iter(self.method.chosen.items()))  # type: ignore[attr-defined]
