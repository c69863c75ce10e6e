"""Programs measured in turn: one process each, an untimed run before every timed one, ratios taken round by round.

Machines drift (heat, neighbours, clocks). Two figures measured minutes apart say little; two measured in one round
can be divided, and the median over the rounds leaves out the odd one.
"""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Run = Callable[[], float]
"Does some work and says how much it was: tokens, sequences, operations."


@dataclass
class Program:
    """What one process does; its name must be unique in a comparison."""

    name: str
    settings: dict[str, Any]
    tuned: bool = True  # the memory allocator as `unmask` sets it, or as it comes


@dataclass
class Measured:
    """Work per second in every round, and the most memory the process ever held."""

    speeds: list[float] = field(default_factory=list)
    gigabytes: float = 0.0

    @property
    def speed(self) -> float:
        """The median."""
        return statistics.median(self.speeds)

    def over(self, other: Measured) -> float:
        """The median of the ratios to another program's speed, round by round."""
        return statistics.median(a / b for a, b in zip(self.speeds, other.speeds, strict=True))


def compare(script: str, programs: list[Program], rounds: int) -> dict[str, Measured]:
    """Start every program, give each a turn in every round, and stop them."""
    processes = {p.name: _start(script, p) for p in programs}
    measured = {p.name: Measured() for p in programs}
    try:
        for number in range(rounds):
            for name, process in processes.items():
                print(f"\r\033[Kround {number + 1} of {rounds}: {name}", end="", file=sys.stderr, flush=True)
                turn = _ask(process, name)
                measured[name].speeds.append(turn["work"] / turn["seconds"])
                measured[name].gigabytes = turn["gigabytes"]
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
        for process in processes.values():
            process.kill()
            process.wait()
    return measured


def serve(build: Callable[..., Run]) -> bool:
    """In a process that `compare` started: build the program and take turns until the end. False in any other."""
    if len(sys.argv) != 3 or sys.argv[1] != "--program":
        return False
    program = Program(**json.loads(sys.argv[2]))
    if program.tuned:
        from unmask import allocator

        allocator.tune()
    run = build(**program.settings)
    for _ in sys.stdin:
        run()
        begin = time.perf_counter()
        work = run()
        seconds = time.perf_counter() - begin
        gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform != "darwin" else 1e9)
        print(json.dumps({"work": work, "seconds": seconds, "gigabytes": gigabytes}), flush=True)
    return True


def _start(script: str, program: Program) -> subprocess.Popen[str]:
    command = [sys.executable, script, "--program", json.dumps(asdict(program))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(process: subprocess.Popen[str], name: str) -> dict[str, float]:
    assert process.stdin and process.stdout
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        sys.exit(f"{name}: stopped; its error stands above")
    return json.loads(answer)


def matrix_rate(dtype: str) -> Run:
    """Floating-point operations of a square product that fits in no small cache: the machine's practical limit."""
    import torch

    n = 2048
    a, b = torch.randn(2, n, n).to(getattr(torch, dtype))

    def run() -> float:
        for _ in range(4):
            a @ b
        return 4 * 2.0 * n**3

    return run


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products in bfloat16; without them they are emulated, slowly."""
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
