"""From what was given, and perhaps a recipe, to a checked config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from unmask.config.base import Config
from unmask.config.explain import explain
from unmask.config.files import read
from unmask.config.merge import overlay, plant
from unmask.config.schema import options
from unmask.errors import UserError

C = TypeVar("C", bound=Config)


def build(
    cls: type[C],
    given: Mapping[str, Any],
    recipe: str | Path | None = None,
    spell: Callable[[str], str] = str,
) -> C:
    """A checked config of settings by (dotted) name, laid upon those of a recipe file.

    ``spell`` says how the caller writes an option, for messages. Raises `UserError` with one line.
    """
    file = read(recipe, cls) if recipe is not None else None
    under = plant(cls, file.settings) if file else {}
    shorts = {option.path: option.short for option in options(cls)}

    def where(path: str) -> str:
        names = {path, shorts.get(path, path)}
        lines = [line for name in names if (line := file.line(name))] if file and not names & set(given) else []
        return f"{recipe}:{max(lines)}: {path}" if lines else spell(path)

    try:
        return cls.model_validate(overlay(cls, under, plant(cls, given)))
    except ValidationError as error:
        raise UserError(explain(cls, error, where)) from None
