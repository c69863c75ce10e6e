"""What every way of learning word vectors has: its settings, and one verb."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from pydantic import Field

from unmask.config import Config
from unmask.errors import UserError
from unmask.static.vectors import WordVectors

Sentences = Iterable[list[str]]
"Sentences of words that can be read as often as one likes."

Told = Callable[[int, float | None], None]
"Is told how many passes are done, and the loss of the last one if there is one."


@dataclass(frozen=True)
class Learned:
    """What a method made of a text."""

    vectors: WordVectors
    losses: list[float] = field(default_factory=list)  # by pass, where the method has one


class Method(Config):
    """A way to learn a vector for each word from the words that stand near it."""

    size: int = Field(100, ge=1, description="Numbers in a vector")
    window: int = Field(5, ge=1, description="Words to either side that are near")
    min_count: int = Field(5, ge=1, description="A word that occurs less often gets no vector")
    epochs: int = Field(5, ge=1, description="Passes over what is learned from")

    def ready(self) -> None:
        """Refuse, with a `UserError`, where something is missing that this cannot do without."""

    def learn(self, sentences: Sentences, seed: int, workers: int, told: Told) -> Learned:
        """Vectors of the words that occur often enough. One worker: the seed decides them.

        Raises:
            UserError: no word does.
        """
        raise NotImplementedError

    def no_words(self) -> UserError:
        """What to raise where no word is left."""
        return UserError(f"--method.min-count {self.min_count}: no word of the text occurs so often; a lower one fits")


class Gensim(Method):
    """A method that gensim has (Řehůřek 2010)."""

    negative: int = Field(5, ge=1, description="Words drawn at random that each true one is told from")
    sample: float = Field(1e-3, ge=0, description="Words of a larger share than this are skipped now and then; 0: none")

    def ready(self) -> None:
        """Gensim is an extra."""
        if find_spec("gensim") is None:
            name = type(self).__name__.lower()
            raise UserError(f"--method {name}: needs gensim; pip install 'unmask[vectors]', or --method glove")

    def train(self, model: Callable[..., Any], sentences: Sentences, told: Told, **settings: Any) -> Any:
        """A model of gensim's, trained."""
        from gensim.models.callbacks import CallbackAny2Vec

        class Count(CallbackAny2Vec):  # type: ignore[misc]
            done = 0

            def on_epoch_end(self, model: Any) -> None:
                self.done += 1
                told(self.done, None)

        made = model(
            vector_size=self.size, window=self.window, min_count=self.min_count, negative=self.negative,
            sample=self.sample, epochs=self.epochs, **settings,
        )  # fmt: skip
        made.build_vocab(sentences)
        if not len(made.wv):
            raise self.no_words()
        made.train(
            sentences, total_examples=made.corpus_count, epochs=made.epochs, start_alpha=made.alpha,
            end_alpha=made.min_alpha, callbacks=[Count()],
        )  # fmt: skip
        return made
