"""Train a fake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from unmask.config import Config, choice

Objectives = choice("Objectives", "fake_objectives", several=True)
PRESETS = {"tiny": {"layers": 2, "width": 16}, "large": {"layers": 24, "width": 1024}}


def resolve(value: Any) -> Any:
    value = {"name": value} if isinstance(value, str) else value
    if "name" not in value:
        return value
    name = value["name"]
    if name not in PRESETS:
        raise ValueError(f"no model is named '{name}'")
    return {**PRESETS[name], **{k: v for k, v in value.items() if k != "name"}}


class Shape(Config):
    layers: int = Field(12, ge=1, description="Number of blocks")
    width: int = Field(768, ge=8, description="Width of the hidden states")


class Train(Config):
    """Train a fake on sources."""

    positional: ClassVar[tuple[str, ...]] = ("corpus", "extra")

    corpus: Path = Field(description="The corpus")
    extra: list[Path] = Field([], description="More corpora")
    out: Path = Field(description="The run's folder")
    model: Annotated[Shape, BeforeValidator(resolve)] = Field("tiny", description="A preset")
    objective: Objectives = Field("masked_lm", description="What is learned")  # type: ignore[valid-type]
    schedule: Literal["linear", "cosine"] = Field("linear", description="How the rate falls")
    steps: int | None = Field(None, ge=1, description="Length of the run")
    minutes: float | None = Field(None, gt=0, description="Length of the run")
    seeds: list[int] = Field([1], description="Seeds")
    compile: bool = Field(False, description="Compile the model")
    raises: str = Field("", description="What goes wrong")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps and self.minutes:
            raise ValueError("choose one of steps and minutes")
        return self

    def run(self) -> Train:
        if self.raises:
            raise FAILURES[self.raises]
        return self


FAILURES: dict[str, BaseException] = {
    "bug": KeyError("x"),
    "interrupt": KeyboardInterrupt(),
    "permission": PermissionError(13, "Permission denied", "runs/a"),
    "full": OSError(28, "No space left on device"),
    "memory": RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "network": OSError(113, "No route to host"),
    "pipe": BrokenPipeError(32, "Broken pipe"),
}
