"""The one kind of error a user can cause."""

import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 400
"""Characters of a word that a message repeats."""


class UserError(Exception):
    """Bad input. One line that names the file, row or option and says what would fit; exit code 2."""

    def __init__(self, message: str):
        super().__init__(plain(message))


def plain(text: str) -> str:
    """A text that may repeat what a file holds: on one line, without control characters, its longest words cut."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else repr(c)[1:-1] for c in text)
    return re.sub(rf"(\S{{{LONGEST // 2}}})\S{{{LONGEST // 2},}}(\S{{20}})", r"\1…\2", shown)


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its name if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def found(value: Any) -> str:
    """A Python value in a message: on one line, not too long."""
    return " ".join(reprlib.repr(value).split())


def as_list(values: Any, fits: str) -> list[Any]:
    """What somebody gave as a list, or anything else with an order.

    Raises:
        UserError: it is none, such as a bare text; ``fits`` says what would be.
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | bytearray | Mapping | set | frozenset):
        raise UserError(f"{found(values)}: must be a list, {fits}; put a single one in a list")
    return list(values)


def is_text(value: Any) -> bool:
    """Whether it is a text that can be written down: half a character (a lone surrogate) cannot."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
