"""What can be set, in words: every option of a config by path, and what fits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from unmask.config.base import Choice, Config
from unmask.config.merge import nested

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "yes or no",
    Path: "a path",
    NoneType: "none",
    list: "a list",
    dict: "pairs of name and value",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}


@dataclass(frozen=True)
class Option:
    """One thing that can be set."""

    path: str  # objective.masked_lm.rate
    short: str  # objective.rate: the member of a choice may be left out
    field: FieldInfo

    @property
    def choice(self) -> type[Choice] | None:
        """The choice this option makes, if it makes one."""
        inner = nested(self.field.annotation)
        return inner if inner and issubclass(inner, Choice) else None

    @property
    def settings(self) -> type[Config] | None:
        """The settings below this option, if it has any and is not a choice."""
        inner = nested(self.field.annotation)
        return inner if inner and not issubclass(inner, Choice) else None

    @property
    def takes_name(self) -> bool:
        """Whether nested settings can be given by one name (a preset)."""
        return any(isinstance(m, BeforeValidator) for m in self.field.metadata)

    @property
    def is_flag(self) -> bool:
        """Whether it is given as ``--option`` or ``--no-option``."""
        return _plain(self.field.annotation) is bool

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        kind = _plain(self.field.annotation)
        return (get_origin(kind) or kind) in (list, tuple, set, frozenset) or bool(self.choice and self.choice.several)

    @property
    def may_be_none(self) -> bool:
        """Whether ``none`` is a value of it."""
        return NoneType in get_args(self.field.annotation)

    @property
    def fits(self) -> str:
        """What can be given, in words."""
        return fits(self.field)


def options(cls: type[Config], path: tuple[str, ...] = (), short: tuple[str, ...] = ()) -> Iterator[Option]:
    """Everything that can be set of a config, nested settings and every member of every choice included."""
    for option in level(cls, path, short):
        yield option
        for group in groups(option):
            yield from options(*group)


def level(cls: type[Config], path: tuple[str, ...] = (), short: tuple[str, ...] = ()) -> Iterator[Option]:
    """What can be set at one level of a config."""
    for name, field in cls.model_fields.items():
        yield Option(".".join([*path, name]), ".".join([*short, name]), field)


def groups(option: Option) -> Iterator[tuple[type[Config], tuple[str, ...], tuple[str, ...]]]:
    """The levels below an option, as arguments of `level`: nested settings, or those of each member of a choice."""
    path, short = tuple(option.path.split(".")), tuple(option.short.split("."))
    if option.choice:
        for name in option.choice.members():
            yield option.choice.member(name), (*path, name), short
    elif option.settings:
        yield option.settings, path, short


def fits(field: FieldInfo) -> str:
    """What a field takes: ``a number above 0, at most 1``; where a pattern decides, its description says it."""
    if field.description and any(getattr(rule, "pattern", None) for rule in field.metadata):
        return field.description
    return _fits(field.annotation, field.metadata)


def _fits(annotation: Any, metadata: Any = ()) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _fits(args[0], [*args[1:], *metadata])
    if origin in (Union, UnionType):
        return " or ".join(_fits(arg, () if arg is NoneType else metadata) for arg in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}" if len(args) > 1 else str(args[0])
    if inner := nested(annotation):
        return _fits_settings(inner, metadata)
    if origin in (list, tuple, set, frozenset):
        kinds = dict.fromkeys(_fits(arg) for arg in args if arg is not Ellipsis)
        return ", ".join([f"a list, each {' or '.join(kinds)}", *_bounds(metadata)])
    return " ".join([_WORDS.get(origin or annotation, "a value"), ", ".join(_bounds(metadata))]).strip()


def _fits_settings(cls: type[Config], metadata: Any) -> str:
    if issubclass(cls, Choice):
        return f"{'one or several' if cls.several else 'one'} of {', '.join(cls.members())}"
    return "a name, or its settings" if any(isinstance(m, BeforeValidator) for m in metadata) else "settings"


def _bounds(metadata: Any) -> list[str]:
    found = []
    for rule in (one for given in metadata for one in (given.metadata if isinstance(given, FieldInfo) else [given])):
        for key, word in _BOUNDS.items():
            if (bound := getattr(rule, key, None)) is not None:
                found.append(f"{word} {bound}")
        if least := getattr(rule, "min_length", None):
            found.append(f"at least {least} long")
    return found


def _plain(annotation: Any) -> Any:
    """The one type of an annotation that is left when ``None`` is taken away."""
    rest = [arg for arg in get_args(annotation) if arg is not NoneType]
    return rest[0] if get_origin(annotation) in (Union, UnionType) and len(rest) == 1 else annotation
