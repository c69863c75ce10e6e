"""A label for every node of given trees (Socher 2013, EMNLP; Tai 2015, 1503.00075). K nodes of all trees, N trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from unmask.errors import UserError, found, is_text
from unmask.tasks import _marks
from unmask.tasks.base import HEAD, Encoded, Prediction, Rows, Task, in_order, softmax
from unmask.text.example import Array, Example, Targets
from unmask.text.sampling import inputs
from unmask.text.sampling.batches import Dataset
from unmask.text.sources import trees
from unmask.text.sources.trees import Tree

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.network import Network
    from unmask.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class TreeRows(Rows):
    """Rows that are trees: a row's text is its sentence, its labels those of its nodes, the root's first."""

    trees: tuple[Tree, ...] = ()


class LabelTrees(Task):
    """Say for each node of a tree which label it has, from what composes the vectors of its words.

    A node's vector is composed by a Tree-LSTM, up the tree; beside it stand two that do not look at the tree, to tell
    what it is worth: an LSTM over the node's words from the left, and their mean. All nodes are learned from; the state
    that labels roots best is kept.
    """

    architecture: ClassVar[None] = None

    composition: Literal["child_sum", "binary", "lstm", "mean"] = Field(
        "binary",
        description="What makes a node of its words: binary, a Tree-LSTM that tells left from right; child_sum, one "
        "that sums any number of children; lstm, from the left; mean, in no order, "
        "through dense and tanh (Iyyer 2015)",
    )
    reads: Literal["states", "embeddings"] = Field(
        "states", description="What a word's vector is: the mean of its tokens' last states, or of their embeddings"
    )
    memory: int = Field(150, ge=1, le=4096, description="Width of a node's state (Tai 2015, table 1)")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout of a node's state before its label (Tai 2015, §5.3)")
    encoding: str = Field("utf-8", description="Encoding of the files")

    @property
    def main_score(self) -> str:
        """Accuracy at the roots."""
        return "accuracy"

    @property
    def reads_all(self) -> bool:
        """A node is made of all its words."""
        return True

    @property
    def fits(self) -> str:
        """A tree in brackets."""
        return f"{trees.FITS}, with labels or without"

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """What composes, and a choice."""
        from unmask.models.tree_lstm import NodeHead

        return {HEAD: NodeHead(shape, len(self.labels), self.composition, self.memory, self.dropout)}

    def model(self, shape: Shape) -> Shape:
        """The embeddings are a model without layers."""
        return shape.static if self.reads == "embeddings" else shape

    def logits(self, net: Network, batch: Batch) -> Tensor:
        """[K, C] of all nodes."""
        head: Any = net.heads[HEAD]
        logits: Tensor = head.over_nodes(net.states(batch), batch.targets[HEAD].index)
        return logits

    def fit(self, path: Path) -> tuple[Self, Rows]:
        """Read the training file; settle the labels."""
        rows = self._rows(trees.read(path, encoding=self.encoding), labelled=True)
        assert rows.labels is not None
        return self.settle(in_order(label for labels in rows.labels for label in labels), rows), rows

    def read(self, path: Path, labelled: bool = True) -> Rows:
        """The trees of a file; where labels are not needed, whatever stands for them is not looked at."""
        rows = self._rows(trees.read(path, labelled, self.encoding), labelled)
        self.check(rows)
        return rows

    def rows(self, inputs: Sequence[Any]) -> Rows:
        """Trees in brackets."""
        for n, text in enumerate(inputs):
            if not is_text(text) or not text.strip():
                raise UserError(f"row {n + 1}: must be {self.fits}; found {found(text)}")
        made = [trees.parse(text, f"row {n}", labelled=False) for n, text in enumerate(inputs, 1)]
        read = trees.Trees(Path("rows"), made, list(range(1, len(made) + 1)), 0)
        return self._rows(read, labelled=False)

    def encode(self, rows: Rows, tokenizer: Tokenizer) -> Encoded:
        """One sequence a tree; an answer is read off the first and the last token of a node, the root's first."""
        assert isinstance(rows, TreeRows)
        pieces = tokenizer.encode_words([tree.plain for tree in rows.trees])
        counts = np.array([len(tree.ids) for tree in pieces])
        self._refuse_long(rows, counts)
        laid = inputs.Laid(np.concatenate([tree.ids for tree in pieces]), counts)
        stream, cut = inputs.lay([laid], tokenizer, int(counts.max()) + 2)
        spans = []
        for tree, said, start in zip(rows.trees, pieces, stream.starts, strict=True):
            edges = np.append(np.flatnonzero(said.word_starts), len(said.ids)) + start + 1
            first, last = np.array(tree.spans).T
            spans.append(np.stack([edges[first], edges[last + 1] - 1], 1))
        nodes = np.array([len(tree.labels) for tree in rows.trees])
        facts = {
            "rows": len(rows),
            "tokens": len(stream.tokens),
            "nodes": int(nodes.sum()),
            "unknown_tokens": int((stream.tokens == tokenizer.unk).sum()),
        }
        targets = Targets(np.concatenate(spans), self._targets(rows))
        data = Dataset(Example({"encoder": stream}, {HEAD: targets}))
        owners = np.repeat(np.arange(len(rows)), nodes)
        return Encoded(data, owners, np.arange(len(owners)) - (np.cumsum(nodes) - nodes)[owners], cut, facts)

    def predictions(self, logits: Array, encoded: Encoded, rows: Rows) -> list[Prediction]:
        """The likeliest label of each node; of the root what every label is given."""
        chances = softmax(logits)
        best = chances.argmax(-1)
        edges = np.searchsorted(encoded.rows, np.arange(len(rows) + 1))
        made = []
        for begin, end in pairwise(edges):
            own = best[begin:end]
            labels = tuple(self.labels[n] for n in own)
            sure = chances[np.arange(begin, end), own]
            every = dict(zip(self.labels, chances[begin].tolist(), strict=True))
            made.append(Prediction(labels, tuple(sure.tolist()), every))
        return made

    def scores(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """Accuracy and macro-averaged F1 at the roots, and accuracy over all nodes."""
        from sklearn import metrics

        truth, said = self._truth_and_said(predictions, rows)
        roots = self._roots(rows)
        macro = metrics.f1_score(
            truth[roots], said[roots], labels=list(range(len(self.labels))), average="macro", zero_division=0.0
        )
        right = truth == said
        return {
            "accuracy": float(right[roots].mean()), "macro_f1": float(macro), "node_accuracy": float(right.mean())
        }  # fmt: skip

    def details(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Any]:
        """Of roots: precision, recall and F1 of each label, and which was taken for which."""
        truth, said = (all_nodes[self._roots(rows)] for all_nodes in self._truth_and_said(predictions, rows))
        return {**_marks.of_labels(truth, said, self.labels), **_marks.confusion(truth, said, self.labels)}

    def sample_of(self, texts: tuple[str, ...]) -> dict[str, Any]:
        """Its sentence."""
        return {"text": texts[0]}

    def shown(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The root's."""
        return labels[:1]

    def line_of(self, word: int) -> int:
        """All nodes of a tree stand in one line."""
        return 0

    def _rows(self, read: trees.Trees, labelled: bool) -> TreeRows:
        name = str(read.path)
        if self.composition == "binary":
            wide = next((n for n, tree in enumerate(read.trees) if tree.widest > 2), None)
            if wide is not None:
                raise UserError(
                    f"{name}:{read.places[wide]}: {read.trees[wide].widest} nodes stand below one, and "
                    "--task.composition binary reads two; child_sum would fit"
                )
        texts: list[tuple[str, ...]] = [(" ".join(tree.plain),) for tree in read.trees]
        labels = [tree.labels for tree in read.trees] if labelled else None
        return TreeRows(name, texts, labels, read.places, {"blank_lines": read.blank}, tuple(read.trees))

    def _refuse_long(self, rows: Rows, counts: Array) -> None:
        """A tree that is cut is another tree."""
        assert self.length is not None
        if (long := np.flatnonzero(counts + 2 > self.length)).size:
            n = int(long[0])
            raise UserError(
                f"{rows.name}:{rows.places[n]}: the tree has {counts[n] + 2} tokens, and --task.length is {self.length}"
                f"; a tree cannot be cut; --task.length {counts.max() + 2} takes all of this file"
            )

    def _targets(self, rows: Rows) -> Array:
        """[K] numbers of the labels; 0 where there are none."""
        assert isinstance(rows, TreeRows)
        if rows.labels is None:
            return np.zeros(sum(len(tree.labels) for tree in rows.trees), np.int64)
        numbers = self.numbers()
        return np.array([numbers[label] for labels in rows.labels for label in labels], np.int64)

    def _truth_and_said(self, predictions: Sequence[Prediction], rows: Rows) -> tuple[Array, Array]:
        numbers = self.numbers()
        said = [numbers[label] for prediction in predictions for label in prediction.labels]
        return self._targets(rows), np.array(said, np.int64)

    def _roots(self, rows: Rows) -> Array:
        """[N] the first node of each tree."""
        assert isinstance(rows, TreeRows)
        nodes = np.array([len(tree.labels) for tree in rows.trees])
        return np.cumsum(nodes) - nodes
