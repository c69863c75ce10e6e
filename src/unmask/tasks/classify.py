"""One label of a text or of two texts, or any number of labels (Devlin 2018, 1810.04805, §4.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator

from unmask.errors import UserError, found, is_text
from unmask.tasks import _columns, _marks
from unmask.tasks.base import HEAD, Encoded, Prediction, Rows, Task, in_order, sigmoid, softmax
from unmask.text.example import Array, Example, Targets
from unmask.text.sampling import inputs
from unmask.text.sampling.batches import Dataset
from unmask.text.sources import tables

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.losses import Loss
    from unmask.nn.network import Network
    from unmask.text.sources.tables import Table
    from unmask.text.tokens.tokenizer import Tokenizer


class Classify(Task):
    """Say which label, or which labels, a text or a pair of texts has.

    The head is the family's: BERT's dense and tanh, or ModernBERT's dense, GELU and norm; then a choice. It reads the
    first token's state, or all tokens' states pooled.
    """

    architecture: ClassVar[str] = "SequenceClassification"

    text: str | None = Field(
        None,
        description="Column of the text, by name or number; by default one called text, sentence, text_a, …",
    )
    text_pair: str | None = Field(
        None,
        description="Column of the second text; by default one called text_b, sentence2, hypothesis, …, if any",
    )
    label: str | None = Field(
        None,
        description="Column of the label; by default one called label, class, …, or the one with fewest values",
    )
    header: bool | None = Field(
        None, description="Whether the first line names the columns; by default if it holds a known name"
    )
    quotes: bool | None = Field(
        None, description="Whether quotation marks enclose cells; by default only where commas separate"
    )
    encoding: str = Field("utf-8", description="Encoding of the files")
    multi_label: str | None = Field(
        None,
        min_length=1,
        description="What separates labels where any number of them holds; by default one holds",
    )
    pool: Literal["cls", "last", "mean", "max", "attention"] | None = Field(
        None,
        description="What is classified: the first or last token's state, or the mean, largest or weighted states of "
        "all; by default the first's, the last's where tokens see only what comes before them, and the mean of an "
        "elmo's and of vectors of words",
    )
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = Field(
        "none",
        description="Weights of the labels in the loss: none, balanced (rare ones count more), or 1,2.5,…",
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) and value not in ("none", "balanced") else value

    @property
    def main_score(self) -> str:
        """Accuracy; F1 where several labels may hold."""
        return "macro_f1" if self.multi_label else "accuracy"

    @property
    def reads_all(self) -> bool:
        """Whether the head pools all states."""
        return self.pool in ("mean", "max", "attention")

    @property
    def fits(self) -> str:
        """A text, or two."""
        return "a text" if self.text_pair is None else "two texts"

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The family's classifier, with the shape's own dropout."""
        from unmask.nn.task_heads import classifier

        return {HEAD: classifier(shape, len(self.labels), self.pool or "cls")}

    def suited(self, shape: Shape, length: int) -> Self:
        """What is classified is settled too."""
        if self.pool == "cls" and shape.causal:
            raise UserError("--task.pool cls: the model's first token sees only itself; last or mean would fit")
        if self.pool in ("cls", "last") and not shape.layers:
            raise UserError(f"--task.pool {self.pool}: vectors of tokens know nothing of their text; mean would fit")
        usual = "mean" if shape.flow == "elmo" or not shape.layers else "last" if shape.causal else "cls"
        pool = self.pool or usual
        return super().suited(shape, length).model_copy(update={"pool": pool})

    def model(self, shape: Shape) -> Shape:
        """A longformer's first token sees all of the text where its state is classified, as in Hugging Face."""
        blind = shape.family == "longformer" and self.pool == "cls" and shape.global_tokens == "none"
        return shape.model_copy(update={"global_tokens": "first"}) if blind else shape

    def logits(self, net: Network, batch: Batch) -> Tensor:
        """[N, C]: of the first or last tokens, or of all tokens together."""
        if not self.reads_all:
            return net.logits(batch, HEAD)
        found: Tensor = net.heads[HEAD].over(net.states(batch), batch.streams["encoder"].layout)  # type: ignore[operator]
        return found

    def loss_of(self, logits: Tensor, labels: Tensor) -> Loss:
        """Cross-entropy, or its binary kind where several labels may hold; weighted if asked for."""
        import torch

        from unmask.nn.losses import cross_entropy

        numbers = self.class_weights
        weights = torch.tensor(numbers, device=logits.device) if isinstance(numbers, tuple) else None
        return cross_entropy(logits, labels, weights)

    def fit(self, path: Path) -> tuple[Self, Rows]:
        """Read the training file; settle columns, labels and weights."""
        table = self._table(path, lambda first, rows: _columns.looks_a_header(first, rows, self.text, self.label))
        chosen = _columns.choose(table, self.text, self.text_pair, self.label)
        if self.header is None:
            _columns.refuse_header_as_row(table, chosen.label)
        columns = {"text": chosen.text, "text_pair": chosen.text_pair, "label": chosen.label}
        settled = self.model_copy(update=columns)
        rows = settled._rows(table, labelled=True)
        assert rows.labels is not None
        fitted = settled.settle(in_order(label for labels in rows.labels for label in labels), rows)
        return fitted.model_copy(update={"class_weights": fitted._weights(rows)}), rows

    def read(self, path: Path, labelled: bool = True) -> Rows:
        """Rows of a table; a file of one column holds texts."""
        rows = self._rows(self._table(path, lambda first, _: self._settled.text in first), labelled)
        self.check(rows)
        return rows

    def rows(self, inputs: Sequence[Any]) -> Rows:
        """Texts, or pairs of texts."""
        texts = [tuple(value) if isinstance(value, list | tuple) else (value,) for value in inputs]
        wanted = 1 if self.text_pair is None else 2
        for n, row in enumerate(texts):
            if len(row) != wanted or not all(is_text(text) and text.strip() for text in row):
                raise UserError(f"row {n + 1}: must be {self.fits}, not empty; found {found(inputs[n])}")
        return Rows("rows", texts, None, list(range(1, len(texts) + 1)))

    def encode(self, rows: Rows, tokenizer: Tokenizer) -> Encoded:
        """One sequence a row, the answer wanted at its first token; what is too long is cut at the end, and counted."""
        assert self.length is not None
        columns = zip(*rows.texts, strict=True)
        texts = [inputs.Laid(*tokenizer.encode_flat(column, specials=False)) for column in columns]
        stream, cut = inputs.lay(texts, tokenizer, self.length)
        read = stream.starts + (stream.lengths - 1 if self.pool == "last" else 0)
        targets = Targets(read, self._targets(rows))
        facts = {
            "rows": len(rows),
            "tokens": len(stream.tokens),
            "unknown_tokens": int((stream.tokens == tokenizer.unk).sum()),
            "cut_rows": int((cut > 0).sum()),
            "cut_tokens": int(cut.sum()),
        }
        data = Dataset(Example({"encoder": stream}, {HEAD: targets}))
        return Encoded(data, np.arange(len(rows)), np.zeros(len(rows), np.int64), cut, facts)

    def predictions(self, logits: Array, encoded: Encoded, rows: Rows) -> list[Prediction]:
        """The likeliest label, or all labels likelier than not."""
        chances = sigmoid(logits) if self.multi_label else softmax(logits)
        chosen = chances > 0.5 if self.multi_label else chances == chances.max(-1, keepdims=True)
        found = []
        for row, picked in zip(chances.tolist(), chosen, strict=True):
            places = np.flatnonzero(picked) if self.multi_label else np.flatnonzero(picked)[:1]
            labels = tuple(self.labels[place] for place in places)
            every = dict(zip(self.labels, row, strict=True))
            found.append(Prediction(labels, tuple(row[place] for place in places), every))
        return found

    def scores(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """Accuracy (all labels of a row right), macro-averaged F1, and Matthews' correlation or micro-averaged F1."""
        from sklearn import metrics

        truth, said = self._truth_and_said(predictions, rows)
        numbers = list(range(len(self.labels)))
        scores = {"accuracy": metrics.accuracy_score(truth, said)}
        average = {"labels": numbers, "zero_division": 0.0}
        scores["macro_f1"] = metrics.f1_score(truth, said, average="macro", **average)
        if self.multi_label:
            scores["micro_f1"] = metrics.f1_score(truth, said, average="micro", **average)
        else:
            scores["matthews"] = metrics.matthews_corrcoef(truth, said)
        return {name: float(score) for name, score in scores.items()}

    def details(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Any]:
        """Precision, recall and F1 of each label, and which label was taken for which."""
        truth, said = self._truth_and_said(predictions, rows)
        found = _marks.of_labels(truth, said, self.labels)
        return found if self.multi_label else {**found, **_marks.confusion(truth, said, self.labels)}

    def sample_of(self, texts: tuple[str, ...]) -> dict[str, Any]:
        """Its text, or both."""
        return {"text": texts[0] if len(texts) == 1 else list(texts)}

    def described(self) -> dict[str, Any]:
        """What Hugging Face's ``config.json`` says of it."""
        kind = "multi_label_classification" if self.multi_label else "single_label_classification"
        return {**super().described(), "problem_type": kind, "classifier_pooling": self.pool or "cls"}

    @property
    def _settled(self) -> _columns.Columns:
        assert self.text is not None and self.label is not None  # by fit
        return _columns.Columns(self.text, self.text_pair, self.label)

    def _table(self, path: Path, is_header: Callable[[list[str], list[tables.Row]], bool]) -> Table:
        header = is_header if self.header is None else self.header
        return tables.read(path, header, self.quotes, self.encoding)

    def _rows(self, table: Table, labelled: bool) -> Rows:
        wanted = [name for name in (self._settled.text, self.text_pair) if name]
        if table.width == 1 and len(wanted) == 1 and not labelled:
            places = [0]
        else:
            places = [table.column(name, "--task.text") for name in wanted]
        texts = [tuple(text_of_row(table, n, at) for at in places) for n in range(len(table.rows))]
        labels = None
        if labelled:
            at = table.column(self._settled.label, "--task.label")
            labels = [self._labels(table, n, row[at]) for n, row in enumerate(table.rows)]
        facts = {
            "columns": f"{' and '.join(wanted)} -> {self.label}",
            "header": table.names is not None,
            "blank_lines": table.blank,
        }
        return Rows(str(table.path), texts, labels, table.places, facts)

    def _labels(self, table: Table, n: int, cell: Any) -> tuple[str, ...]:
        if self.multi_label:
            parts = cell if isinstance(cell, list) else tables.text_of(cell).split(self.multi_label)
            found = [tables.text_of(part).strip() for part in parts]
            return tuple(dict.fromkeys(label for label in found if label))
        if isinstance(cell, list | dict):
            raise UserError(f"{table.where(n)}: holds several labels, {cell!r}; use --task.multi-label ,")
        if not (label := tables.text_of(cell).strip()):
            raise UserError(f"{table.where(n)}: the label is missing (column {self.label})")
        return (label,)

    def _weights(self, rows: Rows) -> Any:
        """Weights as numbers; balanced ones as in scikit-learn, or none : some where several labels may hold."""
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != len(self.labels):
            raise UserError(
                f"--task.class-weights: has {len(self.class_weights)} weights for {len(self.labels)} labels "
                f"({', '.join(self.labels)})"
            )
        if self.class_weights != "balanced":
            return self.class_weights
        targets = self._targets(rows)
        counts = targets.sum(0) if self.multi_label else np.bincount(targets, minlength=len(self.labels))
        if not counts.all():
            label = self.labels[int(counts.argmin())]
            raise UserError(f"--task.class-weights balanced: no row of {rows.name} has the label {label!r}")
        weights = (len(rows) - counts) / counts if self.multi_label else len(rows) / (len(counts) * counts)
        return tuple(weights.tolist())

    def _targets(self, rows: Rows) -> Array:
        """[N] numbers of the labels, or [N, C] floats where several may hold."""
        shape = (len(rows), len(self.labels)) if self.multi_label else (len(rows),)
        targets = np.zeros(shape, np.float32 if self.multi_label else np.int64)
        numbers = self.numbers()
        for n, labels in enumerate(rows.labels or []):
            for label in labels:
                if self.multi_label:
                    targets[n, numbers[label]] = 1
                else:
                    targets[n] = numbers[label]
        return targets

    def _truth_and_said(self, predictions: Sequence[Prediction], rows: Rows) -> tuple[Array, Array]:
        said = Rows(rows.name, rows.texts, [prediction.labels for prediction in predictions], rows.places)
        return self._targets(rows), self._targets(said)


def text_of_row(table: Table, n: int, at: int) -> str:
    """A text that is there."""
    text = tables.text_of(table.rows[n][at])
    if not text.strip():
        name = table.names[at] if table.names else at + 1
        raise UserError(f"{table.where(n)}: the text is missing (column {name})")
    return text
