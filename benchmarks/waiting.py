"""What threads that spin while they wait cost a training, on a quiet processor and on one with other work.

The other work is one process that computes without end. Settings of OpenMP's waiting are measured in turn.

    python benchmarks/waiting.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import asdict

from pretrain_step import Case, unmask
from turns import Measured, Program, Run, compare, serve
from unmask import threads

CASE = Case("tiny", layers=2, width=128, heads=2, batch=16)
WAITING = {"OpenMP's default": {}, f"{threads.SPINS} spins (unmask)": {"GOMP_SPINCOUNT": threads.SPINS},
           "no spins": {"OMP_WAIT_POLICY": "PASSIVE"}}  # fmt: skip


def build(environment: dict[str, str]) -> Run:
    os.environ.update(environment)  # before torch is imported
    return unmask(Case(**asdict(CASE)), "float32")


def measure(rounds: int) -> dict[str, Measured]:
    return compare(__file__, [Program(name, {"environment": given}) for name, given in WAITING.items()], rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of turns")
    rounds = parser.parse_args().rounds
    quiet = measure(rounds)
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        busy = measure(rounds)
    finally:
        other.kill()
        other.wait()
    print("| while threads wait | tokens/s, quiet | tokens/s, beside another process |\n|---|---|---|")
    for name in WAITING:
        print(f"| {name} | {quiet[name].speed:,.0f} | {busy[name].speed:,.0f} |")


if __name__ == "__main__" and not serve(build):
    main()
