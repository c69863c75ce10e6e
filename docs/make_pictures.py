"""Write docs/objectives.md, docs/objectives.html and docs/pictures/: what every objective makes of a sentence.

Run ``python docs/make_pictures.py`` after adding or changing an objective. The folder is walked: a new file is covered
without being named, and so is each of its options that is a choice between names and changes what is to be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from unmask.config import Config, folder
from unmask.insight import html, svg
from unmask.insight.sheet import Method, Sheet, sheet
from unmask.objectives.base import Objective, in_turn

HOME = Path(__file__).parent
TITLE = "What each objective asks of a model"
SUMMARY = (
    "Every objective of pre-training on the same sentence, in the order of their papers: what the model reads, what it "
    "has to answer, and which token may attend to which."
)
NOTE = (
    "The sentence is J. R. Firth's of 1957; vocabularies are its own words. Chance decides anew for every text and "
    "epoch: of 64 draws one is shown for each thing that may come of it, and of these one in which most happens."
)
HINT = "Point at a token, or at a row of a matrix, to see what it may attend to."
LANGUAGES = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True)
class Entry:
    """An objective, or one of its options."""

    name: str
    option: str  # "" or "unit whole_word"
    sheets: dict[str, Sheet]  # by language

    @property
    def file(self) -> str:
        """What its pictures are called, up to the language."""
        return "-".join([self.name, *self.option.split()])

    @property
    def method(self) -> Method:
        """What its file says."""
        return next(method for method in self.sheets["en"].methods if method.name == self.name)

    @property
    def heading(self) -> str:
        """What it is."""
        return self.option.replace("_", " ") or self.method.title

    @property
    def section(self) -> html.Section:
        """Of the page."""
        return html.Section(self.file, self.heading, [self.method], list(self.sheets.values()), bool(self.option))


def main() -> None:
    """Write everything, and delete pictures of what is gone."""
    made = files()
    (HOME / "pictures").mkdir(exist_ok=True)
    for old in (HOME / "pictures").iterdir():
        if old not in made:
            old.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")


def files() -> dict[Path, str]:
    """Every file by its path."""
    entries = sorted(_entries(), key=_when)
    pictures = {
        HOME / "pictures" / f"{entry.file}.{language}.svg": svg.picture(found)
        for entry in entries
        for language, found in entry.sheets.items()
    }
    pictures[HOME / "pictures" / "legend.svg"] = svg.legend()
    sections = [entry.section for entry in entries]
    page = html.book(TITLE, "unmask", f"{SUMMARY} {HINT}", sections, [NOTE])
    return {HOME / "objectives.md": markdown(entries), HOME / "objectives.html": page, **pictures}


def markdown(entries: list[Entry]) -> str:
    """The page that a repository shows."""
    parts = [
        f"# {TITLE}",
        f"{SUMMARY} {NOTE} [objectives.html](objectives.html) is the same as one page that can be pointed at.",
        "Made by `python docs/make_pictures.py`; a test checks that it is up to date. "
        '`unmask inspect corruption "a text" --objective NAME` shows the same of any text.',
        '<img src="pictures/legend.svg" alt="What the colours mean">',
    ]
    for entry in entries:
        parts += [f"### {entry.heading}"] if entry.option else _introduced(entry)
        parts.append(" ".join(_image(entry, language) for language in LANGUAGES))
    return "\n\n".join(parts) + "\n"


def _introduced(entry: Entry) -> list[str]:
    method = entry.method
    paper = f"[{method.paper}](https://arxiv.org/abs/{method.number})" if method.number else method.paper
    settings = " · ".join(f"{name} {value}" for name, (value, _) in method.settings.items())
    question = method.question[:1].upper() + method.question[1:]
    return [
        f"## {entry.heading} `{entry.name}`",
        f"*{question}* {' '.join([method.sentence, *method.notes])}",
        " · ".join(filter(None, [paper, settings])),
    ]


def _image(entry: Entry, language: str) -> str:
    told = svg.told(entry.sheets[language]).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'<img src="pictures/{entry.file}.{language}.svg" align="top" alt="{LANGUAGES[language]}. {told}">'


def _entries() -> Iterator[Entry]:
    for name, cls in folder("unmask.objectives").items():
        assert issubclass(cls, Objective)
        usual = _entry(name, cls, {})
        assert usual is not None
        yield usual
        seen = [_looks(usual)]
        for key, value in _choices(cls):
            entry = _entry(name, cls, {key: value})
            if entry and _looks(entry) not in seen:
                seen.append(_looks(entry))
                yield entry


def _choices(cls: type[Config]) -> Iterator[tuple[str, Any]]:
    """Options that are names to choose from, and lists of such names, with each value that is not the default."""
    for key, field in cls.model_fields.items():
        kind = field.annotation
        several = get_origin(kind) in (list, tuple)
        named = get_args(kind)[0] if several else kind
        if get_origin(named) is Literal:
            values = [[value] if several else value for value in get_args(named)]
            yield from ((key, value) for value in values if value != field.default)


def _entry(name: str, cls: type[Objective], settings: dict[str, Any]) -> Entry | None:
    """None where the settings ask for more than their names (a file, another option)."""
    known: Any = folder("unmask.objectives")
    try:
        asked = {**{other: known[other](**given) for other, given in cls.needs.items()}, name: cls(**settings)}
        for objective in asked.values():
            objective.beside(asked)
    except (ValidationError, ValueError):
        if not settings:
            raise
        return None
    sheets = {language: sheet(in_turn(asked), [], language=language) for language in LANGUAGES}
    told = (f"{key} {','.join(value) if isinstance(value, list) else value}" for key, value in settings.items())
    return Entry(name, " ".join(told), sheets)


def _looks(entry: Entry) -> list[str]:
    return [svg.picture(found) for found in entry.sheets.values()]


def _when(entry: Entry) -> tuple[str, str, str]:
    """When its paper came out: by its number, or in the middle of its year."""
    year = re.search(r"\b(?:19|20)(\d\d)\b", entry.method.paper)
    return entry.method.number or (f"{year[1]}06" if year else ""), entry.name, entry.option


if __name__ == "__main__":
    main()
