"""Write docs/methods.md: everything that can be chosen by name, as it stands in the code.

Run ``python docs/make_methods.py`` after adding a file to objectives/, tasks/ or tuning/, or a preset.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from unmask.commands.list import TOKENIZERS
from unmask.config import Config, folder
from unmask.presets import PAPERS, PRESETS

HOME = Path(__file__).parent / "methods.md"
FOLDERS = {
    "objectives": (
        "Objectives",
        "What a model is asked while it is pre-trained: `--objective NAME`, several by commas.",
    ),
    "tasks": ("Tasks", "Objectives whose answers people gave: `--task NAME`."),
    "tuning": ("Tuning", "Which weights move in fine-tuning, and which are added: `--tuning NAME`."),
}


def main() -> None:
    """Write the page."""
    HOME.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as Markdown."""
    parts = ["# Methods", "Made by `python docs/make_methods.py`; a test checks that it is up to date."]
    for name, (title, meaning) in FOLDERS.items():
        rows = ((f"`{m}`", summary(cls), settings(cls)) for m, cls in folder(f"unmask.{name}").items())
        parts += [f"## {title}", meaning, table(("name", "what it is, and its paper", "settings"), rows)]
    parts += [
        "## Models",
        "Shapes by name: `--model NAME`; any number of theirs is an option (`--model.layers 3`).",
    ]
    parts.append(table(("name", "layers", "width", "heads", "parameters", "paper"), models()))
    parts += [
        "## Tokenizers",
        "Trained by `unmask prepare --tokenizer-kind NAME`, or loaded by `--tokenizer PATH`.",
    ]
    parts.append(table(("name", "what it is", "paper"), ((f"`{n}`", *rest) for n, *rest in TOKENIZERS)))
    return "\n\n".join(parts) + "\n"


def models() -> Iterable[tuple[str, ...]]:
    """A row for every preset."""
    for name, shape in PRESETS.items():
        numbers = (shape.layers, shape.width, shape.heads, f"{shape.parameters / 1e6:.1f} M")
        yield (f"`{name}`", *map(str, numbers), PAPERS[name])


def summary(cls: type[Config]) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split())


def settings(cls: type[Config]) -> str:
    """The options of one method with their defaults."""
    fields = {name: field for name, field in cls.model_fields.items() if name != "weight"}
    return ", ".join(f"`{name}` {plain(field.get_default())}" for name, field in fields.items()) or "none"


def plain(default: object) -> str:
    """A default as a reader would write it."""
    words = {None: "(not set)", True: "yes", False: "no"}
    return words[default] if default is None or isinstance(default, bool) else str(default)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(re.sub(r"\|", r"\\|", cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main()
