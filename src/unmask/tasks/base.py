"""What a task adds to an objective: a reader of labelled rows, and scores. N sequences, M answers, C labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from unmask.errors import UserError
from unmask.objectives.base import Objective
from unmask.text.example import Array
from unmask.text.sampling.batches import Dataset

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.losses import Loss
    from unmask.nn.network import Network
    from unmask.text.tokens.tokenizer import Tokenizer

HEAD = "task"
LONGEST_LIST = 12  # labels named in a message


@dataclass(frozen=True)
class Rows:
    """Rows of a file, or of a Python list: what is read, and what people said of it."""

    name: str  # of the file
    texts: list[tuple[str, ...]]  # of each row: its text, its two texts, or its words
    labels: list[tuple[str, ...]] | None  # of each row: one, any number, or one per word; None where there are none
    places: list[int]  # line, or row of a parquet file, from 1
    facts: dict[str, Any] = field(default_factory=dict)  # what was found while reading

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Encoded:
    """Rows as tokens."""

    data: Dataset  # N sequences with M answers
    rows: Array  # [M] the row each answer belongs to
    words: Array  # [M] the word in that row; 0 where the row as a whole is labelled
    cut: Array  # [R] tokens of each row that were cut off
    facts: dict[str, int]  # rows, tokens, and what was cut


@dataclass(frozen=True)
class Prediction:
    """What a model says of one row."""

    labels: tuple[str, ...]  # one, any number, or one per word
    probabilities: tuple[float, ...]  # of each of these
    every: dict[str, float] = field(default_factory=dict)  # of every label, where the row as a whole is labelled
    cut: int = 0  # tokens of the row that the model did not see


class Task(Objective):
    """An objective whose answers people gave."""

    flows: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "gru", "xlnet", "transformer_xl", "elmo")
    architecture: ClassVar[
        str | None
    ]  # what Hugging Face calls a model of it: {family}For{architecture}; None: no name

    labels: tuple[str, ...] = Field((), description="The labels; by default those of the training file")
    length: int | None = Field(
        None, ge=8, description="Most tokens of a sequence; by default as many as the base was trained with"
    )

    @property
    @abstractmethod
    def main_score(self) -> str:
        """The score that decides which checkpoint is best; the higher the better."""

    @property
    def reads_all(self) -> bool:
        """Whether the head reads every token's state, not only those where it answers."""
        return False

    @property
    @abstractmethod
    def fits(self) -> str:
        """What a row of Python values is, in words."""

    @abstractmethod
    def fit(self, path: Path) -> tuple[Self, Rows]:
        """Read the training file, and settle what it decides: labels, columns, weights."""

    @abstractmethod
    def read(self, path: Path, labelled: bool = True) -> Rows:
        """Rows of a file.

        Raises:
            UserError: names the file and row of what is missing, or of a label that training lacks.
        """

    @abstractmethod
    def rows(self, inputs: Sequence[Any]) -> Rows:
        """Rows of Python values, without labels. Raises `UserError` naming the first row that is none."""

    @abstractmethod
    def encode(self, rows: Rows, tokenizer: Tokenizer) -> Encoded:
        """Rows as tokens with answers; the answers are 0 where there are no labels."""

    @abstractmethod
    def predictions(self, logits: Array, encoded: Encoded, rows: Rows) -> list[Prediction]:
        """What logits [M, C] say of each row."""

    @abstractmethod
    def scores(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """How well predictions agree with what people said."""

    @abstractmethod
    def details(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Any]:
        """``labels`` and ``confusion`` as `unmask.report` wants them."""

    @abstractmethod
    def sample_of(self, texts: tuple[str, ...]) -> dict[str, Any]:
        """How a row is shown: its ``text`` or its ``words``."""

    def shown(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Those of a row's labels that are shown beside it."""
        return labels

    def answers(self) -> tuple[str, ...]:
        """The one head of a task."""
        return (HEAD,)

    def logits(self, net: Network, batch: Batch) -> Tensor:
        """What the head says of a batch [M, C]."""
        return net.logits(batch, HEAD)

    def loss(self, net: Network, batch: Batch) -> dict[str, Loss]:
        """The loss of what the head says."""
        return {HEAD: self.loss_of(self.logits(net, batch), batch.targets[HEAD].labels)}

    def loss_of(self, logits: Tensor, labels: Tensor) -> Loss:
        """Cross-entropy, or its binary kind where several labels may hold."""
        from unmask.nn.losses import cross_entropy

        return cross_entropy(logits, labels)

    def suited(self, shape: Shape, length: int) -> Self:
        """The same task with all settled that the base decides, its shape and its usual length."""
        if shape.flow not in self.flows:
            raise UserError(f"model: a task cannot be asked of an {shape.flow.replace('_', '-')}; an encoder would fit")
        return self.model_copy(update={"length": self.length or length})

    def settle(self, found: Sequence[str], rows: Rows) -> Self:
        """The same task with its labels: those given, or those found in the training file."""
        if not self.labels and len(found) < 2:
            raise UserError(f"{rows.name}: its only label is {found[0]!r}; at least two are needed to tell apart")
        fitted = self.model_copy(update={"labels": self.labels or tuple(found)})
        fitted.check(rows)
        return fitted

    def check(self, rows: Rows) -> None:
        """Refuse rows with labels that are not among the task's."""
        known = set(self.labels)
        for n, labels in enumerate(rows.labels or []):
            for word, label in enumerate(labels):
                if label not in known:
                    place = f"{rows.name}:{rows.places[n] + self.line_of(word)}"
                    raise UserError(f"{place}: label {label!r} is not among those of training: {listed(self.labels)}")

    def line_of(self, word: int) -> int:
        """How many lines below its row's place a label stands."""
        return 0

    def described(self) -> dict[str, Any]:
        """What Hugging Face's ``config.json`` says of it."""
        return {"id2label": dict(enumerate(self.labels)), "label2id": self.numbers()}

    def numbers(self) -> dict[str, int]:
        """Labels to their numbers."""
        return {label: n for n, label in enumerate(self.labels)}


def listed(labels: Sequence[str]) -> str:
    """Labels in a message, not too many."""
    more = len(labels) - LONGEST_LIST
    return ", ".join(labels[:LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")


def in_order(labels: Iterable[str]) -> list[str]:
    """Different labels, numbers by value, anything else by alphabet."""
    found = set(labels)
    try:
        return sorted(found, key=lambda label: (float(label), label))
    except ValueError:
        return sorted(found)


def softmax(logits: Array) -> Array:
    """[M, C] to probabilities [M, C]."""
    scores = np.exp(logits - logits.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def sigmoid(logits: Array) -> Array:
    """Each logit to the probability that its label holds."""
    # of -|x|, so that nothing overflows
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)
