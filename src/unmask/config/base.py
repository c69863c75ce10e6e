"""The base of everything a user can set: strict, immutable, and able to come from one of several files.

A *choice* (which objective, which task, which way of tuning) is a model with one optional field per member:
``{"masked_lm": {"rate": 0.3}, "next_sentence": {}}``. What users type is brought into that form first:
``"masked_lm"``, ``["masked_lm", "next_sentence"]``, ``"masked_lm,next_sentence"``, and with loose settings that go to
the chosen member that has them: ``{"name": "masked_lm", "rate": 0.3}`` or ``{"name": …, "masked_lm.rate": 0.3}``.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from unmask.config.merge import named, nested, overlay, plant
from unmask.config.near import hint


class Config(BaseModel):
    """Settings. Unknown keys are refused; values cannot change after they were checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _settings_of_the_default(cls, value: Any) -> Any:
        """``{"layers": 3}`` without a name changes the model, or the objective, that is the default."""
        if not isinstance(value, dict):
            return value
        defaults = {
            name: field.get_default()
            for name, field in cls.model_fields.items()
            if nested(field.annotation) and not field.is_required()
        }
        return {
            name: overlay(nested(cls.model_fields[name].annotation), defaults[name], given)
            if name in defaults and isinstance(given, dict) and defaults[name] is not None
            else given
            for name, given in value.items()
        }

    @field_validator("*", mode="before")
    @classmethod
    def _no_empty_path(cls, value: Any, info: ValidationInfo) -> Any:
        # Path("") is the current folder, which nobody meant who gave nothing
        empty = value == "" or (isinstance(value, list) and "" in value)
        if empty and _holds(cls.model_fields[str(info.field_name)].annotation, Path):
            raise ValueError("an empty path")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # in Python True is 1, and in YAML yes and on are True
        truths = any(isinstance(one, bool) for one in (value if isinstance(value, list | tuple) else [value]))
        annotation = cls.model_fields[str(info.field_name)].annotation
        if truths and _holds(annotation, int, float) and not _holds(annotation, bool):
            raise PydanticCustomError("truth", "a truth value is no number")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any, info: ValidationInfo) -> Any:
        """A `Path` where an address is wanted, which may be a path or another name, and so is text."""
        if _holds(cls.model_fields[str(info.field_name)].annotation, Path):
            return value
        if isinstance(value, list | tuple):
            return [str(one) if isinstance(one, Path) else one for one in value]
        return str(value) if isinstance(value, Path) else value


class Choice(Config):
    """One or several members of a folder, each with its own settings."""

    several: ClassVar[bool] = False

    @classmethod
    def members(cls) -> list[str]:
        """Names that can be chosen."""
        return list(cls.model_fields)

    @classmethod
    def member(cls, name: str) -> type[Config]:
        """The class behind one name."""
        found = nested(cls.model_fields[name].annotation)
        assert found is not None and issubclass(found, Config)
        return found

    @property
    def chosen(self) -> dict[str, Any]:
        """The chosen members by name, in the order of the folder."""
        return {name: value for name in self.members() if (value := getattr(self, name)) is not None}

    @classmethod
    def spread(cls, value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Any form of a choice as settings by chosen name, and the loose settings that no single chosen member has."""
        value = named(value)
        names = [n.strip() for n in str(value.pop("name", "")).split(",") if n.strip()]
        if twice := next((n for k, n in enumerate(names) if n in names[:k]), None):
            raise PydanticCustomError("choice", "'{name}' is given twice", {"name": twice})
        chosen: dict[str, Any] = {name: {} for name in names}
        # in YAML a member that is named and given nothing reads as None
        chosen |= {key: {} if value[key] is None else value[key] for key in value if key in cls.members()}
        loose = {}
        for key, setting in value.items():
            if key in cls.members():
                continue
            owner, rest = cls._owner(key, chosen)
            if owner:
                member = cls.member(owner)
                chosen[owner] = overlay(member, chosen[owner], plant(member, {rest: setting}))
            else:
                loose[key] = setting
        return chosen, loose

    @classmethod
    def _owner(cls, key: str, chosen: dict[str, Any]) -> tuple[str | None, str]:
        """The one chosen member that has this setting; a lone member gets even what it does not have, to refuse it."""
        head, _, rest = key.partition(".")
        if rest and head in cls.members():
            return (head, rest) if head in chosen else (None, key)
        known = [name for name in chosen if name in cls.members()]
        owners = [name for name in known if head in cls.member(name).model_fields]
        return (owners[0] if len(owners) == 1 else None), key

    @model_validator(mode="before")
    @classmethod
    def _bring_into_form(cls, value: Any) -> Any:
        if not isinstance(value, str | list | tuple | dict):
            return value
        chosen, loose = cls.spread(value)
        for name in chosen:
            if name not in cls.members():
                context = {"name": name, "hint": hint(name, cls.members())}
                raise PydanticCustomError("choice", "there is no '{name}'; {hint}", context)
        if not chosen or (len(chosen) > 1 and not cls.several):
            wanted = "at least one" if cls.several else "exactly one"
            raise PydanticCustomError("choice", f"choose {wanted} of {', '.join(cls.members())}")
        for key in loose:
            context = {"key": key, "why": cls._why_loose(key, list(chosen))}
            raise PydanticCustomError("misplaced", "{why}", context)
        return chosen

    @classmethod
    def _why_loose(cls, key: str, chosen: list[str]) -> str:
        head, _, rest = key.partition(".")
        if rest and head in cls.members():
            return f"{head} is not chosen; chosen is {' and '.join(chosen)}"
        owners = [name for name in cls.members() if head in cls.member(name).model_fields]
        if len(shared := [name for name in owners if name in chosen]) > 1:
            return f"{' and '.join(shared)} have it; say whose it is, as in {shared[0]}.{key}"
        if owners:
            return f"belongs to {' and '.join(owners)}; chosen is {' and '.join(chosen)}"
        return f"{' and '.join(chosen)} {'has' if len(chosen) == 1 else 'have'} no such option"

    @model_serializer(mode="wrap")
    def _only_the_chosen(self, handler: Any) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


def _holds(annotation: Any, *kinds: type) -> bool:
    return annotation in kinds or any(_holds(part, *kinds) for part in get_args(annotation))


@cache
def folder(package: str) -> dict[str, type[Config]]:
    """The configs of a folder by file name: the folder is the registry.

    Every file except ``base`` and those that begin with ``_`` holds one class that bears the file's name in CamelCase.
    """
    home = importlib.import_module(package)
    names = sorted(m.name for m in pkgutil.iter_modules(home.__path__) if m.name != "base" and m.name[0] != "_")
    return {name: config_of(importlib.import_module(f"{package}.{name}")) for name in names}


def config_of(module: ModuleType) -> type[Config]:
    """The class that bears its file's name."""
    wanted = module.__name__.rpartition(".")[2].replace("_", "")
    for key, value in vars(module).items():
        if key.lower() == wanted and isinstance(value, type) and issubclass(value, Config):
            return value
    raise TypeError(f"{module.__name__} must define a Config that bears the file's name in CamelCase")


def choice(title: str, package: str, several: bool = False) -> type[Choice]:
    """A `Choice` among the files of a folder; exactly one of them unless ``several``."""
    fields: dict[str, Any] = {
        name: (member | None, Field(None, description=(member.__doc__ or "").strip().split("\n")[0]))
        for name, member in folder(package).items()
    }
    made = create_model(title, __base__=Choice, **fields)
    made.several = several
    return made
