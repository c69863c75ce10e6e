"""What each objective costs, beside masked LM: measured, and by the operations that its arithmetic takes.

Every objective trains the usual model of its kind on one corpus, as `unmask pretrain` does, a step at a time and in
turn with the others. ``operations`` are the matrix products of a step, forward and backward, counted by torch for each
token read; what is not a product (norms, dropout, attention's softmax, the optimizer) is not counted. ``corruption`` is
the share of the step in which its texts are sampled and corrupted.

    python benchmarks/objectives.py CORPUS                       a folder that `unmask prepare` made
    python benchmarks/objectives.py CORPUS --learn 10            ten minutes of each: does it beat answers by frequency?
    python benchmarks/objectives.py CORPUS --only masked_lm,span_boundary --size tiny
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turns import Measured, Program, Run, compare, serve
from unmask.config import folder
from unmask.presets import PRESETS, USUAL

BESIDE = "masked_lm"
ROWS, LENGTH = 16, 128


def asked(name: str) -> dict[str, Any]:
    """The objective and what it needs, as recipes give them."""
    return {**folder("unmask.objectives")[name].needs, name: {}}


def model_of(name: str, size: str) -> str:
    """A preset of this size, of the kind that the objective usually trains."""
    kind = USUAL[folder("unmask.objectives")[name].flows[0]].rpartition("-")[0]
    return f"bert-{size}" if kind == "modernbert" else f"{kind}-{size}"


def build(name: str, corpus: str, size: str) -> Run:
    """Steps of one objective."""
    trainer = trainer_of(name, corpus, size)

    def run() -> float:
        before = trainer.state.tokens
        trainer.step()
        return float(trainer.state.tokens - before)

    return run


def trainer_of(name: str, corpus: str, size: str) -> Any:
    """What `unmask pretrain` would train with."""
    from unmask.commands.pretrain import Pretrain
    from unmask.runs import pretrain
    from unmask.text.corpus.corpus import Corpus

    opened = Corpus.open(Path(corpus))
    config = Pretrain(
        corpus=Path(corpus), out=Path("never-written"), model=model_of(name, size), objective=asked(name),
        length=LENGTH, batch_size=ROWS, precision="float32", device="cpu",
    )  # type: ignore[arg-type]  # fmt: skip
    trainer = pretrain.trainer_of(config.resolved(opened.tokenizer.size), opened)
    trainer.state.steps = 1_000_000  # of which only some are taken
    return trainer


def counted(name: str, corpus: str, size: str) -> tuple[float, float]:
    """Operations for each token of a step, and the seconds in which its batch is made."""
    from torch.utils.flop_counter import FlopCounterMode

    trainer = trainer_of(name, corpus, size)
    trainer.work.batches(0)  # shards are cut once
    begin = time.perf_counter()
    (batch,) = trainer.work.batches(1)
    seconds = time.perf_counter() - begin
    with FlopCounterMode(display=False) as counter:
        sum(loss.total for loss in trainer.work.losses(batch).values()).backward()
    return counter.get_total_flops() / batch.tokens, seconds / batch.tokens


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


def _row(name: str, model: str, measured: Mapping[str, Measured], counts: Mapping[str, tuple[float, float]]) -> str:
    operations, seconds = counts[name]
    return (
        f"| `{name}` | {model} | {measured[name].speed:,.0f} | {measured[name].over(measured[BESIDE]):.2f}× "
        f"| {counts[BESIDE][0] / operations:.2f}× | {seconds * measured[name].speed:.1%} |"
    )


def learn(names: list[str], corpus: str, size: str, minutes: float, out: Path) -> str:
    """Train each by the command line, and show its held-out figures beside those of answers by frequency."""
    lines = [
        "| objective | model | head | loss | by frequency | accuracy | by frequency |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        run = out / name
        recipe = out / f"{name}.yaml"
        out.mkdir(parents=True, exist_ok=True)
        recipe.write_text(json.dumps({"objective": asked(name), "model": model_of(name, size)}))
        command = ["pretrain", corpus, "--recipe", str(recipe), "--minutes", str(minutes), "--out", str(run)]
        if subprocess.run(
            [sys.executable, "-m", "unmask", *command], check=False, stdout=subprocess.DEVNULL
        ).returncode:
            sys.exit(f"{name}: failed; its error stands above")
        lines += _learned(name, model_of(name, size), json.loads((run / "result.json").read_text()))
    return "\n".join(lines)


def _learned(name: str, model: str, result: dict[str, Any]) -> list[str]:
    figures, always = result["figures"], (result["baseline"] or {"figures": {}})["figures"]
    heads = [figure.removeprefix("loss/") for figure in figures if figure.startswith("loss/")]
    return [
        f"| `{name}` | {model} | {head} | "
        + " | ".join(
            f"{found[key]:.3f}" if key in found else ""
            for key in (f"loss/{head}", f"accuracy/{head}")
            for found in (figures, always)
        )
        + " |"
        for head in heads
    ]


def main() -> None:
    names = sorted(folder("unmask.objectives"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--only", default=",".join(names), help="some of the objectives, joined by commas")
    parser.add_argument("--size", default="tiny", choices=sorted({name.rpartition("-")[2] for name in PRESETS}))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--learn", type=float, metavar="MINUTES", help="train each so long instead")
    parser.add_argument("--out", type=Path, default=Path("runs/objectives"), help="for --learn: where the runs go")
    options = parser.parse_args()
    names = options.only.split(",")
    if options.learn:
        print(learn(names, options.corpus, options.size, options.learn, options.out))
    else:
        print(costs(list(dict.fromkeys([BESIDE, *names])), options.corpus, options.size, options.rounds))


if __name__ == "__main__" and not serve(build):
    main()
