"""Show what there is: models, objectives, tasks, tuning methods, tokenizers or word vectors, with their papers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from rich.console import Console
from rich.table import Table

from unmask.config import Config, describe, folder

Kind = Literal["models", "objectives", "tasks", "tuning", "tokenizers", "vectors"]

TOKENIZERS = (
    (
        "wordpiece",
        "Pieces of words, the longest first, as BERT has",
        "Schuster & Nakajima 2012; Wu 2016 (1609.08144)",
    ),
    (
        "bpe",
        "Pairs merged by frequency, over bytes, as RoBERTa and ModernBERT have",
        "Sennrich 2015 (1508.07909)",
    ),
    ("unigram", "Pieces of the likeliest cut, as ALBERT has", "Kudo 2018 (1804.10959)"),
    ("characters", "One token per character", "none"),
)


class List(Config):
    """Show what there is, with the paper it comes from."""

    positional: ClassVar[tuple[str, ...]] = ("what",)

    what: Kind = Field(description="What to list")

    def run(self) -> list[str]:
        """Print a table; the names are returned."""
        table = table_of(self.what)
        Console(highlight=False).print(table)
        return list(map(str, table.columns[0].cells))


def table_of(what: Kind) -> Table:
    """What there is of a kind."""
    tables = {"models": _models, "objectives": _objectives, "tokenizers": _tokenizers}
    folders = {"vectors": "static.methods"}
    return tables.get(what, lambda: _folder(folders.get(what, what)))()


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", caption_justify="left")
    for column in columns:
        numeric = column in ("layers", "width", "heads", "parameters")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric or column == "name")
    return table


def _models() -> Table:
    from unmask.presets import PAPERS, PRESETS

    table = _table("name", "layers", "width", "heads", "parameters", "paper")
    table.caption = (
        "parameters are counted with the paper's vocabulary and without heads; "
        "a run has the vocabulary of its tokenizer, and --dry-run says how many that makes"
    )
    for name, shape in PRESETS.items():
        numbers = (shape.layers, shape.width, shape.heads, f"{shape.parameters / 1e6:.1f} M")
        table.add_row(name, *map(str, numbers), PAPERS[name])
    return table


def _objectives() -> Table:
    from unmask.objectives.base import Objective

    table = _table("name", "what it is", "trains", "settings", "paper")
    for name, cls in folder("unmask.objectives").items():
        assert issubclass(cls, Objective)
        trains = " or ".join(flow.replace("_", "-") for flow in cls.flows)
        beside = "".join(f", with {other}" for other in cls.needs)
        settings = ", ".join(f"{key} {value}" for key, value in describe.settings(cls).items() if key != "weight")
        table.add_row(name, describe.paragraphs(cls)[0], trains + beside, settings, describe.paper(cls))
    return table


def _folder(name: str) -> Table:
    table = _table("name", "what it is", "paper")
    for member, cls in folder(f"unmask.{name}").items():
        table.add_row(member, describe.paragraphs(cls)[0], describe.paper(cls))
    return table


def _tokenizers() -> Table:
    table = _table("name", "what it is", "paper")
    for row in TOKENIZERS:
        table.add_row(*row)
    return table
