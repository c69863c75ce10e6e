"""What a training process holds as its steps go by, model by model, beside what `--dry-run` says that it would.

    python benchmarks/held.py CORPUS [--steps 60] [--only bert-mini:masked_lm,gpt2-mini:causal_lm]

CORPUS is one that `unmask prepare` made. Between two lines the process is looked at when a line of metrics is written.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PAIRS = (
    "bert-mini:masked_lm", "gpt2-mini:causal_lm", "bart-mini:denoising", "xlnet-mini:permutation_lm",
    "transformer-xl-mini:causal_lm", "reformer-mini:masked_lm", "longformer-mini:masked_lm", "gru-mini:skip_thought",
)  # fmt: skip
EVERY = 5
"""Steps between two looks."""


def command(corpus: Path, pair: str, steps: int, out: Path) -> list[str]:
    """`unmask pretrain`, 32 rows of 128 tokens a step."""
    model, objective = pair.split(":")
    settings = {"model": model, "objective": objective, "steps": steps, "batch-size": 32, "length": 128, "out": out}
    return [sys.executable, "-m", "unmask", "pretrain", str(corpus), *(f"--{k}={v}" for k, v in settings.items())]


def estimated(corpus: Path, pair: str, steps: int, out: Path) -> float:
    """Gigabytes that a run would hold at most, as it says before."""
    said = subprocess.run([*command(corpus, pair, steps, out), "--dry-run"], capture_output=True, text=True, check=True)
    found = re.search(r"estimated memory +([\d.]+) GB", said.stdout)
    assert found
    return float(found[1])


def held(corpus: Path, pair: str, steps: int, out: Path) -> dict[int, float]:
    """Gigabytes by steps done; the last are the most it ever held, with its end: evaluation, checkpoint and page."""
    process = psutil.Popen(
        [*command(corpus, pair, steps, out), f"--log-every={EVERY}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    found: dict[int, float] = {}
    most, metrics = 0.0, out / "metrics.jsonl"
    while process.poll() is None:
        try:
            now = process.memory_info().rss / 1e9
        except psutil.NoSuchProcess:
            break
        most = max(most, now)
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if lines and lines[-1].endswith("}"):
            found.setdefault(json.loads(lines[-1])["step"], now)
        time.sleep(0.05)
    if process.wait():
        sys.exit(process.stderr.read().decode())
    return {**found, steps + 1: most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--only", default=",".join(PAIRS), help="MODEL:OBJECTIVE, several with commas")
    options = parser.parse_args()
    looks = (EVERY, options.steps // 4 // EVERY * EVERY, options.steps // EVERY * EVERY - EVERY)
    print(
        "| model | objective |" + "".join(f" GB after {n} steps |" for n in looks) + " most, to the end | estimated |"
    )
    print("|---|---|" + "---|" * (len(looks) + 2))
    for pair in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            wanted = estimated(options.corpus, pair, options.steps, Path(folder) / "estimated")
            found = held(options.corpus, pair, options.steps, Path(folder) / "run")
        row = [f"{found[n]:.2f}" if n in found else "" for n in looks] + [f"{found[options.steps + 1]:.2f}"]
        print(f"| {' | '.join(pair.split(':'))} | {' | '.join(row)} | {wanted:.2f} |", flush=True)


if __name__ == "__main__":
    main()
