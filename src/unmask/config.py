"""The base of everything a user can set: strict, immutable, and able to come from one of several files.

A *choice* (which objective, which task, which way of tuning) is a model with one optional field per member:
``{"masked_lm": {"rate": 0.3}, "next_sentence": {}}``. What users type is brought into that form first:
``"masked_lm"``, ``["masked_lm", "next_sentence"]``, ``"masked_lm,next_sentence"``, or, from the command line,
``{"name": "masked_lm", "rate": 0.3}``.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator


class Config(BaseModel):
    """Settings. Unknown keys are refused; values cannot change after they were checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Choice(Config):
    """One or several members of a folder, each with its own settings."""

    @classmethod
    def members(cls) -> list[str]:
        """Names that can be chosen."""
        return list(cls.model_fields)

    @property
    def chosen(self) -> dict[str, Any]:
        """The chosen members by name, in the order of the folder."""
        return {name: value for name in self.members() if (value := getattr(self, name)) is not None}

    @model_validator(mode="before")
    @classmethod
    def _bring_into_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, list | tuple):
            value = {"name": ",".join(map(str, value))}
        if not isinstance(value, dict):
            return value
        return cls._spread(dict(value))

    @classmethod
    def _spread(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Give loose settings (``rate``) to the one chosen member that has them."""
        names = [n.strip() for n in str(value.pop("name", "")).split(",") if n.strip()]
        chosen = {name: dict(value.pop(name, None) or {}) for name in names}
        chosen |= {name: value.pop(name) for name in cls.members() if value.get(name) is not None}
        for key in [k for k in value if k not in cls.members()]:
            owners = [n for n in chosen if n in cls.members() and key in cls.member(n).model_fields]
            owners = owners or ([n for n in chosen if n in cls.members()] if len(chosen) == 1 else [])
            if len(owners) == 1 and isinstance(chosen[owners[0]], dict):
                chosen[owners[0]] = {**chosen[owners[0]], key: value.pop(key)}
        return {**{k: v for k, v in value.items() if v is not None}, **chosen}

    @classmethod
    def member(cls, name: str) -> type[Config]:
        """The class behind one name."""
        annotation: type[Config] = cls.model_fields[name].annotation.__args__[0]  # type: ignore[union-attr]
        return annotation


@cache
def folder(package: str) -> dict[str, type[Config]]:
    """The configs of a folder by file name: the folder is the registry.

    Every file except ``base`` holds one class that bears the file's name in CamelCase.
    """
    home = importlib.import_module(package)
    names = sorted(m.name for m in pkgutil.iter_modules(home.__path__) if m.name != "base")
    return {name: _config_of(importlib.import_module(f"{package}.{name}"), name) for name in names}


def _config_of(module: Any, name: str) -> type[Config]:
    wanted = name.replace("_", "").lower()
    for key, value in vars(module).items():
        if key.lower() == wanted and isinstance(value, type) and issubclass(value, Config):
            return value
    raise TypeError(f"{module.__name__} must define a Config named {name.title().replace('_', '')}")


def choice(title: str, package: str, several: bool = False) -> type[Choice]:
    """A `Choice` among the files of a folder; exactly one of them unless ``several``."""

    def check(self: Any) -> Any:
        if not self.chosen or (len(self.chosen) > 1 and not several):
            wanted = "at least one" if several else "exactly one"
            raise ValueError(f"choose {wanted} of: {', '.join(self.members())}")
        return self

    fields: dict[str, Any] = {
        name: (member | None, Field(None, description=(member.__doc__ or "").strip().split("\n")[0]))
        for name, member in folder(package).items()
    }
    validators: dict[str, Any] = {"_check_number": model_validator(mode="after")(check)}
    return create_model(title, __base__=Choice, __validators__=validators, **fields)
