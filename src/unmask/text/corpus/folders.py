"""The folder of a corpus while it is made: whose it is, and with which settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from unmask.disk import replace_file
from unmask.errors import UserError
from unmask.text.corpus.corpus import HELD_OUT, INDEX

SETTINGS = "prepare.json"
PHRASES = "phrases.txt"
"""Phrases that the text itself shows: text, score and count in columns, the best first."""


def begin(out: Path, wanted: dict[str, Any]) -> bool:
    """Note the settings, or compare them. Whether there is anything to do."""
    wanted = json.loads(json.dumps(wanted, default=str))
    if not (out / SETTINGS).is_file():
        write_json(out / SETTINGS, wanted)
        return True
    before = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    if changed := [name for name in dict.fromkeys([*before, *wanted]) if before.get(name) != wanted.get(name)]:
        shown = "; ".join(_change(name, before.get(name), wanted.get(name)) for name in changed)
        raise UserError(f"{out}: was prepared otherwise ({shown}); give another --out, or --overwrite")
    return not (out / INDEX).is_file()


def _change(name: str, before: Any, after: Any) -> str:
    if name != "files":
        return f"{name}: {before} -> {after}"
    files = sorted({str(entry[0]) for entry in [*before, *after] if entry not in before or entry not in after})
    return f"{len(files)} files changed, the first {files[0]}" if files else "the files' order changed"


def claim(out: Path) -> None:
    """Nothing is written into a folder that holds anything but a corpus."""
    inside = [path.name for path in out.iterdir() if path.name != ".lock"]
    if inside and SETTINGS not in inside:
        raise UserError(f"{out}: holds {inside[0]} and is no corpus; give a new or empty folder as --out")


def clear(out: Path) -> None:
    """Delete a corpus, so that at every instant what is left is an unfinished one."""
    (out / INDEX).unlink(missing_ok=True)
    for name in ("shards", HELD_OUT, ".tokenizer"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("tokenizer.json", "tokenizer_config.json", PHRASES, SETTINGS):
        (out / name).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a file so that it is there as a whole or not at all."""
    replace_file(path, json.dumps(value, indent=1, ensure_ascii=False).encode())
