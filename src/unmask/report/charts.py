"""Charts as Vega-Lite specifications. Their colours are the page's CSS variables, so that they follow its theme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from unmask.report.run import Run, Scores
from unmask.report.words import label

Points = list[tuple[int, float]]
Spec = dict[str, Any]

MOST_POINTS = 400  # of a drawn curve; longer ones are thinned, evenly
FEW = 4
WINDOW = 0.04  # share of a curve that one smoothed point is the mean of
COLOURS = {
    "train": "var(--muted)",
    "held out": "var(--accent)",
    "random": "var(--muted)",
    "pre-trained": "var(--accent)",
}
DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 6), (12, 2))  # of seeds: whole, dashed, dotted, …
LAST = ("lr", "grad_norm", "tokens_per_second")  # how the training went, after what it reached
NOT_DRAWN = ("tokens", "seconds", "score")  # the score is one of the other curves once more
AXIS: Spec = {
    "labelColor": "var(--muted)",
    "domainColor": "var(--line)",
    "tickColor": "var(--line)",
    "gridColor": "var(--line)",
    "labelFontSize": 11,
    # 0.5 and 30k, but not 500m
    "labelExpr": "abs(datum.value) >= 1000 ? format(datum.value, '~s') : format(datum.value, '.3~g')",
    "tickCount": 4,
}
NAMES = {**AXIS, "labelExpr": "datum.label", "labelLimit": 150, "labelFontSize": 12, "grid": False}
CONFIG = {"font": "system-ui, sans-serif", "view": {"stroke": None}}


def curves(run: Run) -> list[tuple[str, Spec]]:
    """Titles and charts, one per metric: losses first, then scores, then how the training went."""
    names = [name for name in run.names() if name not in NOT_DRAWN]
    if len([name for name in names if name.startswith("loss/")]) == 1:
        names = [name for name in names if not name.startswith("loss/")]  # a single head's is the loss itself
    names.sort(key=lambda name: (name in LAST, not name.startswith("loss")))
    return [(label(name), _metric(run, name)) for name in names]


def _metric(run: Run, name: str) -> Spec:
    rows: list[Spec] = []
    for seed, points in run.series("train", name).items():
        if name == "lr":
            rows += _rows("train", seed, "drawn", points)
        else:
            rows += _rows("train", seed, "raw", points) + _rows("train", seed, "drawn", smoothed(points))
    for seed, points in run.series("valid", name).items():
        rows += _rows("held out", seed, "drawn", points)
    return _curve(rows, label(name))


def comparison(pretrained: Run, random: Run, split: str, name: str) -> Spec:
    """One metric's curves from pre-trained and from random weights."""
    rows: list[Spec] = []
    for kind, run in (("pre-trained", pretrained), ("random", random)):
        for seed, points in run.series(split, name).items():
            rows += _rows(kind, seed, "drawn", smoothed(points) if split == "train" else points)
    return _curve(rows, label(name))


def _rows(curve: str, seed: int | None, kind: str, points: Points) -> list[Spec]:
    return [
        {"curve": curve, "seed": seed, "kind": kind, "step": step, "value": float(f"{value:.5g}")}
        for step, value in thinned(points)
    ]


def smoothed(points: Points) -> Points:
    """Means over a centred window of `WINDOW` of the curve; it narrows towards both ends, where it stays centred."""
    half, last = int(len(points) * WINDOW / 2), len(points) - 1
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    reaches = [min(half, place, last - place) for place in range(len(points))]
    return [
        (step, (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1))
        for place, ((step, _), reach) in enumerate(zip(points, reaches, strict=True))
    ]


def thinned(points: Points) -> Points:
    """At most `MOST_POINTS` and one of them, evenly, the last one always."""
    stride = max(1, -(-len(points) // MOST_POINTS))
    return points[:-1:stride] + points[-1:]


def longest(run: Run) -> int:
    """Points of the longest curve."""
    curves = [run.series(split, name).values() for split in ("train", "valid") for name in run.names()]
    return max((len(points) for seeds in curves for points in seeds), default=0)


def _curve(rows: list[Spec], name: str) -> Spec:
    """Raw lines faint, drawn lines strong, and the numbers of the point nearest to the pointer."""
    # the dot's colour says which curve it is on: names in tooltips of nearest points come out undefined in Vega-Lite 6
    tooltip = [
        {"field": "step", "type": "quantitative", "format": ","},
        {"field": "value", "type": "quantitative", "format": ".4~g", "title": name},
        *([{"field": "seed", "type": "quantitative"}] if any(row["seed"] is not None for row in rows) else []),
    ]
    line: Spec = {"type": "line", "clip": True}
    raw: Spec = {"transform": [_only("raw")], "mark": {**line, "strokeWidth": 1, "opacity": 0.35}}
    select = {"type": "point", "nearest": True, "on": "pointerover", "clear": "pointerout"}
    seen = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
    return {
        "width": "container",
        "height": 170,
        "background": "transparent",
        "data": {"values": rows},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": None, "axis": {**AXIS, "grid": False}},
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": None,
                "axis": {**AXIS, "minExtent": 34},
                "scale": {"zero": False},
            },
            "color": _colour("curve", rows),
            "detail": {"field": "seed", "type": "nominal"},
            **_dashed(rows),
        },
        "layer": [
            *([raw] if any(row["kind"] == "raw" for row in rows) else []),
            {"transform": [_only("drawn")], "mark": {**line, "strokeWidth": 2, "point": _few(rows)}},
            {
                "transform": [_only("drawn")],
                "params": [{"name": "near", "select": select}],
                "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": {"opacity": seen, "tooltip": tooltip},
            },
        ],
        "config": CONFIG,
    }


def dashes(seeds: Iterable[int]) -> list[tuple[int, str]]:
    """Several seeds, each with how its lines are dashed; nothing of one."""
    each = sorted(set(seeds))
    return [(seed, " ".join(map(str, DASHES[n % len(DASHES)]))) for n, seed in enumerate(each) if len(each) > 1]


def _dashed(rows: list[Spec]) -> Spec:
    seeds = sorted({row["seed"] for row in rows if row["seed"] is not None})
    if len(seeds) < 2:
        return {}
    scale = {"domain": seeds, "range": [DASHES[n % len(DASHES)] for n in range(len(seeds))]}
    return {"strokeDash": {"field": "seed", "type": "nominal", "scale": scale, "legend": None}}


def _few(rows: list[Spec]) -> Spec | bool:
    """Dots, where a curve has so few points that no line would show them."""
    counts = Counter((row["curve"], row["seed"]) for row in rows if row["kind"] == "drawn")
    return {"filled": True, "size": 30} if any(count < FEW for count in counts.values()) else False


def _only(kind: str) -> Spec:
    return {"filter": {"field": "kind", "equal": kind}}


def _colour(field: str, rows: list[Spec]) -> Spec:
    names = [name for name in COLOURS if any(row[field] == name for row in rows)]
    scale = {"domain": names, "range": [COLOURS[name] for name in names]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def scores(pretrained: Scores, random: Scores) -> Spec | None:
    """Bars of the figures between 0 and 1 that both have."""
    shared = [n for n, v in pretrained.figures.items() if v is not None and 0 <= v <= 1 and n in random.figures]
    return bars([(label(name), name, pretrained, random) for name in shared])


def bars(lines: list[tuple[str, str, Scores, Scores]]) -> Spec | None:
    """Pre-trained against random: a pair of bars per (title, figure's name, pre-trained, random), a dot per seed."""
    rows: list[Spec] = []
    for title, name, *pair in lines:
        for weights, its in zip(("pre-trained", "random"), pair, strict=True):
            values = [
                ("mean", its.figures.get(name)),
                *(("seed", value) for value in its.by_seed.get(name, [])),
            ]
            rows += [
                {"row": title, "weights": weights, "kind": kind, "value": value}
                for kind, value in values
                if value is not None
            ]
    return _bars(rows) if rows else None


def _bars(rows: list[Spec]) -> Spec:
    return {
        "width": "container",
        "height": 36 * len({row["row"] for row in rows}),
        "background": "transparent",
        "data": {"values": rows},
        "encoding": {
            "x": {"field": "value", "type": "quantitative", "title": None, "axis": AXIS},
            "y": {
                "field": "row",
                "type": "nominal",
                "title": None,
                "sort": None,
                "axis": NAMES,
            },
            "yOffset": {"field": "weights", "type": "nominal", "sort": ["pre-trained", "random"]},
            "tooltip": [
                {"field": "row", "type": "nominal", "title": "figure"},
                {"field": "weights", "type": "nominal"},
                {"field": "kind", "type": "nominal"},
                {"field": "value", "type": "quantitative", "format": ".4f"},
            ],
        },
        "layer": [
            {
                "transform": [_only("mean")],
                "mark": {"type": "bar", "cornerRadiusEnd": 2},
                "encoding": {"color": _colour("weights", rows)},
            },
            {
                "transform": [_only("seed")],
                "mark": {"type": "point", "filled": True, "size": 24, "color": "var(--ink)", "opacity": 0.9},
            },
        ],
        "config": CONFIG,
    }
