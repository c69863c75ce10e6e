"""What each objective costs, beside masked LM: measured, and by the operations that its arithmetic takes.

Every objective trains the usual model of its kind on one corpus, as `unmask pretrain` does, a step at a time and in
turn with the others. ``operations`` are the matrix products of a step, forward and backward, counted by torch for each
token read; what is not a product (norms, dropout, attention's softmax, the optimizer) is not counted. ``corruption`` is
the share of the step in which its texts are sampled and corrupted.

    python benchmarks/objectives.py CORPUS                       a folder that `unmask prepare` made
    python benchmarks/objectives.py CORPUS --learn 2500          train each: does it beat answers by frequency?
    python benchmarks/objectives.py CORPUS --learn 2500 --task train.tsv dev.tsv      and what is it worth for a task?
    python benchmarks/objectives.py CORPUS --only masked_lm,span_boundary --size tiny

With ``--learn`` all have the same budget: the operations of so many steps of masked LM. Time would give more to whoever
had the machine to itself; operations give everyone the same steps on any machine, and so the same figures.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from turns import Measured, Program, Run, compare, serve
from unmask.config import folder
from unmask.presets import PRESETS, USUAL
from unmask.text.corpus.corpus import Corpus
from unmask.text.tokens.fields import fields_of

OBJECTIVES: Any = folder("unmask.objectives")
BESIDE = "masked_lm"
ROWS, LENGTH = 16, 128
TURN = 2.0  # seconds, at least
LEARNED = (
    "objective", "model", "steps", "head", "loss", "by frequency", "accuracy", "by frequency", "task", "random weights",
)  # fmt: skip


def asked(name: str) -> dict[str, Any]:
    """The objective and what it needs, as recipes give them."""
    return {**OBJECTIVES[name].needs, name: {}}


def usable(names: list[str], corpus: str) -> list[str]:
    """Those that this corpus can teach; the others are said to be left out."""
    fields = fields_of(Corpus.open(Path(corpus)).tokenizer)
    lacking = [name for name in names if OBJECTIVES[name].fields and not fields]
    for name in lacking:
        print(f"{name}: left out; this corpus has no fields (unmask prepare --fields)", file=sys.stderr)
    return [name for name in names if name not in lacking]


def model_of(name: str, size: str) -> str:
    """A preset of this size, of the kind that the objective usually trains."""
    kind = USUAL[OBJECTIVES[name].flows[0]].rpartition("-")[0]
    return f"bert-{size}" if kind == "modernbert" else f"{kind}-{size}"


def build(name: str, corpus: str, size: str) -> Run:
    """Steps of one objective."""
    trainer = trainer_of(name, corpus, size)

    def run() -> float:
        before, end = trainer.state.tokens, time.perf_counter() + TURN
        while time.perf_counter() < end:
            trainer.step()
        return float(trainer.state.tokens - before)

    return run


def trainer_of(name: str, corpus: str, size: str) -> Any:
    """What `unmask pretrain` would train with."""
    from unmask.commands.pretrain import Pretrain
    from unmask.runs import pretrain

    config = Pretrain(
        corpus=Path(corpus), out=Path("never-written"), model=model_of(name, size), objective=asked(name),
        length=LENGTH, batch_size=ROWS, precision="float32", device="cpu",
    )  # fmt: skip
    opened = Corpus.open(Path(corpus)).plus(config.extra_tokens)
    trainer = pretrain.trainer_of(config.resolved(opened.tokenizer.size), opened)
    trainer.state.steps = 1_000_000  # of which only some are taken
    return trainer


class Counted(NamedTuple):
    """What a step is made of."""

    operations: float
    tokens: int
    seconds: float  # in which its batch is made


def counted(name: str, corpus: str, size: str) -> Counted:
    """Of one step: its operations, its tokens, and how long its batch takes."""
    from torch.utils.flop_counter import FlopCounterMode

    trainer = trainer_of(name, corpus, size)
    trainer.work.batches(0)  # shards are cut once
    begin = time.perf_counter()
    (batch,) = trainer.work.batches(1)
    seconds = time.perf_counter() - begin
    with FlopCounterMode(display=False) as counter:
        sum(loss.total for loss in trainer.work.losses(batch).values()).backward()
    return Counted(counter.get_total_flops(), batch.tokens, seconds)


def costs(names: list[str], corpus: str, size: str, rounds: int) -> str:
    """The table of what each costs."""
    programs = [Program(name, {"name": name, "corpus": corpus, "size": size}) for name in names]
    measured = compare(__file__, programs, rounds)
    counts = {name: counted(name, corpus, size) for name in names}
    lines = [
        f"| objective | model | tokens/s | over {BESIDE} | expected of its operations | corruption |",
        "|---|---|---|---|---|---|",
        *(_row(name, model_of(name, size), measured, counts) for name in names),
    ]
    return "\n".join(lines)


def _row(name: str, model: str, measured: Mapping[str, Measured], counts: Mapping[str, Counted]) -> str:
    expected = _a_token(counts[BESIDE]) / _a_token(counts[name])
    corruption = counts[name].seconds / counts[name].tokens * measured[name].speed
    return (
        f"| `{name}` | {model} | {measured[name].speed:,.0f} | {measured[name].over(measured[BESIDE]):.2f}× "
        f"| {expected:.2f}× | {corruption:.1%} |"
    )


def _a_token(step: Counted) -> float:
    return step.operations / step.tokens


@dataclass(frozen=True)
class Task:
    """Texts with labels, on which every model is tried after it was pre-trained."""

    train: Path
    valid: Path

    def score(self, run: Path, init: str) -> str:
        """What a model reaches on the valid file, begun with what it learned or with random weights, and the spread."""
        out = run.with_name(f"{run.name}-{init}")
        unmask(
            "finetune", run, out=out, task="classify", train=self.train, valid=self.valid, init=init, lr="1e-3",
            seeds="1,2,3", epochs="3", **{"task.pool": "mean"},
        )  # fmt: skip
        result = json.loads((out / "result.json").read_text())
        return f"{result['figures'][result['main']]:.3f} ± {result['spread'][result['main']]:.3f}"


def unmask(command: str, source: str | Path, **options: object) -> None:
    """Run a command; what is done already it does not do again."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    line = [sys.executable, "-m", "unmask", command, str(source), *words]
    print(f"$ unmask {shlex.join(line[3:])}", file=sys.stderr, flush=True)
    if subprocess.run(line, check=False, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"unmask {command} failed; its error stands above")


def learn(names: list[str], corpus: str, size: str, steps: int, out: Path, task: Task | None) -> Iterator[str]:
    """Train each by the command line; its held-out figures beside those of answers by frequency, and a task's."""
    yield f"| {' | '.join(LEARNED)} |"
    yield "|---" * len(LEARNED) + "|"
    out.mkdir(parents=True, exist_ok=True)
    budget = steps * counted(BESIDE, corpus, size).operations
    blank: dict[Any, Path] = {}
    for name in names:
        run, recipe, model = out / name, out / f"{name}.yaml", model_of(name, size)
        affordable = round(budget / counted(name, corpus, size).operations)
        recipe.write_text(json.dumps({"objective": asked(name), "model": model}))
        unmask("pretrain", corpus, recipe=recipe, steps=affordable, out=run)
        result, scores = json.loads((run / "result.json").read_text()), ["", ""]
        if task and not result["model"]["decoder_layers"]:
            like = model, result["model"]["causal"]  # what begins alike at random is tried once
            blank.setdefault(like, run)
            scores = [task.score(run, "pretrained"), task.score(blank[like], "random")]
        yield from _learned([f"`{name}`", model, f"{affordable:,}"], result, scores)


def _learned(beginning: list[str], result: dict[str, Any], scores: list[str]) -> Iterator[str]:
    figures, always = result["figures"], (result["baseline"] or {"figures": {}})["figures"]
    for head in (figure.removeprefix("loss/") for figure in figures if figure.startswith("loss/")):
        cells = [
            f"{found[key]:.3f}" if key in found else ""
            for key in (f"loss/{head}", f"accuracy/{head}")
            for found in (figures, always)
        ]
        yield f"| {' | '.join([*beginning, head, *cells, *scores])} |"


def main() -> None:
    names = sorted(OBJECTIVES)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--only", help="some of the objectives, joined by commas")
    parser.add_argument("--size", default="tiny", choices=sorted({name.rpartition("-")[2] for name in PRESETS}))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--learn", type=int, metavar="STEPS", help=f"train each instead, so many steps of {BESIDE} or as much"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/objectives"), help="for --learn: where the runs go")
    parser.add_argument(
        "--task", type=Path, nargs=2, metavar=("TRAIN", "VALID"), help="for --learn: texts with labels, tried with each"
    )
    options = parser.parse_args()
    names = options.only.split(",") if options.only else usable(names, options.corpus)
    if options.learn:
        task = Task(*options.task) if options.task else None
        for line in learn(names, options.corpus, options.size, options.learn, options.out, task):
            print(line, flush=True)
    else:
        print(costs(list(dict.fromkeys([BESIDE, *names])), options.corpus, options.size, options.rounds))


if __name__ == "__main__" and not serve(build):
    main()
