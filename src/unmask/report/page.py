"""``report.html``: one file that opens without network, light or dark, on a large screen or a small one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vl_convert import javascript_bundle

from unmask import pages
from unmask.disk import replace_file
from unmask.errors import UserError
from unmask.report import charts, samples, tables, words
from unmask.report.run import Prediction, Run, read_run, without
from unmask.training.progress import duration

HERE = Path(__file__).parent
KINDS = {"pretrain": "pre-training run", "finetune": "fine-tuning run"}
DRAW = """
JSON.parse(document.getElementById("charts").textContent).forEach((spec, number) =>
  vegaEmbed("#chart-" + number, spec, { actions: false, renderer: "svg", ast: true }));
"""


class Charts(list[charts.Spec]):
    """A page's charts; its HTML names them by number."""

    def add(self, spec: charts.Spec | None) -> int | None:
        """The number of a new chart, if it is one."""
        if spec is None:
            return None
        self.append(spec)
        return len(self) - 1

    def all(self, titled: list[tuple[str, charts.Spec]]) -> list[tuple[str, int | None]]:
        """Titles and numbers."""
        return [(title, self.add(spec)) for title, spec in titled]


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run's folder from the files that `unmask.report` lists; returns its path.

    Raises:
        UserError: the folder holds no finished run, or one of its files is not what it should be.
    """
    run = read_run(folder)
    return write_page(run.folder / "report.html", "run.html", _of_run(run))


def write_overview(folders: Sequence[str | Path], out: str | Path, title: str = "Overview") -> Path:
    """Write one page for several runs: what was pre-trained, and each task from pre-trained and from random weights.

    Fine-tuned runs belong together that have the same ``task`` and ``dataset``; ``init`` tells them apart.

    Raises:
        UserError: a folder holds no finished run.
    """
    if not folders:
        raise UserError("an overview needs the folder of at least one finished run")
    runs, out = [read_run(folder) for folder in folders], Path(out)
    return write_page(out, "overview.html", _of_runs(runs, out, title))


def _of_run(run: Run) -> dict[str, Any]:
    result, found, drawn = run.result, run.samples, Charts()
    longest = charts.longest(run)
    return {
        "title": run.title,
        "eyebrow": f"unmask, {KINDS[result.kind]}",
        "summary": words.summary(run),
        "tiles": tables.tiles(run),
        "scores": tables.scores(result) if result.kind == "finetune" or result.baseline else [],
        "seeds": result.seeds,
        "held_out": result.held_out,
        "baseline": result.baseline and (result.baseline.title or "baseline"),
        "bars": drawn.add(charts.scores(result, result.baseline)) if result.baseline and result.init else None,
        "curves": drawn.all(charts.curves(run)),
        "dashes": charts.dashes(run.seeds),
        "has_valid": bool(run.names(["valid"])),
        "thinned": f"{longest:,}" if longest > charts.MOST_POINTS + 1 else "",
        "fills": samples.fills(found.fill),
        "written": found.written,
        "confusion": tables.matrix(found.confusion),
        "confusions": tables.confusions(found.confusion),
        "label_count": len(found.confusion.labels) if found.confusion else 0,
        "labels": tables.labels(found.labels),
        "predictions": samples.predictions(found.predictions),
        "data": tables.facts(result.data),
        "meanings": words.MEANINGS,
        "model": tables.rows(words.flat(without(result.model, result.idle, "model."))),
        "chosen": tables.settings(without(result.chosen, result.idle)),
        "config": run.settings,
        "idle": [path for path in result.idle if not path.startswith("model.")],
        "kind": result.kind,
        "address": run.address,
        "example": [_example(found.predictions)],
        "versions": result.versions,
        "finished": result.finished,
        "charts": drawn,
    }


def _example(predicted: Sequence[Prediction]) -> str | list[str]:
    """What a fine-tuned model could be asked: the first row of those that are shown."""
    first = next(iter(predicted), None)
    if first is None or not (first.text or first.words):
        return "a text"
    return samples.clipped(first.text) if isinstance(first.text, str) else first.text or first.words[:12]


def _of_runs(runs: list[Run], out: Path, title: str) -> dict[str, Any]:
    drawn, pairs = Charts(), paired(runs)
    first = next((run for run in runs if run.result.kind == "pretrain"), None)
    return {
        "title": title,
        "eyebrow": f"unmask, {len(runs)} runs",
        "summary": " ".join([words.summary(first) if first else "", words.gains(pairs)]).strip(),
        "tiles": tables.tiles(first) if first else [],
        "rows": [tables.gain(task, *pair) for task, pair in pairs.items()],
        "spread": any(len(run.result.seeds) > 1 for run in runs),
        "bars": drawn.add(charts.bars([_bar(task, *pair) for task, pair in pairs.items()])),
        "dashes": charts.dashes([seed for pair in pairs.values() for run in pair for seed in run.seeds]),
        "comparisons": drawn.all([_comparison(task, *pair) for task, pair in pairs.items()]),
        "curves": drawn.all(charts.curves(first)) if first else [],
        "fills": samples.fills(first.samples.fill) if first else [],
        "runs": [_listed(run, out) for run in runs],
        "versions": runs[0].result.versions,
        "charts": drawn,
    }


def paired(runs: list[Run]) -> dict[str, tuple[Run, Run]]:
    """(Pre-trained, random) by task; a task that lacks one of the two is only in the list of runs."""
    found: dict[str, dict[str, Run]] = {}
    for run in runs:
        if run.result.kind == "finetune" and run.result.init and words.main_figure(run.result):
            found.setdefault(words.task(run.result), {})[run.result.init] = run
    return {task: (both["pretrained"], both["random"]) for task, both in found.items() if len(both) == 2}


def _bar(task: str, pretrained: Run, random: Run) -> tuple[str, str, Any, Any]:
    return task, words.main_figure(pretrained.result) or "", pretrained.result, random.result


def _comparison(task: str, pretrained: Run, random: Run) -> tuple[str, charts.Spec]:
    """Curves of the main figure on held-out data; of the loss where that was not logged."""
    main = words.main_figure(pretrained.result) or ""
    split, name = ("valid", main) if main in pretrained.names(["valid"]) else ("train", "loss")
    return f"{task}: {words.label(name)}", charts.comparison(pretrained, random, split, name)


def _listed(run: Run, out: Path) -> dict[str, str]:
    result, main = run.result, words.main_figure(run.result)
    way = Path(os.path.relpath((run.folder / "report.html").resolve(), out.resolve().parent)).as_posix()
    return {
        "title": run.title,
        "link": quote(way),
        "figure": words.label(main) if main else "",
        "score": words.with_spread(result.figures[main], result.spread.get(main)) if main else "",
        "time": duration(result.seconds) if result.seconds else "",
    }


def write_page(path: Path, template: str, values: dict[str, Any]) -> Path:
    """Write a page of this folder's; returns its path."""
    page = pages.page(HERE / template, values, script=_script() if values["charts"] else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, page.encode())
    return path


@cache
def _script() -> str:
    """Vega and the lines that draw with it, in one."""
    return javascript_bundle(DRAW)
