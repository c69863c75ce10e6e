"""The program: a word to a command, and one line where something fails."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import traceback

from unmask.calls import command, words
from unmask.commandline.arguments import dashed, parse, spelling
from unmask.config import Config, build
from unmask.config.near import hint
from unmask.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_MEMORY = "DefaultCPUAllocator"  # torch has no error of its own for a processor's memory


def main(argv: list[str]) -> int:
    """Run one command. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted, 141 reader gone."""
    try:
        _dispatch(argv)
        sys.stdout.flush()
        return 0
    except UserError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # Python flushes standard output once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return _fail(*_told(error, argv[0]))


def _told(error: Exception, word: str) -> tuple[str, int]:
    """What to say of an error that is not bad input, and the exit code."""
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _FULL):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}", 2
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or _NO_MEMORY in str(error):
        fields = command(word).model_fields
        length = "--length" if "length" in fields else "--task.length"
        less = f"; --accumulate 4, or a smaller --batch-size or {length}, takes less"
        return "the memory is full" + (less if "accumulate" in fields else ""), 1
    return f"internal error: {type(error).__name__}: {error} ({_traceback()})", 1


def _dispatch(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        from unmask.commandline.help import program_help

        return program_help()
    if argv[0] == "--version":
        from importlib.metadata import version

        return print(version("unmask"))
    if argv[0] not in (known := words()):
        what = "option" if argv[0].startswith("-") else "command"
        raise UserError(f"{argv[0]}: no such {what}; {hint(argv[0], known)}")
    _run(argv[0], argv[1:])


def _run(word: str, argv: list[str]) -> None:
    cls = command(word)
    arguments = parse(cls, argv)
    if arguments.help:
        from unmask.commandline.help import command_help

        return command_help(cls)
    shown = spelling(cls, arguments)
    try:
        config = build(cls, arguments.given, arguments.recipe, lambda path: shown.get(path, f"--{path}"))
        config.run()  # type: ignore[attr-defined]
    except UserError as error:
        raise UserError(_as_options(cls, str(error))) from error


def _as_options(cls: type[Config], message: str) -> str:
    """What Python calls ``top_k`` is ``--top-k`` here."""
    names = "|".join(name for name in cls.model_fields if "_" in name)
    found = re.compile(rf"(?<![\w.:/'-])({names})(?![\w./'-])")
    return found.sub(lambda name: dashed(name[1]), message) if names else message


def _fail(message: str, code: int) -> int:
    if os.environ.get("UNMASK_TRACEBACK") and code != 130:
        traceback.print_exc()
    print("unmask: " + " ".join(message.split()), file=sys.stderr)
    return code


def _traceback() -> str:
    """Where the traceback of what just happened was written."""
    if os.environ.get("UNMASK_TRACEBACK"):
        return "traceback above"
    with tempfile.NamedTemporaryFile("w", prefix="unmask-", suffix=".txt", delete=False, encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return f"please report it with {file.name}"
