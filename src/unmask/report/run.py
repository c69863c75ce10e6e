"""A run's folder, read for its page. The docstring of `unmask.report` explains the files."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from unmask.errors import UserError
from unmask.training.record import read_lines

Figures = dict[str, float | None]


class Scores(BaseModel):
    """Figures over seeds."""

    title: str = ""
    figures: Figures = {}
    by_seed: dict[str, list[float | None]] = {}
    spread: Figures = {}


class Result(Scores):
    """``result.json``."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    kind: Literal["pretrain", "finetune"]
    language: str | None = None
    held_out: Literal["valid", "test"] = "valid"
    main: str | None = None
    seeds: list[int] = []
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    device: str | None = None
    precision: str | None = None
    model: dict[str, Any] = {}
    data: dict[str, Any] = {}
    task: str | None = None
    dataset: str | None = None
    init: Literal["pretrained", "random"] | None = None
    base: str | None = None
    fresh: list[str] = []
    best_seed: int | None = None
    baseline: Scores | None = None
    constant: str | None = None
    chosen: dict[str, Any] = {}
    idle: list[str] = []
    peak_memory: int | None = None
    versions: dict[str, str] = {}
    finished: str | None = None
    not_finite: list[str] = []


class Mask(BaseModel):
    """What was guessed behind one mask."""

    truth: str | None = None
    guesses: list[tuple[str, float | None]]


class Fill(BaseModel):
    """A text with masks."""

    text: str
    masks: list[Mask]


class Written(BaseModel):
    """What a model wrote."""

    given: str
    written: str
    truth: str


class Prediction(BaseModel):
    """One row of a task, as people and as the model label it."""

    text: str | list[str] | None = None
    words: list[str] = []
    truth: str | list[str] | None = None
    predicted: str | list[str]
    probability: float | None = None

    @property
    def right(self) -> bool:
        """Whether they agree."""
        return self.truth == self.predicted


class Confusion(BaseModel):
    """How often each label (row) was taken for each other (column)."""

    labels: list[str]
    counts: list[list[int]]


class Samples(BaseModel):
    """``samples.json``."""

    fill: list[Fill] = []
    written: list[Written] = []
    predictions: list[Prediction] = []
    confusion: Confusion | None = None
    labels: dict[str, dict[str, float | None]] = {}


@dataclass
class Run:
    """All of a run that its page shows."""

    folder: Path
    result: Result
    samples: Samples
    metrics: list[dict[str, Any]]
    config: str

    @property
    def title(self) -> str:
        """What to call it."""
        return self.result.title or self.folder.resolve().name

    @property
    def address(self) -> str:
        """The folder as somebody in the working directory would type it; never the way from the root."""
        whole, here = self.folder.resolve(), Path.cwd()
        return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else whole.name

    @property
    def settings(self) -> str:
        """``config.yaml`` without the settings that had no effect."""
        settings = yaml.safe_load(self.config) if self.result.idle else None
        if not isinstance(settings, dict):
            return self.config
        return yaml.safe_dump(without(settings, self.result.idle), sort_keys=False, allow_unicode=True)

    @property
    def seeds(self) -> list[int]:
        """The seeds whose curves there are."""
        return list(dict.fromkeys(line["seed"] for line in self.metrics if isinstance(line.get("seed"), int)))

    def series(self, split: str, name: str) -> dict[int | None, list[tuple[int, float]]]:
        """The (step, value) pairs of one metric by seed; values that are not finite are left out."""
        found: dict[int | None, list[tuple[int, float]]] = {}
        for line in self.metrics:
            if line["split"] == split and isinstance(value := line.get(name), int | float):
                found.setdefault(line.get("seed"), []).append((line["step"], float(value)))
        return found

    def names(self, splits: Iterable[str] = ("train", "valid")) -> list[str]:
        """Metrics that have values, in the order of their first appearance."""
        wanted = set(splits)
        lines = (line for line in self.metrics if line["split"] in wanted)
        seen = {name: None for line in lines for name, value in line.items() if isinstance(value, int | float)}
        return [name for name in seen if name not in ("step", "seed")]


def read_run(folder: str | Path) -> Run:
    """Read a run's folder.

    Raises:
        UserError: there is no ``result.json`` (the run is not finished), or a file is not what it should be.
    """
    folder = Path(folder)
    if not (folder / "result.json").exists():
        raise UserError(f"{folder}: no result.json in it; a finished run has one")
    config = folder / "config.yaml"
    return Run(
        folder,
        _read(folder / "result.json", Result),
        _read(folder / "samples.json", Samples) if (folder / "samples.json").exists() else Samples(),
        read_lines(folder / "metrics.jsonl"),
        config.read_text(encoding="utf-8") if config.exists() else "",
    )


def without(settings: Mapping[str, Any], paths: Container[str], above: str = "") -> dict[str, Any]:
    """Nested settings but for those at these dotted paths."""
    return {
        name: without(value, paths, f"{above}{name}.") if isinstance(value, dict) else value
        for name, value in settings.items()
        if f"{above}{name}" not in paths
    }


Kind = TypeVar("Kind", bound=BaseModel)


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {where}: {first['msg']}") from None
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error})") from None
