"""Pydantic's findings in plain words: the option, the value, what would fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from unmask.config.base import Config
from unmask.config.merge import nested
from unmask.config.near import nearest
from unmask.config.schema import fits, options

Spell = Callable[[str], str]
"""How a path is shown: ``objective.rate`` -> ``--objective.rate``, or ``recipe.yaml:3: objective.rate``."""


def explain(cls: type[Config], error: ValidationError, spell: Spell = str) -> str:
    """One line: the first finding, and how many more there are.

    Unknown options come first, since one misspelt option may be why another is missing.
    """
    details = error.errors(include_url=False)
    details.sort(key=lambda detail: detail["type"] not in ("extra_forbidden", "misplaced"))
    found: dict[str, str] = {}
    for detail in details:
        path, field = _walk(cls, detail["loc"])
        found.setdefault(path, _line(cls, path, field, detail, spell))
    first, *rest = found.values()
    return first + (f" (and {len(rest)} more)" if rest else "")


def _line(cls: type[Config], path: str, field: FieldInfo | None, detail: Any, spell: Spell) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "misplaced":
        path = f"{path}.{context['key']}"
        return f"{spell(path)}: {context['why']}" + _suggestion(cls, path, spell, "no such option" in context["why"])
    if kind == "extra_forbidden":
        path = ".".join(map(str, detail["loc"]))
        return f"{spell(path)}: no such option" + _suggestion(cls, path, spell, True)
    if kind == "missing":
        meaning = f": {field.description} ({fits(field)})" if field else ""
        return f"{spell(path)} is missing{meaning}"
    if kind == "value_error":
        return f"{spell(path)}: {context['error']}" if path else str(context["error"])
    if kind == "choice" or field is None:
        return f"{spell(path)}: {detail['msg']}"
    return f"{spell(path)} {shown(detail['input'])}: must be {fits(field)}"


def _suggestion(cls: type[Config], path: str, spell: Spell, wanted: bool) -> str:
    known = list(dict.fromkeys(name for option in options(cls) for name in (option.short, option.path)))
    near = nearest(path, known) if wanted else None
    return f"; did you mean {spell(near)}?" if near else ""


def _walk(cls: Any, loc: tuple[Any, ...]) -> tuple[str, FieldInfo | None]:
    """Where a finding lies: list indices and the names pydantic gives to members of unions are left out."""
    path, field = [], None
    for part in loc:
        if cls is None or part not in cls.model_fields:
            break
        field = cls.model_fields[part]
        cls = nested(field.annotation)
        path.append(str(part))
    return ".".join(path), field


def shown(value: Any) -> str:
    """A value as the user may have written it, on one line and not too long."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value) if isinstance(value, str | int | float | Path) else repr(value)
    text = " ".join(text.split()) or "''"
    return text if len(text) <= 60 else text[:57] + "..."
