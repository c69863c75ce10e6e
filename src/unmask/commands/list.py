"""Show what there is: models, objectives, embeddings, tasks, tuning methods, tokenizers, word vectors; with papers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from unmask.config import Config, describe, folder

if TYPE_CHECKING:
    from unmask.models.shape import Shape

Kind = Literal["models", "objectives", "embeddings", "tasks", "tuning", "tokenizers", "vectors"]

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


EMBEDDINGS = (
    ("subword", "A vector for each token, learned", "Devlin 2018 (1810.04805)"),
    (
        "char_cnn",
        "A token's vector from its letters: convolutions and highways",
        "Kim 2015 (1508.06615); Peters 2018 (1802.05365)",
    ),
    (
        "fasttext_ngrams",
        "The mean of a token's own vector and those of its n-grams of letters",
        "Bojanowski 2016 (1607.04606)",
    ),
    (
        "glyph_cnn",
        "A token's own vector, and for a Chinese character one of its image as a font draws it",
        "Meng 2019 (Glyce, 1901.10125)",
    ),
)
"""What `--model.embedding` can be."""

LINE = ("model", "size", "embedding", "body", "train", "run", "context")
TO_TRAIN, TO_RUN = 16, 4
"""Bytes for each weight: itself, its gradient and AdamW's two memories; and itself."""
WIDE = 140
"""Columns of a terminal from which a table is read more easily than lines."""
SIZES = ("tiny", "mini", "small", "medium", "base", "large", "xlarge", "xxlarge", "xsmall")


class List(Config):
    """Show what there is, with the paper it comes from."""

    positional: ClassVar[tuple[str, ...]] = ("what",)

    what: Kind = Field(description="What to list")
    plot: Path | None = Field(None, description="Of models: a page (.html) that draws their sizes over the years")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.plot and (self.what != "models" or self.plot.suffix != ".html"):
            raise ValueError(f"--plot {self.plot}: only models are drawn, as a page; list models --plot models.html")
        return self

    def run(self) -> list[str]:
        """Print a table, or draw one; the names are returned."""
        table, console = table_of(self.what), Console(highlight=False)
        if self.plot:
            _draw(self.plot)
        elif self.what == "models":
            _print_models(console)
        elif console.width < WIDE:
            _print_narrow(table, console)
        else:
            console.print(table)
        return list(map(str, table.columns[0].cells))


def table_of(what: Kind) -> Table:
    """What there is of a kind."""
    if what in (known := {"tokenizers": TOKENIZERS, "embeddings": EMBEDDINGS}):
        return _told(known[what])
    tables = {"models": _models, "objectives": _objectives}
    folders = {"vectors": "static.methods"}
    return tables.get(what, lambda: _folder(folders.get(what, what)))()


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", caption_justify="left")
    for column in columns:
        numeric = column in _Row._fields[1:-2]
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric or column == "name")
    return table


class _Row(NamedTuple):
    """What is told of a model."""

    name: str
    layers: str
    width: str
    embeddings: str
    body: str
    train: str
    run: str
    context: str
    kind: str
    paper: str


MEANINGS = (
    "parameters are counted with the paper's vocabulary and without heads; a run has the vocabulary of its tokenizer. "
    "train and run are the memory of weights, in float32 with AdamW's; the texts of a step come on top, and --dry-run "
    "says what all of it takes. size is layers × width, context the longest text in tokens"
)


def _rows() -> list[_Row]:
    from unmask.papers import PAPERS
    from unmask.presets import PRESETS

    return [_row(name, shape, PAPERS[name]) for name, shape in PRESETS.items()]


def _row(name: str, shape: Shape, paper: str) -> _Row:
    from unmask.models.counting import of_tokens, parameters

    count, tokens = parameters(shape), of_tokens(shape)
    layers = f"{shape.layers}+{shape.decoder_layers}" if shape.decoder_layers else str(shape.layers)
    sizes = (f"{tokens / 1e6:.1f} M", f"{(count - tokens) / 1e6:.1f} M")
    memory = (f"{TO_TRAIN * count / 1e9:.2f} GB", f"{TO_RUN * count / 1e9:.2f} GB")
    return _Row(name, layers, str(shape.width), *sizes, *memory, str(shape.max_length), _kind(shape.flow), paper)


def _kind(flow: str) -> str:
    return flow.replace("_", "-")


def _models() -> Table:
    table = _table(*_Row._fields)
    table.caption = MEANINGS
    for row in _rows():
        table.add_row(*row)
    return table


def _print_models(console: Console) -> None:
    """By paper, so that a line has room for a model; and what each kind can be pre-trained with."""
    console.print("{:<23}{:>12}{:>10}{:>9}{:>9}{:>9}{:>8}".format(*LINE), style="bold")
    for (paper, kind), rows in groupby(_rows(), lambda row: (row.paper, row.kind)):
        console.print(f"{paper}, {kind}", style="dim")
        for row in rows:
            size = f"{row.layers} × {row.width}"
            sizes = (row.embeddings, row.body, row.train, row.run, row.context)
            console.print("  {:<21}{:>12}{:>10}{:>9}{:>9}{:>9}{:>8}".format(row.name, size, *sizes))
    console.print(f"\n{MEANINGS}.\n", style="dim")
    for kind, names in trained_with().items():
        console.print(f"{kind} can be pre-trained with {', '.join(names)}")
    for families, names in refusing().items():
        console.print(f"{families} as listed: not with {', '.join(names)}")


def _print_narrow(table: Table, console: Console) -> None:
    """A row as lines one below the other."""
    headers = [str(column.header) for column in table.columns]
    for name, *cells in zip(*(column.cells for column in table.columns), strict=True):
        console.print(name, style="bold")
        for header, cell in zip(headers[1:], cells, strict=True):
            if cell:
                told = cell if header == headers[1] else f"{header}: {cell}"
                console.print(Padding(told, (0, 0, 0, 2)), style=None if header == headers[1] else "dim")


def trained_with() -> dict[str, list[str]]:
    """The objectives that can train each kind of model."""
    from unmask.objectives.base import that_train
    from unmask.presets import PRESETS

    known = folder("unmask.objectives")
    return {
        _kind(shape.flow): [name + _beside(known[name]) for name in that_train(shape.flow)]
        for shape in PRESETS.values()
    }


def _beside(objective: Any) -> str:
    """What has to come along."""
    others = [*objective.needs, *(["a corpus with fields"] if objective.fields else [])]
    return f" (with {' and '.join(others)})" if others else ""


def refusing() -> dict[str, list[str]]:
    """Objectives that train models of a kind but for some: whose presets refuse which."""
    from unmask.objectives.base import refused_by
    from unmask.presets import PRESETS

    found: dict[tuple[str, ...], list[str]] = {}
    for name, shape in PRESETS.items():
        if refused := refused_by(shape):
            found.setdefault(tuple(refused), []).append(_family(name))
    return {", ".join(dict.fromkeys(families)): list(names) for names, families in found.items()}


def _draw(out: Path) -> None:
    """Those that a paper made, at the year of it."""
    from unmask.models.counting import parameters
    from unmask.presets import PRESETS
    from unmask.report.family import Drawn, write_family

    rows = _rows()
    own = [row for row in rows if not row.paper.startswith("in proportion")]
    models = [
        Drawn(
            family=_family(row.name),
            published=_published(row.paper),
            parameters=parameters(PRESETS[row.name]),
            **row._asdict(),
        )
        for row in own
    ]
    print(write_family(models, MEANINGS, len(rows) - len(own), out))


def _family(name: str) -> str:
    """``bert`` of bert-base."""
    head, _, size = name.rpartition("-")
    return head if size in SIZES or size.isdigit() else name


def _published(paper: str) -> str:
    """Year, and arXiv's number, which tells the month, where there is one: ``2018.1810.04805``."""
    year, number = re.search(r"\b(?:19|20)\d\d\b", paper), re.search(r"\d{4}\.\d{5}", paper)
    assert year, paper
    return f"{year[0]}.{number[0] if number else ''}"


def _objectives() -> Table:
    from unmask.objectives.base import Objective

    table = _table("name", "what it is", "trains", "settings", "paper")
    for name, cls in folder("unmask.objectives").items():
        assert issubclass(cls, Objective)
        trains = " or ".join(flow.replace("_", "-") for flow in cls.flows)
        beside = "".join(f", with {other}" for other in cls.needs)
        settings = ", ".join(f"{key} {value}" for key, value in describe.settings(cls, Objective).items())
        table.add_row(name, describe.paragraphs(cls)[0], trains + beside, settings, describe.paper(cls))
    return table


def _folder(name: str) -> Table:
    table = _table("name", "what it is", "paper")
    for member, cls in folder(f"unmask.{name}").items():
        table.add_row(member, describe.paragraphs(cls)[0], describe.paper(cls))
    return table


def _told(rows: Iterable[tuple[str, str, str]]) -> Table:
    table = _table("name", "what it is", "paper")
    for row in rows:
        table.add_row(*row)
    return table
