"""Evaluate: a fine-tuned model's scores on a file of labelled rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from rich.console import Console
from rich.table import Table

from unmask.config import Config


class Evaluate(Config):
    """Score a fine-tuned model on a file of labelled rows: the whole, and label by label."""

    positional: ClassVar[tuple[str, ...]] = ("model", "file")

    model: Path = Field(description="The run of a fine-tuning")
    file: Path = Field(description="Labelled rows like those it was trained on")
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
        from unmask.inference.loading import load_finetuned

        model = load_finetuned(self.model, self.device, self.precision)
        rows = model.task.read(self.file)
        predictions, encoded = model.predict_rows(rows)
        scores = model.task.scores(predictions, rows)
        details = model.task.details(predictions, rows)
        if self.out:
            said = {"file": str(self.file), "scores": scores, "data": encoded.facts, **details}
            replace_file(self.out, json.dumps(said, indent=2, ensure_ascii=False).encode())
        console = Console(highlight=False)
        console.print(_table({"score": scores}))
        console.print(_table(details["labels"], "label"))
        return scores


def _table(rows: dict[str, dict[str, float]], first: str = "") -> Table:
    """Numbers by row and column."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (first, *next(iter(rows.values()), {})):
        table.add_column(column, justify="left" if column == first else "right")
    for name, numbers in rows.items():
        cells = [f"{number:,.0f}" if column == "count" else f"{number:.4f}" for column, number in numbers.items()]
        table.add_row(name, *cells)
    return table
