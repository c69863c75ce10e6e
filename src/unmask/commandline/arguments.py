"""What was typed, as settings by path. Nothing is checked here but what a word needs to be read at all."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from unmask.calls import place, positional
from unmask.config import Config
from unmask.config.schema import Option, options
from unmask.errors import UserError


@dataclass
class Arguments:
    """Settings by path, and how each was typed."""

    given: dict[str, Any] = field(default_factory=dict)  # {"objective.rate": "0.3"}
    typed: dict[str, str] = field(default_factory=dict)  # {"objective.rate": "--objective.rate"}
    recipe: str | None = None
    help: bool = False


def parse(cls: type[Config], words: list[str]) -> Arguments:
    """Read ``--name value``, ``--name=value``, ``--flag``, ``--no-flag`` and values by position.

    Lists are ``1,2,3`` or the option repeated. A word is never taken for the beginning of a longer one.
    """
    arguments, values, left = Arguments(), list[str](), deque(words)
    known: dict[str, Option] = {}
    for option in options(cls):
        known.setdefault(option.path, option)
        known.setdefault(option.short, option)
    while left:
        word = left.popleft()
        if word == "--":
            values.extend(left)
            break
        if word in ("-h", "--help"):
            arguments.help = True
        elif word.startswith("--"):
            _read_option(arguments, known, word, left)
        elif re.fullmatch(r"-[A-Za-z]\w*", word):
            raise UserError(f"{word}: options begin with two dashes")
        else:
            values.append(word)
    if not arguments.help:
        _read_values(arguments, cls, values)
    return arguments


def _read_option(arguments: Arguments, known: dict[str, Option], word: str, left: deque[str]) -> None:
    typed, equals, value = word.partition("=")
    path = typed.removeprefix("--").replace("-", "_")
    negated = known.get(path.removeprefix("no_"))
    if path not in known and negated and negated.is_flag:
        if equals:
            raise UserError(f"{typed} takes no value")
        path = path.removeprefix("no_")
        _set(arguments, known, path, typed, False)
    elif equals:
        _set(arguments, known, path, typed, value)
    elif path in known and known[path].is_flag:
        _set(arguments, known, path, typed, left.popleft() if left and left[0] in ("true", "false") else True)
    elif left and not left[0].startswith("--"):
        _set(arguments, known, path, typed, left.popleft())
    elif path in known or path == "recipe":
        raise UserError(f"{typed} needs a value: {known[path].fits if path in known else 'a YAML file'}")
    else:
        _set(arguments, known, path, typed, True)  # unknown: refused with all others, by the check


def _set(arguments: Arguments, known: dict[str, Option], path: str, typed: str, value: Any) -> None:
    option = known.get(path)
    several = option is not None and option.is_list
    if (path in arguments.given and not several) or (path == "recipe" and arguments.recipe):
        raise UserError(f"{typed} is given twice")
    names = {name for o in known.values() for name in (o.path, o.short) if path in (o.path, o.short)}
    if twin := next((name for name in sorted(names - {path}) if name in arguments.given), None):
        raise UserError(f"{typed} is given twice: also as {arguments.typed[twin]}")
    arguments.typed[path] = typed
    if path == "recipe":
        arguments.recipe = value
    elif option and option.may_be_none and value == "none":
        arguments.given[path] = None
    elif several:
        arguments.given[path] = [*(arguments.given.get(path) or []), *value.split(",")]
    else:
        arguments.given[path] = value


def _read_values(arguments: Arguments, cls: type[Config], values: list[str]) -> None:
    for name, value in place(cls, values).items():
        if name in arguments.given:
            raise UserError(f"{arguments.typed[name]} is given twice: also by position, as {value}")
        arguments.given[name] = value
        arguments.typed[name] = name.upper()


def spelling(cls: type[Config], arguments: Arguments) -> dict[str, str]:
    """How every path is shown in messages: as it was typed, or as it can be."""
    shown = {name: name.upper() for name in positional(cls)}
    for option in options(cls):
        typed = arguments.typed.get(option.path) or arguments.typed.get(option.short)
        for path in (option.short, option.path):
            shown.setdefault(path, arguments.typed.get(path) or typed or dashed(option.short))
    return shown | arguments.typed


def dashed(path: str) -> str:
    """``vocab_size`` -> ``--vocab-size``."""
    return "--" + path.replace("_", "-")
