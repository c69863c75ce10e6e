"""Fine-tune a model on a task: rows that people labelled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from unmask.config import choice
from unmask.training.settings import Course

if TYPE_CHECKING:
    from unmask.inference.finetuned import Finetuned
    from unmask.tasks.base import Task
    from unmask.tuning.base import Tuning

Tasks = choice("Tasks", "unmask.tasks")
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Tunings = choice("Tunings", "unmask.tuning")


class Finetune(Course):
    """Fine-tune a model on a task: rows that people labelled.

    Defaults suit small data: as many epochs as make about 1,000 steps, but 3 at least and 20 at most (Mosbach 2021,
    2006.04884); after each of them the valid file is scored, and the best state is kept. The test file, if there is
    one, is scored once, by that state. Repeating the command continues the run; ``overwrite`` starts anew.
    """

    positional: ClassVar[tuple[str, ...]] = ("model",)

    model: str = Field(description="What to start from: a run, word vectors, a Hugging Face folder, or hf:owner/name")
    task: Tasks = Field(description="What is learned")  # type: ignore[valid-type]
    train: Path = Field(
        description="Rows to learn from: .tsv, .csv, .jsonl, .parquet; for tag columns as CoNLL's, "
        "for label_trees trees in brackets"
    )
    valid: Path = Field(description="Rows by which the best state is chosen")
    test: Path | None = Field(None, description="Rows that are scored once at the end")
    out: Path = Field(description="The run's folder")
    tuning: Tunings = Field("full", description="What may move")  # type: ignore[valid-type]
    init: Literal["pretrained", "random"] = Field(
        "pretrained", description="random: the same model with new weights, to see what pre-training bought"
    )
    seeds: tuple[Seed, ...] = Field(
        (1,), min_length=1, description="One training for each; scores are told with their spread"
    )
    lr: float | None = Field(
        None,
        gt=0,
        description="Highest learning rate; by default 0.04 / width, and 1e-3 where the head alone trains",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        description="Rows in a step; by default of about 1,024 tokens, fewer if an epoch has not 50 steps, 16 to 128",
    )
    eval_every: int | None = Field(None, ge=1, description="Steps between evaluations; by default once an epoch")
    overwrite: bool = Field(False, description="Delete the run that is in the folder and start anew")
    dry_run: bool = Field(False, description="Say what would be done and what it would take, and stop")

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{','.join(map(str, seeds))}: one is given twice; the spread is that of different ones")
        return seeds

    def run(self) -> Finetuned:
        """Train every seed, write the run's page, and return the best model; its ``result`` holds the figures."""
        from unmask.inference.early import refuse_absent, refuse_device

        refuse_device(self.device)
        refuse_absent(self.model, (self.train, self.valid, self.test))
        from unmask.runs.finetune import finetune

        return finetune(self)

    @property
    def chosen_task(self) -> Task:
        """The task with its settings."""
        task: Task = next(iter(self.task.chosen.values()))  # type: ignore[attr-defined]
        return task

    @property
    def chosen_tuning(self) -> Tuning:
        """The way of tuning with its settings."""
        tuning: Tuning = next(iter(self.tuning.chosen.values()))  # type: ignore[attr-defined]
        return tuning

    @property
    def dataset(self) -> str:
        """What is learned, by the name of its training file, or of its folder where the file is just called train."""
        path = self.train.absolute()
        name = re.sub(r"(^|[-_])train(ing)?([-_]|$)", "", path.name.split(".")[0])
        folders = (folder.name for folder in path.parents if folder.name not in ("data", "dataset", "datasets"))
        return name or next(folders) or "train"

    @property
    def splits(self) -> dict[str, Path]:
        """The files that are scored."""
        return {"valid": self.valid, **({"test": self.test} if self.test else {})}
