"""A page that draws models by the year of their paper and their size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from unmask.report import charts
from unmask.report.page import Charts, write_page

SHADES = ("var(--accent)", "#8a6d1f", "#5b5bb0", "#a04a6a", "#3b7a3b", "#7a5230", "#c2452d")

BILLIONS = {"values": [10**n for n in range(6, 11)], "labelExpr": "replace(format(datum.value, '~s'), 'G', 'B')"}


@dataclass(frozen=True)
class Drawn:
    """A model as the chart shows it."""

    name: str
    family: str  # its name without its size
    kind: str  # encoder, decoder, encoder-decoder, …
    published: str  # sorts by when it was: "2018.1810.04805"
    parameters: int
    paper: str
    layers: str
    width: str
    embeddings: str  # how many of the parameters make the vectors of tokens, and how many the rest
    body: str
    train: str  # memory of the weights in training, and else
    run: str
    context: str

    @property
    def year(self) -> str:
        """Of its paper."""
        return self.published[:4]

    @property
    def author(self) -> str:
        """The first of its paper."""
        return self.paper.split()[0]


def write_family(models: list[Drawn], meanings: str, others: int, out: Path) -> Path:
    """Write the page; returns its path.

    Args:
        models: what is drawn.
        meanings: what is counted.
        others: models that are not drawn.
        out: the page's path.
    """
    drawn = Charts()
    values = {
        "title": "Models by year and size",
        "eyebrow": f"unmask, {len(models)} models",
        "summary": "Each dot is a model of a paper, the oldest papers first; the scale of sizes is logarithmic. "
        f"{others} smaller models, made in proportion to these, are in the list that unmask list models prints.",
        "number": drawn.add(chart(models)),
        "kinds": list(zip(dict.fromkeys(model.kind for model in models), SHADES, strict=False)),
        "meanings": f"{meanings[0].upper()}{meanings[1:]}.",
        "models": sorted(models, key=lambda model: (model.published, model.paper, model.parameters)),
        "charts": drawn,
    }
    return write_page(out, "family.html", values)


def chart(models: list[Drawn]) -> charts.Spec:
    """A line for each family and year, the oldest first; a dot for each model, the further right the larger."""
    kinds = list(dict.fromkeys(model.kind for model in models))
    rows = [
        {**asdict(model), "row": f"{model.year}  {model.family}, {model.author}"}
        for model in sorted(models, key=lambda model: (model.published, model.family))
    ]
    colour = {"field": "kind", "type": "nominal", "legend": None, "scale": {"domain": kinds, "range": [*SHADES]}}
    sizes = {"field": "parameters", "type": "quantitative", "scale": {"type": "log"}, "title": None}
    tooltip = [
        {"field": "name", "type": "nominal"},
        {"field": "parameters", "type": "quantitative", "format": ","},
        {"field": "paper", "type": "nominal"},
    ]
    return {
        "width": "container",
        "height": 24 * len({row["row"] for row in rows}),
        "background": "transparent",
        "data": {"values": rows},
        "encoding": {
            "x": {**sizes, "axis": {**charts.AXIS, **BILLIONS}},
            "y": {
                "field": "row",
                "type": "nominal",
                "title": None,
                "sort": None,
                "axis": {**charts.NAMES, "labelLimit": 240},
            },
            "color": colour,
        },
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2, "opacity": 0.5}, "encoding": {"detail": {"field": "row"}}},
            {"mark": {"type": "point", "filled": True, "size": 80, "opacity": 1}, "encoding": {"tooltip": tooltip}},
        ],
        "config": charts.CONFIG,
    }
