"""Evaluate: a fine-tuned model's scores on labelled rows, or the perplexity of a text to a model from the left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.table import Table

from unmask.config import Config
from unmask.errors import UserError
from unmask.text.example import Array

if TYPE_CHECKING:
    from unmask.inference.finetuned import Finetuned
    from unmask.inference.model import Model

WHOLE = ("count", "tokens", "unknown")
"""Columns of whole numbers."""


class Evaluate(Config):
    """Score a fine-tuned model on a file of labelled rows: the whole, and label by label.

    Of a model of causal_lm or masked_next_token, the perplexity of a text: a file is one text (a book, say), a table
    one in each row. It is read in windows side by side; a transformer_xl keeps the states of what it has read from
    segment to segment.
    """

    positional: ClassVar[tuple[str, ...]] = ("model", "file")

    model: Path = Field(description="The run of a fine-tuning, or a model that reads from the left")
    file: Path = Field(description="Labelled rows like those it was trained on; or text")
    length: int | None = Field(
        None, ge=2, description="Tokens of a text that are read together; none: as many as in training"
    )
    memory: int | None = Field(
        None,
        ge=0,
        description="Tokens before these whose states a transformer_xl keeps; none: as many as in training",
    )
    out: Path | None = Field(None, description="A .json file for the scores; they are printed too")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Numbers of the model's arithmetic")

    def run(self) -> dict[str, float]:
        """Print and return the scores."""
        from unmask.disk import refuse_overwriting, replace_file
        from unmask.inference.early import refuse_absent, refuse_device

        if self.out:
            refuse_overwriting(self.out, self.file, self.model)
        refuse_device(self.device)
        refuse_absent(self.model, [self.file])
        from unmask.inference.finetuned import Finetuned
        from unmask.inference.loading import load

        model = load(self.model, self.device, self.precision)
        found = self._scored(model) if isinstance(model, Finetuned) else self._perplexity(model)
        if self.out:
            said = {"file": str(self.file), **found}
            replace_file(self.out, json.dumps(said, indent=2, ensure_ascii=False).encode())
        scores: dict[str, float] = found["scores"]
        console = Console(highlight=False)
        console.print(_table({"score": scores}))
        if "labels" in found:
            console.print(_table(found["labels"], "label"))
        return scores

    def _scored(self, model: Finetuned) -> dict[str, Any]:
        """Scores on labelled rows."""
        if given := [name for name in ("length", "memory") if getattr(self, name) is not None]:
            raise UserError(f"--{given[0]}: {self.model} reads rows and no text; leave it out")
        rows = model.task.read(self.file)
        predictions, encoded = model.predict_rows(rows)
        scores = model.task.scores(predictions, rows)
        return {"scores": scores, "data": encoded.facts, **model.task.details(predictions, rows)}

    def _perplexity(self, model: Model) -> dict[str, Any]:
        """How likely a text is."""
        from unmask.inference.perplexity import perplexity

        trained, before = self._trained(model)
        length = self.length or trained
        memory = before if self.memory is None else self.memory
        scores = perplexity(model, self._texts(model), length, memory)
        return {"scores": scores, "length": length, "memory": memory}

    def _trained(self, model: Model) -> tuple[int, int]:
        """Tokens of a sequence, and of its memory, in training; where nothing is said of it, what there is room for."""
        from unmask.inference.loading import read_settings
        from unmask.objectives.causal_lm import CausalLM

        config = self.model / "config.yaml"
        settings = read_settings(config) if config.is_file() else {}
        length = settings.get("length", model.shape.max_length)
        share = settings.get("objective", {}).get("causal_lm", {}).get("memory")
        return length, int(length * (CausalLM(memory=share).asked_of(model.shape).memory or 0))

    def _texts(self, model: Model) -> Iterator[Array]:
        """The tokens of each text."""
        from unmask.text.sources.documents import Sources

        parts: list[Array] = []
        for piece in Sources([str(self.file)], boundary="file").pieces():
            if piece.first and parts:
                yield np.concatenate(parts)
                parts = []
            parts.append(model.tokenizer.encode_flat([piece.text], specials=False)[0])
        if not parts:
            raise UserError(f"{self.file}: holds no text")
        yield np.concatenate(parts)


def _table(rows: dict[str, dict[str, float]], first: str = "") -> Table:
    """Numbers by row and column."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (first, *next(iter(rows.values()), {})):
        table.add_column(column, justify="left" if column == first else "right")
    for name, numbers in rows.items():
        cells = [f"{number:,.0f}" if column in WHOLE else f"{number:.4f}" for column, number in numbers.items()]
        table.add_row(name, *cells)
    return table
