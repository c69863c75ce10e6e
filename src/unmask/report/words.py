"""Numbers and runs in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unmask.report.run import Result, Run
from unmask.training.progress import duration

NO_NUMBER = "not a finite number"
MEANINGS = {
    "fill": "share of the places in rows that hold tokens",
    "cut sentences": "longer than a row, and so read in pieces",
    "unknown tokens": "pieces of text that the vocabulary lacks",
    "held-out tokens": "of documents that were never trained on",
    "cut rows": "longer than the length, their ends not read",
    "split rows": "longer than the length, and so read in parts",
    "stretches without b": "begin with I, and were given a B",
    "digits taken": "the places of characters, as in 科0 技1",
}
"Of facts about data whose names alone do not say it."


def label(name: str) -> str:
    """A key as a reader would say it: "accuracy/masked_lm" is "accuracy, masked lm"."""
    return name.replace("/", ", ").replace("_", " ")


def figure(value: float | None) -> str:
    """A score or a loss."""
    if value is None:
        return NO_NUMBER
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def with_spread(value: float | None, spread: float | None) -> str:
    """A mean over seeds and its standard deviation."""
    return figure(value) + (f" ± {spread:.3f}" if spread is not None else "")


def compact(count: float) -> str:
    """A count, rounded: 11.0 M."""
    for unit, size, least in (("G", 1e9, 1e9), ("M", 1e6, 999_500), ("k", 1e3, 1e4)):
        if abs(count) >= least:
            short = count / size
            return f"{short:.0f} {unit}" if short >= 100 else f"{short:.1f} {unit}"
    return f"{count:,.0f}"


def memory(count: int) -> str:
    """Bytes."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def fact(value: Any) -> str:
    """A value of ``data``, ``model`` or a configuration."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, Mapping) and not value:
        return "as it is by default"  # chosen, and nothing of it changed
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 and value.is_integer() else f"{value:.4g}"
    return ", ".join(map(fact, value)) if isinstance(value, list | tuple) else str(value)


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by their path with dots."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{above}{name}"
        found |= flat(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return found


def summary(run: Run) -> str:
    """What was done and what was found, in a few sentences."""
    told = _pretrained(run) if run.result.kind == "pretrain" else _finetuned(run)
    if run.result.not_finite:
        told.append(f"Not a finite number: {', '.join(run.result.not_finite)}.")
    return " ".join(told)


def _pretrained(run: Run) -> list[str]:
    result = run.result
    fresh = f" ({', '.join(result.fresh)} at random)" if result.fresh else ""
    beginning = f", beginning with {result.base}{fresh}," if result.base else ""
    told = [f"{_model(result)} was pre-trained{beginning}{_on(result)}{_effort(result)}."]
    if not result.figures:
        told.append("No text was held out, so nothing says how it does on text it has not seen.")
    losses = next(iter(run.series("valid", "loss").values()), [])
    if len(losses) > 1:
        (step, first), (_, last) = losses[0], losses[-1]
        told.append(f"Its loss on held-out text was {figure(first)} at step {step:,} and {figure(last)} at the end.")
    for name, value in result.figures.items():
        if name == "accuracy/masked_lm" and value is not None:
            always = result.baseline.figures.get(name) if result.baseline else None
            beside = f"; the commonest token alone would restore {always:.1%}" if always else ""
            told.append(f"It restores {value:.1%} of the hidden tokens{beside}.")
    return told + _behind(result)


def _behind(result: Result) -> list[str]:
    """The losses that are no better than those of answers by frequency."""
    known = result.baseline.figures if result.baseline else {}
    return [
        f"Its {label(name)} of {figure(mine)} is no better than the {figure(its)} of answers by frequency alone: "
        "with more training it would know more of a text than how often each answer comes."
        for name, mine in result.figures.items()
        if name.startswith("loss/") and mine is not None and (its := known.get(name)) is not None and mine >= its
    ]


def _finetuned(run: Run) -> list[str]:
    result = run.result
    beginning = {
        "random": ", from random weights",
        "pretrained": f", from {result.base or 'pre-trained weights'}",
    }
    what = f" for {result.task}" if result.task else ""
    where = f" on {result.dataset}" if result.dataset else ""
    told = [f"{_model(result)} was fine-tuned{what}{where}{beginning.get(result.init or '', '')}{_effort(result)}."]
    if (main := main_figure(result)) is None:
        return told
    seeds = f", the mean of {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
    score = with_spread(result.figures[main], result.spread.get(main))
    told.append(f"Its {label(main)} on the {result.held_out} set is {score}{seeds}.")
    if result.best_seed is not None and len(result.seeds) > 1:
        told.append(
            f"Kept is the model of seed {result.best_seed}, the best on the valid file; predictions and single labels "
            "below are its own."
        )
    if result.constant is not None:
        told.append(f"It answers {result.constant} everywhere: it has learned nothing that tells one from another.")
    return told + _against(result, main)


def _against(result: Result, main: str) -> list[str]:
    """The gain over the baseline, and whether the seeds alone could have made it."""
    other = result.baseline
    mine, its = result.figures[main], other.figures.get(main) if other else None
    if other is None or mine is None or its is None:
        return []
    score = with_spread(its, other.spread.get(main))
    told = [f"{(other.title or 'the baseline').capitalize()} gave {score}, a difference of {mine - its:+.3f}."]
    noise = max(result.spread.get(main) or 0.0, other.spread.get(main) or 0.0)
    if noise and abs(mine - its) < 2 * noise:
        told.append("That is within twice the spread of the seeds, so it may be chance.")
    return told


def gains(pairs: Mapping[str, tuple[Run, Run]]) -> str:
    """In how many tasks pre-trained weights were better than random ones, by more than the seeds explain."""
    if not pairs:
        return ""
    better = sum(clearly_better(mine.result, its.result) for mine, its in pairs.values())
    return (
        f"With the same settings for both, {better} of {len(pairs)} tasks came out better from it than from random "
        "weights by more than twice the spread of the seeds. Longer fine-tuning can make that difference smaller."
    )


def clearly_better(mine: Result, its: Result) -> bool:
    """Whether the main figure is better by more than twice the spread of the seeds."""
    main = main_figure(mine) or ""
    gain = (mine.figures.get(main) or 0.0) - (its.figures.get(main) or 0.0)
    return gain > 2 * max(mine.spread.get(main) or 0.0, its.spread.get(main) or 0.0)


def task(result: Result) -> str:
    """A task and what it is learnt on; alike for runs that may be compared."""
    return ", ".join(filter(None, (result.dataset, result.task))) or "task"


def main_figure(result: Result) -> str | None:
    """The most important figure's name."""
    if result.main in result.figures:
        return result.main
    return next(iter(result.figures), None)


def model_name(result: Result) -> str:
    """The preset's name; without one, its family's."""
    return str(result.model.get("name") or result.model.get("family") or "")


def _model(result: Result) -> str:
    name, parameters = model_name(result) or "A model", result.model.get("parameters")
    return f"{name} ({compact(parameters)} parameters)" if isinstance(parameters, int) else name


def _on(result: Result) -> str:
    documents, tokens = result.data.get("documents"), result.data.get("tokens")
    amount = f" {compact(tokens)} tokens of" if isinstance(tokens, int) else ""
    home = f" in {documents:,} documents" if isinstance(documents, int) else ""
    return f" on{amount} text{home}" if amount or home else ""


def _effort(result: Result) -> str:
    read = f", reading {compact(result.tokens)} tokens" if result.tokens else ""
    steps = f" in {result.steps:,} steps" if result.steps else ""
    time = f", {duration(result.seconds)}" if result.seconds else ""
    place = f" on {result.device}" if result.device and time else ""
    return f"{read}{steps}{time}{place}"
