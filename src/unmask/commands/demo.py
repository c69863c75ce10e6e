"""Go all the way on text that is already here: pre-train, fine-tune two tasks, see what pre-training bought."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from unmask import demonstration
from unmask.commands.finetune import Finetune
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.config import Config, build

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TEXTS = (
    "Return True if the string is [MASK].",
    "If the file does not [MASK], an error is raised.",
    "This method should be [MASK] by subclasses.",
    "The optional argument [MASK] is the number of bytes to read.",
    "Close the [MASK] and release all resources.",
)
CORPUS = {"vocab_size": 4096, "valid": 0.03}
MODEL = {"model": "modernbert-tiny", "batch_size": 16, "lr": 2e-3}
INITS = ("pretrained", "random")
TASKS = {"classify": "module", "tag": "code"}
# the learning rate and the pooling that serve random weights best on the valid files
FINETUNING: dict[str, dict[str, Any]] = {
    "classify": {"task.pool": "mean", "epochs": 8, "lr": 1e-3},
    "tag": {"epochs": 10, "lr": 1e-3},
}


class Demo(Config):
    """Go all the way on text that is already here: pre-train, fine-tune two tasks, see what pre-training bought.

    The text is Python's own documentation. One task is to say which package of the standard library a passage
    documents, the other which words of a passage are code; both are learned from pre-trained and from random weights.
    Each step is a command that you could have typed, and is shown. Repeating the demo continues where it stopped.
    """

    positional: ClassVar[tuple[str, ...]] = ()

    out: Path = Field(Path("runs/demo"), description="The folder for everything")
    minutes: float = Field(2.0, gt=0, description="How long to pre-train; all the rest takes about as long again")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="Seeds of every fine-tuning")

    def run(self) -> dict[str, dict[str, Any]]:
        """Run every step, print what came of it; returns `result.json` by run."""
        from rich.console import Console

        from unmask.report.page import write_overview

        console = Console(highlight=False)
        material = demonstration.write(self.out / "data")
        console.print(_counts(material.facts))
        results = {}
        for name, (cls, settings) in self.steps(material).items():
            console.print(f"\n$ {typed(cls, settings)}", style="bold", markup=False, soft_wrap=True)
            build(cls, settings).run()  # type: ignore[attr-defined]
            if (result := self.out / name / "result.json").exists():
                results[name] = json.loads(result.read_text(encoding="utf-8"))
        page = write_overview(
            [self.out / name for name in results], self.out / "report.html", "What pre-training bought"
        )
        _print_masks(console, self.out / "pretrained")
        console.print(_table(results))
        console.print(f"\nThe page: {page}")
        return results

    def steps(self, material: demonstration.Material) -> dict[str, tuple[type[Config], dict[str, Any]]]:
        """The commands and their settings, by the name of the folder that each makes."""
        corpus, pretrained = self.out / "corpus", self.out / "pretrained"
        steps: dict[str, tuple[type[Config], dict[str, Any]]] = {
            "corpus": (Prepare, {"sources": [str(material.corpus)], "out": corpus, **CORPUS}),
            "pretrained": (Pretrain, {"corpus": corpus, "out": pretrained, "minutes": self.minutes, **MODEL}),
        }
        for task, data in TASKS.items():
            files = getattr(material, data)
            for init in INITS:
                given = {"model": str(pretrained), "task": task, **files, "init": init, "seeds": self.seeds}
                out = self.out / f"{data}-{init}"
                steps[out.name] = Finetune, {**given, **FINETUNING[task], "out": out}
        return steps


def typed(cls: type[Config], settings: Mapping[str, Any]) -> str:
    """A command as one would type it."""
    places = getattr(cls, "positional", ())
    words = ["unmask", cls.__name__.lower(), *(_word(settings[name]) for name in places)]
    for name, value in settings.items():
        if name not in places:
            words += [f"--{name.replace('_', '-')}", _word(value)]
    return " ".join(words)


def _word(value: Any) -> str:
    return shlex.quote(",".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def _counts(facts: Mapping[str, int]) -> str:
    return "Text of this Python: " + "; ".join(f"{name} {count:,}" for name, count in facts.items())


def _print_masks(console: Console, run: Path) -> None:
    """The texts with the likeliest tokens for their masks."""
    from unmask.inference.loading import load

    model = load(run)
    console.print("\nFilled masks", style="bold")
    for text in TEXTS:
        (guesses,) = model.fill(text, k=5)
        found = ", ".join(f"{token} {chance:.2f}" for token, chance in guesses)
        console.print(f"  {text}  {found}", markup=False)


def _table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Each task's main score from pre-trained and from random weights, with the spread over seeds."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("task", "score", "pre-trained", "random"):
        table.add_column(column)
    for task, data in TASKS.items():
        found = [results[f"{data}-{init}"] for init in INITS]
        table.add_row(f"{task} ({data})", found[0]["main"], *map(_score, found))
    return table


def _score(result: Mapping[str, Any]) -> str:
    """The mean over seeds, and the standard deviation."""
    main = result["main"]
    spread = result.get("spread", {}).get(main)
    return f"{result['figures'][main]:.3f}" + (f" ± {spread:.3f}" if spread is not None else "")
