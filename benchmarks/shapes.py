"""What two ways of computing less are worth in a step of masked LM: speed, and memory after many steps.

The last layer is computed only where something is asked (`unmask.nn.asked`), and numbers of tokens and answers come
again (`unmask.nn.even`). Each is switched off in turn. No two steps have the same texts.

    python benchmarks/shapes.py --steps 10 --rounds 6
"""

from __future__ import annotations

import argparse

from pretrain_step import CASES, unmask
from turns import Program, Run, compare, multiplies_bfloat16, serve

WHOLE, UNEVEN = "the last layer of all tokens", "numbers of tokens and answers as they come"
VARIANTS = ("as it is", WHOLE, UNEVEN)


def build(variant: str, precision: str, steps: int) -> Run:
    """So many steps of a mini model."""
    if variant == UNEVEN:
        from unmask.nn import even

        even.EVEN = 1
    if variant == WHOLE:
        from unmask.nn import asked

        asked._MOST = 0.0
    run = unmask(CASES["mini-lengths"], precision)
    return lambda: sum(run() for _ in range(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="steps in a turn")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of turns, one untimed turn before each")
    options = parser.parse_args()
    precision = "bfloat16" if multiplies_bfloat16() else "float32"
    settings = {"precision": precision, "steps": options.steps}
    programs = [Program(variant, {"variant": variant, **settings}) for variant in VARIANTS]
    measured = compare(__file__, programs, options.rounds)
    print(f"\n{2 * options.steps * options.rounds} steps each, {precision}\n")
    print("| a step | tokens/s | GB | faster as it is by |\n|---|---|---|---|")
    for variant, figures in measured.items():
        faster = measured[VARIANTS[0]].over(figures)
        print(f"| {variant} | {figures.speed:,.0f} | {figures.gigabytes:.2f} | {faster:.2f}× |")


if __name__ == "__main__" and not serve(build):
    main()
