"""Commands by word: which there are, their configs, and the same commands as Python functions."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unmask import commands
from unmask.config import Config, build, config_of
from unmask.config.schema import level
from unmask.errors import UserError


def words() -> dict[str, str]:
    """Every command and the first line of its docstring. Imports none of them."""
    names = sorted(m.name for m in pkgutil.iter_modules(commands.__path__) if m.name[0] != "_")
    return {name: _summary(name) for name in names}


def _summary(word: str) -> str:
    spec = find_spec(f"{commands.__name__}.{word}")
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n")[0]


def command(word: str) -> type[Config]:
    """The config behind a word."""
    return config_of(importlib.import_module(f"{commands.__name__}.{word}"))


def positional(cls: type[Config]) -> tuple[str, ...]:
    """The fields of a command that need no ``--name``, in their order."""
    return getattr(cls, "positional", ())


def call(cls: type[Config], *values: Any, recipe: str | Path | None = None, **settings: Any) -> Any:
    """Run a command from Python: the same names, the same checks, `UserError` where something does not fit.

    ``call(Finetune, "runs/a", task="classify", **{"task.length": 256})``
    """
    given = {**place(cls, values), **settings}
    if twice := place(cls, values).keys() & settings.keys():
        raise UserError(f"{', '.join(sorted(twice))}: given twice, by position and by name")
    return build(cls, given, recipe).run()  # type: ignore[attr-defined]


def place(cls: type[Config], values: tuple[Any, ...] | list[Any]) -> dict[str, Any]:
    """Values by position -> by name. A list as the last of them takes what is left."""
    names = positional(cls)
    lists = {option.short for option in level(cls) if option.is_list}
    placed: dict[str, Any] = dict(zip(names, values, strict=False))
    last = names[-1] if names else ""
    if last in placed and last in lists and not isinstance(placed[last], list | tuple):
        placed[last] = list(values[len(names) - 1 :])
    elif len(values) > len(names):
        wanted = " ".join(name.upper() for name in names) or "only options"
        raise UserError(f"unexpected {values[len(names)]!r}; {cls.__name__.lower()} takes {wanted}")
    return placed


def function(word: str) -> Callable[..., Any]:
    """A command as a Python function with its own signature and documentation."""
    cls = command(word)

    def run(*values: Any, **settings: Any) -> Any:
        return call(cls, *values, **settings)

    told = [f"    {option.short}: {option.field.description} [{option.fits}]" for option in level(cls)]
    run.__name__ = run.__qualname__ = word
    run.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Settings:", *told])
    run.__signature__ = _signature(cls)  # type: ignore[attr-defined]
    return run


def _signature(cls: type[Config]) -> inspect.Signature:
    """Positional ones first, then the others by name."""
    kinds = dict.fromkeys(positional(cls), inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [
        inspect.Parameter(
            name,
            kinds.get(name, inspect.Parameter.KEYWORD_ONLY),
            default=inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True),
        )
        for name, field in sorted(cls.model_fields.items(), key=lambda item: item[0] not in kinds)
    ]
    return inspect.Signature(parameters)
