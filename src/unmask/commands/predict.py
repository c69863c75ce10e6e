"""Predict: labels and probabilities for the rows of a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from unmask.config import Config

if TYPE_CHECKING:
    from unmask.tasks.base import Prediction

COUNTED = ("cut_rows", "cut_tokens", "cut_words", "split_rows", "blank_lines")  # told where there are any


class Predict(Config):
    """Say what a fine-tuned model says of every row of a file.

    For a tagger a file has a word a line, in columns as for training, or plain sentences, one a line, which are cut at
    blanks, or by characters where training's words are characters. It is told which was read.

    The rows are written with their labels and probabilities, in the order of the file: as a table (.tsv, .csv), as
    JSON lines with every label's probability (.jsonl), of tagged words in columns (.conll), or of trees in brackets
    (.txt), whose labels are then the model's.
    """

    positional: ClassVar[tuple[str, ...]] = ("model", "file")

    model: Path = Field(description="The run of a fine-tuning")
    file: Path = Field(description="Rows like those it was trained on; labels need not be there")
    out: Path | None = Field(None, description=".tsv, .csv, .jsonl, .conll or .txt; by default printed")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Numbers of the model's arithmetic")

    def run(self) -> list[Prediction]:
        """Write or print; what was cut is counted on standard error."""
        from unmask.disk import refuse_overwriting, replace_file
        from unmask.inference.early import refuse_absent, refuse_device
        from unmask.tasks._written import form

        if self.out:
            refuse_overwriting(self.out, self.file, self.model)
        refuse_device(self.device)
        refuse_absent(self.model, [self.file])
        from unmask.inference.loading import load_finetuned

        model = load_finetuned(self.model, self.device, self.precision)
        lines_of = form(model.task, self.out.suffix if self.out else "")  # refused before anything is computed
        rows = model.task.read(self.file, labelled=False)
        predictions, encoded = model.predict_rows(rows)
        text = "".join(line + "\n" for line in lines_of(model.task, rows, predictions))
        if self.out:
            replace_file(self.out, text.encode())
        else:
            sys.stdout.write(text)
        facts = {**encoded.facts, **rows.facts}
        told = [f"{facts[name]} {name.replace('_', ' ')}" for name in COUNTED if facts.get(name)]
        told += [f"read as {facts['read_as']}"] if "read_as" in facts else []
        print(f"{self.file}: {len(rows):,} rows" + "".join(f", {fact}" for fact in told), file=sys.stderr)
        return predictions
