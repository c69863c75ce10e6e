"""Help: every option, those of every choice included, with meaning, what fits and default."""

from __future__ import annotations

import inspect
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unmask.calls import positional, words
from unmask.commandline.arguments import dashed
from unmask.config import Config
from unmask.config.schema import Option, groups, level


def program_help() -> None:
    """Print the commands."""
    console = Console(highlight=False)
    console.print("Usage: unmask COMMAND …        unmask COMMAND --help\n")
    table = Table.grid(padding=(0, 2, 0, 0))
    for word, summary in words().items():
        table.add_row(Text(f"  {word}", style="bold"), Text(summary))
    console.print(table)
    console.print("\nEvery command takes --recipe FILE.yaml; options on the command line win over it.")


def command_help(cls: type[Config]) -> None:
    """Print one command: usage, then its options, then those of nested settings and of all that can be chosen."""
    console = Console(highlight=False)
    places = positional(cls)
    needed = [f"{dashed(o.short)} …" for o in level(cls) if o.field.is_required() and o.short not in places]
    usage = ["unmask", cls.__name__.lower(), *map(str.upper, places), *needed, "[options]"]
    console.print(Text("Usage: " + " ".join(usage) + "\n"))
    console.print(Text(inspect.cleandoc(cls.__doc__ or "") + "\n"))
    for option in level(cls):
        _entry(console, option, option.short.upper() if option.short in places else None)
    console.print(Text.assemble(("--recipe", "bold"), "  ", ("a YAML file", "dim")))
    _meaning(console, "Settings by these names; options on the command line win over them")
    _groups(console, level(cls))


def _groups(console: Console, parents: Any) -> None:
    for option in parents:
        for below, path, short in groups(option):
            console.print(Text.assemble("\n", (_title(option, below, path), "bold underline")))
            for entry in level(below, path, short):
                _entry(console, entry, default=not option.takes_name)
            _groups(console, level(below, path, short))


def _title(option: Option, below: type[Config], path: tuple[str, ...]) -> str:
    if option.choice:
        return f"{dashed(option.short)} {path[-1]}: {inspect.cleandoc(below.__doc__ or '').split(chr(10))[0]}"
    return (
        f"{dashed(option.short)}: {'what is not given is as named' if option.takes_name else 'its settings'}"
    )


def _entry(console: Console, option: Option, name: str | None = None, default: bool = True) -> None:
    name = name or dashed(option.short)
    if option.is_flag:
        name = f"{name} / --no-{name.removeprefix('--')}"
    told = [option.fits] if not option.is_flag else []
    told += [_default(option)] if default else []
    console.print(Text.assemble((name, "bold"), "  ", ("; ".join(filter(None, told)), "dim")))
    _meaning(console, option.field.description or "")


def _meaning(console: Console, text: str) -> None:
    if text:
        console.print(Padding(Text(text), (0, 0, 0, 6)))


def _default(option: Option) -> str:
    if option.field.is_required():
        return "required"
    value = option.field.get_default(call_default_factory=True)
    if isinstance(value, Config):
        return ""
    if isinstance(value, bool):
        return f"default {'yes' if value else 'no'}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return f"default {'none' if value in (None, '') else value}"
