"""What it is worth that numbers of tokens and answers come again (`unmask.nn.even`): speed, and memory in the end.

Each step has texts of other lengths. Needs `pip install unmask[benchmark]`.

    python benchmarks/shapes.py --steps 20 --rounds 6
"""

from __future__ import annotations

import argparse

from pretrain_step import CASES, unmask
from turns import Program, Run, compare, multiplies_bfloat16, serve

TITLES = {True: "rounded up to a multiple of 32", False: "as they come"}


def build(rounded: bool, precision: str, steps: int) -> Run:
    """So many steps of a mini model."""
    if not rounded:
        from unmask.nn import even

        even.EVEN = 1
    run = unmask(CASES["mini-lengths"], precision)
    return lambda: sum(run() for _ in range(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="steps in a turn")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of turns, one untimed turn before each")
    options = parser.parse_args()
    precision = "bfloat16" if multiplies_bfloat16() else "float32"
    programs = [
        Program(title, {"rounded": rounded, "precision": precision, "steps": options.steps})
        for rounded, title in TITLES.items()
    ]
    measured = compare(__file__, programs, options.rounds)
    plain = measured[TITLES[False]]
    print(f"\n{2 * options.steps * options.rounds} steps each, {precision}\n")
    print("| numbers of tokens and answers | tokens/s | GB | faster by |\n|---|---|---|---|")
    for title, figures in measured.items():
        print(f"| {title} | {figures.speed:,.0f} | {figures.gigabytes:.2f} | {figures.over(plain):.2f}× |")


if __name__ == "__main__" and not serve(build):
    main()
