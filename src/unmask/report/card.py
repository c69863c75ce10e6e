"""``README.md`` of a run: a model card in Hugging Face's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from unmask.disk import replace_file
from unmask.report import tables, words
from unmask.report.run import Run, read_run, without

CARD = "README.md"

PIPELINES = {
    "classify": "text-classification",
    "tag": "token-classification",
    "score": "text-classification",
    "label_trees": "text-classification",
}
ANSWERED = {
    "masked_lm": ("fill-mask", "It fills in words"),
    "masked_next_token": ("fill-mask", "It fills in and writes words"),
    "causal_lm": ("text-generation", "It writes words"),
    "decoder_lm": ("text2text-generation", "It writes words"),
}
"Of a head that pre-training leaves: what Hugging Face calls its use, and what it does."
LIMITS = {
    "pretrain": (
        "It knows what the corpus says and no more: its gaps, its errors and its prejudices are the model's too. "
        "{does}It was measured on text held out of the same corpus, "
        "so the figures above say nothing of other text."
    ),
    "finetune": (
        "It chooses among the labels it was shown, for every text, fitting or not. Its probabilities "
        "were not calibrated. It was measured on the data named above; on other text expect less."
    ),
}


def finished(folder: Path) -> bool:
    """Whether nothing of a run is left to be done: its card is written last. What was deleted since is made again."""
    return all((folder / name).is_file() for name in ("result.json", "report.html", CARD))


def write_card(folder: str | Path) -> Path:
    """Write a run's model card; returns its path.

    Raises:
        UserError: the folder holds no finished run, or one of its files is not what it should be.
    """
    run = read_run(folder)
    path = run.folder / CARD
    replace_file(path, f"---\n{_front(run)}---\n\n{_body(run)}".encode())
    return path


def _front(run: Run) -> str:
    result = run.result
    about: dict[str, Any] = {"library_name": "unmask", "license": "unknown"}
    if result.language:
        about["language"] = result.language
    usual = "fill-mask" if result.kind == "finetune" else _answered(run)[0]
    about["pipeline_tag"] = PIPELINES.get(result.task or "", usual)
    about["tags"] = ["unmask", *filter(None, (result.task, words.model_name(result)))]
    if result.kind == "finetune" and result.figures:
        about["metrics"] = list(result.figures)
        about["model-index"] = [{"name": run.title, "results": [_measured(run)]}]
    return yaml.safe_dump(about, sort_keys=False, allow_unicode=True)


def _answered(run: Run) -> tuple[str, str]:
    """A pre-training's use, and what it does; others make states and nothing else."""
    return next(
        (said for head, said in ANSWERED.items() if f"loss/{head}" in run.result.figures), ("feature-extraction", "")
    )


def _limits(run: Run) -> str:
    does = _answered(run)[1]
    return LIMITS[run.result.kind].format(does=f"{does}; whether they are true it cannot tell. " if does else "")


def _measured(run: Run) -> dict[str, Any]:
    result = run.result
    return {
        "task": {"type": PIPELINES.get(result.task or "", result.task or "other")},
        "dataset": {
            "name": result.dataset or "unnamed",
            "type": result.dataset or "unnamed",
            "split": result.held_out,
        },
        "metrics": [{"type": name, "value": value} for name, value in result.figures.items() if value is not None],
    }


def _body(run: Run) -> str:
    result = run.result
    data = tables.rows(words.flat(result.data))
    parts = [
        f"# {plain(run.title)}\n\n{plain(words.summary(run))}",
        _table("Figures", f"on held-out data ({result.held_out})", _figures(run)),
        _table("Data", "", [(name.replace(".", ", "), value) for name, value in data]),
        _table("Model", "", tables.rows(without(result.model, result.idle, "model."))),
        f"## Limits\n\n{_limits(run)}\n\nThe licence of the text it was made from is not known here: name it "
        "before you share the model.",
        f"## Use\n\n```python\nimport unmask\n\nmodel = unmask.load({run.address!r})\n```\n\nThe run's page is "
        "`report.html`; its settings are `config.yaml`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(run: Run) -> tables.Rows:
    result = run.result
    return [
        (words.label(name), words.with_spread(value, result.spread.get(name))) for name, value in result.figures.items()
    ]


def _table(title: str, note: str, rows: tables.Rows) -> str:
    if not rows:
        return ""
    lines = [f"| {plain(name)} | {plain(str(value))} |" for name, value in rows]
    return "\n".join([f"## {title}", "", f"| | {note} |", "|---|---|", *lines])


def plain(text: str) -> str:
    """Text that Markdown takes for nothing but text: HTML, tables, links and line ends lose their meaning."""
    for sign in "\\`*_[]<>|&":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
