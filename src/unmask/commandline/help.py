"""Help: every option, those of every choice included, with meaning, what fits and default."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

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
    console, places = Console(highlight=False), positional(cls)
    own = [
        *places,
        *(name for name, field in cls.model_fields.items() if field.is_required()),
        *cls.__annotations__,
    ]
    listed = sorted(level(cls), key=lambda option: own.index(option.path) if option.path in own else len(own))
    with console.capture() as told:
        needed = [f"{dashed(o.path)} …" for o in listed if o.field.is_required() and o.path not in places]
        usage = ["unmask", cls.__name__.lower(), *map(str.upper, places), *needed, "[options]"]
        console.print(Text("Usage: " + " ".join(usage) + "\n"))
        for paragraph in inspect.cleandoc(cls.__doc__ or "").replace("``", "`").split("\n\n"):
            drawn = any(line.startswith((" ", "-")) for line in paragraph.splitlines())
            console.print(Text((paragraph if drawn else " ".join(paragraph.split())) + "\n"))
        for option in listed:
            _entry(console, option, option.short.upper() if option.short in places else None)
        _print(
            console,
            "--recipe",
            "a YAML file",
            "Settings by these names; options on the command line win over them",
        )
        _groups(console, listed)
    # rich fills lines up with blanks
    print("\n".join(map(str.rstrip, told.get().splitlines())))


def _groups(console: Console, parents: Iterable[Option]) -> None:
    for option in parents:
        for below, path, short in groups(option):
            console.print(Text.assemble("\n", (_title(option, below, path), "bold underline")))
            for entry in level(below, path, short):
                _entry(console, entry, default=not option.takes_name)
            _groups(console, level(below, path, short))


def _title(option: Option, below: type[Config], path: tuple[str, ...]) -> str:
    if option.choice:
        return f"{dashed(option.short)} {path[-1]}: {inspect.cleandoc(below.__doc__ or '').split(chr(10))[0]}"
    return f"{dashed(option.short)}.…: {'in place of what is named' if option.takes_name else 'its settings'}"


def _entry(console: Console, option: Option, name: str | None = None, default: bool = True) -> None:
    name = name or dashed(option.short)
    if option.is_flag:
        name = f"{name} / --no-{name.removeprefix('--')}"
    meaning = option.field.description or ""
    told = [] if option.is_flag or option.fits == meaning else [option.fits]
    _print(console, name, "; ".join([*told, _default(option)] if default else told).removesuffix("; "), meaning)


def _print(console: Console, name: str, told: str, meaning: str) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_row(Text(name, style="bold"), Text(told, style="dim"))
    console.print(table)
    console.print(Padding(Text(meaning), (0, 0, 0, 6)))


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
