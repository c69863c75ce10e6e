"""Configs as YAML: written complete, read with the line of every key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from unmask.config.base import Config
from unmask.config.explain import explain
from unmask.errors import UserError, first_line

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class File:
    """A YAML file's settings and the line each was found in."""

    settings: dict[str, Any]
    lines: dict[str, int]

    def line(self, path: str) -> int | None:
        """The line that sets a path, or else the nearest thing above it."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path)


def to_yaml(config: Config) -> str:
    """Everything a config holds, defaults included, so that it reloads to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def from_yaml(cls: type[C], path: str | Path) -> C:
    """Read what `to_yaml` wrote, or what a person did. Raises `UserError` naming file and line."""
    file = read(path, cls)
    try:
        return cls.model_validate(file.settings)
    except ValidationError as error:
        raise UserError(explain(cls, error, lambda key: f"{path}:{file.line(key) or 1}: {key}")) from None


def difference(before: Config, after: Config) -> list[str]:
    """What changed between two configs: ``objective.masked_lm.rate: 0.15 -> 0.3``."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    absent = "(absent)"
    return [
        f"{key}: {old.get(key, absent)} -> {new.get(key, absent)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, absent) != new.get(key, absent)
    ]


def read(path: str | Path, cls: type[Config]) -> File:
    """The settings of a YAML file. ``command: word`` is checked against the class and left out."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        settings = yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        raise UserError(_not_yaml(path, error)) from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply for settings") from None
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise UserError(f"{path}: must hold settings, one `name: value` a line")
    command = settings.pop("command", None) if "command" not in cls.model_fields else None
    if command not in (None, cls.__name__.lower()):
        raise UserError(f"{path}: is for the command {command}, not {cls.__name__.lower()}")
    return File(settings, _lines(path, node))


def _not_yaml(path: str | Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or first_line(error)
    return f"{path}:{mark.line + 1}: not YAML: {problem}" if mark else f"{path}: not YAML: {problem}"


def _lines(path: str | Path, node: Any, prefix: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in found:
            raise UserError(f"{path}:{key.start_mark.line + 1}: {name} is given twice (first in line {found[name]})")
        found[name] = key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            found |= _lines(path, value, f"{name}.")
    return found


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
