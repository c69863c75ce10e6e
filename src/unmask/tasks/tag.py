"""A label for each word: chunks, named entities, parts of speech (Devlin 2018, 1810.04805, §5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from unmask.errors import UserError, found, is_text
from unmask.tasks.base import HEAD, Encoded, Prediction, Rows, Task, in_order, softmax
from unmask.text.example import Array, Example, Stream, Targets
from unmask.text.sampling.batches import Dataset
from unmask.text.sources import chunks, conll, plain

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.tokens.tokenizer import Pieces, Tokenizer

OUTSIDE = "O"


class Tag(Task):
    """Say for each word which label it has, from the state of its first piece.

    IOB1, IOB2, BIOES, BMES and BILOU tags are recognised and learned as IOB2; any others are
    classes of their own.
    """

    architecture: ClassVar[str] = "TokenClassification"

    word_column: int = Field(1, ge=1, description="Column of the words, counted from 1")
    tag_column: int | None = Field(None, ge=1, description="Column of the tags; by default the last")
    digits: bool | None = Field(
        None,
        description="Take a character's place away (科0 技1, as in Weibo NER); by default if every word has one",
    )
    columns: int | None = Field(
        None, ge=1, description="How many there are, to tell files without tags; by default those of the training file"
    )
    characters: bool | None = Field(
        None,
        description="Whether plain sentences to be tagged are cut by characters, as Chinese is often tagged, or at "
        "blanks; by default as training's words are",
    )
    encoding: str = Field("utf-8", description="Encoding of the files")
    long: Literal["split", "cut"] = Field(
        "split",
        description="Sentences longer than the length: split between words, or cut (words cut off get no tag)",
    )

    @property
    def chunked(self) -> bool:
        """Whether tags mark stretches of words; if not, each is a class of its own."""
        return chunks.is_chunked(self.labels)

    @property
    def main_score(self) -> str:
        """F1 of whole stretches; accuracy where tags do not mark stretches."""
        return "f1" if self.chunked else "accuracy"

    @property
    def fits(self) -> str:
        """Words."""
        return "a list of words"

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The family's choice for each word, with the shape's own dropout."""
        from unmask.nn.task_heads import tagger

        return {HEAD: tagger(shape, len(self.labels))}

    def fit(self, path: Path) -> tuple[Self, Rows]:
        """Read the training file; settle the labels."""
        sentences = self._sentences(path, labelled=True)
        assert sentences.tags is not None
        found = {tag for tags in sentences.tags for tag in tags}
        stretches = chunks.is_chunked(found)
        rows = _rows(sentences, stretches)
        assert rows.labels is not None
        known = {label for labels in rows.labels for label in labels}
        characters = plain.are_characters([word for words in sentences.words for word in words])
        if self.characters is not None:
            characters = self.characters
        given = {"columns": sentences.columns, "characters": characters}
        settled = self.model_copy(update=given)
        return settled.settle(chunks.labels_of(known) if stretches else in_order(known), rows), rows

    def read(self, path: Path, labelled: bool = True) -> Rows:
        """Sentences of a file in columns; without labels, of a file of plain sentences too."""
        if not labelled and (found := plain.read(path, bool(self.characters), self._is_row, self.encoding)):
            rows = _rows(found, self.chunked)
            how = "by characters" if self.characters else "at blanks"
            rows.facts["read_as"] = f"sentences, one a line, cut {how}"
            return rows
        rows = _rows(self._sentences(path, labelled), self.chunked)
        self.check(rows)
        return rows

    def _is_row(self, cells: list[str]) -> bool:
        """Whether the cells of a line look like a word, perhaps with a tag, and not like a sentence's words."""
        if len(cells) == 1:
            return not self.characters or len(cells[0]) == 1 or conll.without_place(cells[0]) != ""
        if len(cells) + 1 == self.columns:
            return True  # as in training, without the tags
        tag = cells[min(self.tag_column or len(cells), len(cells)) - 1]
        if not any(map(str.isalnum, tag)):
            return False  # a full stop is a part of speech in some files, and the end of a sentence in all
        return tag in self.labels or (self.chunked and bool(chunks.TAG.fullmatch(tag)))

    def rows(self, inputs: Sequence[Any]) -> Rows:
        """Sentences as lists of words."""
        for n, words in enumerate(inputs):
            if not isinstance(words, list | tuple) or not words or not all(is_text(word) and word for word in words):
                raise UserError(f"row {n + 1}: must be {self.fits}, none of them empty; found {found(words)}")
        return Rows("rows", [tuple(words) for words in inputs], None, list(range(1, len(inputs) + 1)))

    def encode(self, rows: Rows, tokenizer: Tokenizer) -> Encoded:
        """A sentence becomes one sequence, or several if it is too long; each word's answer is at its first piece."""
        assert self.length is not None
        wholes = tokenizer.encode_words(rows.texts)
        parts = [
            (row, first, pieces)
            for row, whole in enumerate(wholes)
            for first, pieces in _parts(whole, self.length - 2, self.long == "split")
        ]
        around = np.array([tokenizer.cls], np.int32), np.array([tokenizer.sep], np.int32)
        tokens = [np.concatenate([around[0], pieces.ids, around[1]]) for _, _, pieces in parts]
        lengths = np.array([len(ids) for ids in tokens])
        begins = [np.flatnonzero(pieces.word_starts) for _, _, pieces in parts]
        counts = [len(places) for places in begins]
        index = np.concatenate(begins) + np.repeat(np.cumsum(lengths) - lengths + 1, counts)
        row = np.repeat([row for row, _, _ in parts], counts)
        word = np.concatenate([np.arange(first, first + n) for (_, first, _), n in zip(parts, counts, strict=True)])
        targets = Targets(index, self._targets(rows, row, word))
        data = Dataset(Example({"encoder": Stream(np.concatenate(tokens), lengths)}, {HEAD: targets}))
        cut, facts = _cut(rows, wholes, parts)
        facts["unknown_tokens"] = sum(int((ids == tokenizer.unk).sum()) for ids in tokens)
        return Encoded(data, row, word, cut, facts)

    def predictions(self, logits: Array, encoded: Encoded, rows: Rows) -> list[Prediction]:
        """The likeliest label of each word; of a word that was cut off, O with probability 0."""
        chances = softmax(logits)
        best = chances.argmax(-1)
        sizes = [len(words) for words in rows.texts]
        place = (np.cumsum(sizes) - sizes)[encoded.rows] + encoded.words
        labels = np.full(sum(sizes), OUTSIDE, object)
        probabilities = np.zeros(sum(sizes))
        labels[place] = np.array(self.labels, object)[best]
        probabilities[place] = chances[np.arange(len(best)), best]
        edges = np.cumsum(sizes)[:-1]
        pairs = zip(np.split(labels, edges), np.split(probabilities, edges), strict=True)
        return [Prediction(tuple(said), tuple(sure.tolist())) for said, sure in pairs]

    def scores(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """Precision, recall and F1 of stretches (seqeval), and the words' accuracy; else accuracy and macro F1."""
        from sklearn import metrics

        truth, said = _truth_and_said(predictions, rows)
        flat = [[tag for tags in both for tag in tags] for both in (truth, said)]
        accuracy = float(metrics.accuracy_score(*flat))
        if not self.chunked:
            known = in_order(flat[0])
            macro = metrics.f1_score(*flat, labels=known, average="macro", zero_division=0.0)
            return {"accuracy": accuracy, "macro_f1": float(macro)}
        average = self._report(truth, said)["micro avg"]
        names = {"f1": "f1-score", "precision": "precision", "recall": "recall"}
        return {name: float(average[theirs]) for name, theirs in names.items()} | {"accuracy": accuracy}

    def details(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Any]:
        """Precision, recall and F1 by type of stretch, or by tag."""
        report = self._report(*_truth_and_said(predictions, rows))
        names = {"precision": "precision", "recall": "recall", "f1": "f1-score", "count": "support"}
        return {
            "labels": {
                label: {name: float(row[theirs]) for name, theirs in names.items()}
                for label, row in report.items()
                if isinstance(row, dict) and not label.endswith(" avg")
            }
        }

    def sample_of(self, texts: tuple[str, ...]) -> dict[str, Any]:
        """Its words."""
        return {"words": list(texts)}

    def line_of(self, word: int) -> int:
        """A word a line."""
        return word

    def _report(self, truth: list[tuple[str, ...]], said: list[tuple[str, ...]]) -> dict[str, Any]:
        import seqeval.metrics
        from sklearn import metrics

        if self.chunked:
            found: dict[str, Any] = seqeval.metrics.classification_report(
                [list(tags) for tags in truth],
                [list(tags) for tags in said],
                output_dict=True,
                zero_division=0,
            )
            return found
        flat = [[tag for tags in both for tag in tags] for both in (truth, said)]
        report: dict[str, Any] = metrics.classification_report(*flat, output_dict=True, zero_division=0.0)
        return report

    def _sentences(self, path: Path, labelled: bool) -> conll.Sentences:
        found = conll.read(path, self.word_column, self.tag_column, self.digits, self.encoding, labelled)
        if labelled and found.tags is None:
            raise UserError(f"{path}:{found.places[0]}: has one column; words and tags are wanted, in two or more")
        if plain.are_sentences([word for words in found.words for word in words]):
            raise UserError(
                f"{path}:{found.places[0]}: {found.words[0][0][:12]!r} and the like are whole sentences, as it seems; "
                "a word a line is wanted" + ("" if labelled else ", or sentences with blanks between their words")
            )
        return found

    def _targets(self, rows: Rows, row: Array, word: Array) -> Array:
        """[M] the numbers of the labels of these words."""
        if rows.labels is None:
            return np.zeros(len(row), np.int64)
        numbers = self.numbers()
        found = [numbers[rows.labels[r][w]] for r, w in zip(row.tolist(), word.tolist(), strict=True)]
        return np.array(found, np.int64)


def _rows(sentences: conll.Sentences, stretches: bool) -> Rows:
    """Sentences with tags in one form, and how they were written."""
    facts: dict[str, Any] = {"documents": sentences.documents, "digits_taken": sentences.digits}
    tags = sentences.tags
    if tags is not None and stretches:
        facts["tags"] = chunks.scheme_of(tag for sentence in tags for tag in sentence)
        converted = [chunks.to_iob2(sentence) for sentence in tags]
        facts["stretches_without_b"] = sum(bare for _, bare in converted)
        tags = [tuple(found) for found, _ in converted]
    return Rows(str(sentences.path), sentences.words, tags, sentences.places, facts)


def _parts(pieces: Pieces, room: int, split: bool) -> Iterator[tuple[int, Pieces]]:
    """A sentence in parts of at most so many pieces, with the number of each part's first word.

    Parts end between words; only a word that is alone too long loses its last pieces.
    """
    starts = np.append(np.flatnonzero(pieces.word_starts), len(pieces.ids))
    first = 0
    while first < len(starts) - 1:
        begin = starts[first]
        last = max(first + 1, int(np.searchsorted(starts, begin + room, "right")) - 1)
        end = min(starts[last], begin + room)
        yield first, type(pieces)(pieces.ids[begin:end], pieces.word_starts[begin:end])
        first = last
        if not split:
            return


def _cut(
    rows: Rows, wholes: Sequence[Pieces], parts: Sequence[tuple[int, int, Pieces]]
) -> tuple[Array, dict[str, int]]:
    """[R] how many pieces of each row were cut off, and what else there is to count."""
    row = np.array([row for row, _, _ in parts])
    kept = np.bincount(row, [len(pieces.ids) for _, _, pieces in parts], len(wholes)).astype(np.int64)
    cut = np.array([len(whole.ids) for whole in wholes]) - kept
    words = sum(map(len, rows.texts)) - sum(int(pieces.word_starts.sum()) for _, _, pieces in parts)
    return cut, {
        "rows": len(rows),
        "tokens": int(kept.sum()) + 2 * len(parts),
        "split_rows": int((np.bincount(row, minlength=len(wholes)) > 1).sum()),
        "cut_rows": int((cut > 0).sum()),
        "cut_words": words,
        "cut_tokens": int(cut.sum()),
    }


def _truth_and_said(
    predictions: Sequence[Prediction], rows: Rows
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    assert rows.labels is not None
    return rows.labels, [prediction.labels for prediction in predictions]
