"""What a class of a folder says of itself: its title, its paper, what it is, what can be set."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from unmask.config.base import Config

_PAPER = re.compile(r"\s*\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")


def title(cls: type[Config]) -> str:
    """How its file begins, up to the paper: ``Masked language modelling``."""
    return _PAPER.split(_file(cls))[0]


def paper(cls: type[Config]) -> str:
    """What stands in brackets in the first paragraph of its file: ``Masked … (Devlin 2018, BERT, 1810.04805): …``."""
    found = _PAPER.search(_file(cls))
    return found[1] if found else ""


def question(cls: type[Config]) -> str:
    """What stands there after the paper: ``what stood where tokens are hidden?``."""
    return _PAPER.split(_file(cls))[-1].lstrip(":., ")


def paragraphs(cls: type[Config]) -> list[str]:
    """Its docstring; the first paragraph is one sentence."""
    return [" ".join(part.split()) for part in inspect.cleandoc(cls.__doc__ or "").split("\n\n")]


def settings(cls: type[Config], beside: type[Config]) -> dict[str, str]:
    """What can be set of it beside what others of its kind have too, with defaults as people write them."""
    own = {name: field for name, field in cls.model_fields.items() if name not in beside.model_fields}
    return {name: written(field.get_default(call_default_factory=True)) for name, field in own.items()}


def written(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _file(cls: type[Config]) -> str:
    """The first paragraph of its file."""
    text = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
    return " ".join(text.split("\n\n")[0].split())
