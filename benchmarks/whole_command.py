"""Pre-training as a user meets it: whole commands, from a text file to a saved model, each as it comes.

`unmask prepare` and `unmask pretrain` beside what Hugging Face's example does for the same (`run_mlm.py`: `datasets`
maps the text to rows, its `Trainer` steps through them in float32, its collator masks). Both read the same text with
the same tokenizer, train the same `bert-mini` for the same steps of the same size, and save it; seconds are those of
the processes, imports included, with the memory allocator and the precision each chooses. The tokenizer is trained
before, for both. Needs `pip install unmask[benchmark]`.

    python benchmarks/whole_command.py TEXT --steps 40 --rounds 2
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grouping import grouped

ROWS, LENGTH, VOCABULARY = 32, 128, 30522


def peer(text: str, tokenizer: str, steps: int, out: str) -> float:
    """The example's training: seconds that its Trainer says it trained."""
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
    )

    rows = grouped(text, tokenizer, LENGTH, f"{out}-cache")
    collator = DataCollatorForLanguageModeling(AutoTokenizer.from_pretrained(tokenizer))
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024
    )
    settings = TrainingArguments(out, max_steps=steps, per_device_train_batch_size=ROWS, use_cpu=True, report_to=[])
    trainer = Trainer(BertForMaskedLM(config), settings, collator, rows)
    done = trainer.train()
    trainer.save_model()
    return float(done.metrics["train_runtime"])


def theirs(text: Path, tokenizer: Path, steps: int, out: Path) -> float:
    """The example as a process of its own."""
    settings = json.dumps({"text": str(text), "tokenizer": str(tokenizer), "steps": steps, "out": str(out)})
    _run([sys.executable, __file__, "--peer", settings])
    return float((out / "seconds").read_text())


def ours(text: Path, tokenizer: Path, steps: int, out: Path) -> float:
    """The two commands; seconds of training as the run tells them."""
    command, corpus, run = [sys.executable, "-m", "unmask"], str(out / "corpus"), str(out / "run")
    _run([*command, "prepare", str(text), "--tokenizer", str(tokenizer), "--out", corpus])
    sizes = ["--batch-size", str(ROWS), "--length", str(LENGTH), "--steps", str(steps), "--eval-every", str(steps)]
    _run([*command, "pretrain", corpus, "--model", "bert-mini", *sizes, "--out", run])
    return float(json.loads((out / "run" / "result.json").read_text())["seconds"])


def tokenizer_of(text: Path, out: Path) -> Path:
    """A tokenizer of that text, which both read."""
    size = ["--vocab-size", str(VOCABULARY), "--out", str(out)]
    _run([sys.executable, "-m", "unmask", "prepare", str(text), *size])
    return out


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def measure(text: Path, steps: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the whole and of the training, a round after a round."""
    measured: dict[str, list[tuple[float, float]]] = {"Hugging Face's example": [], "unmask": []}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tokenizer_of(text, Path(folder) / "vocabulary")
        for number, (name, program) in itertools.product(range(rounds), zip(measured, (theirs, ours), strict=True)):
            print(f"\r\033[Kround {number + 1} of {rounds}: {name}", end="", file=sys.stderr, flush=True)
            out = Path(folder) / f"{number}-{program.__name__}"
            out.mkdir()
            began = time.perf_counter()
            training = program(text, tokenizer, steps, out)
            measured[name].append((time.perf_counter() - began, training))
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    return measured


def table(measured: dict[str, list[tuple[float, float]]], steps: int) -> str:
    """Medians of the rounds, and of their ratios."""
    base = measured["Hugging Face's example"]
    lines = ["| program | whole, s | training, s | tokens/s in training | whole faster by | training faster by |"]
    lines.append("|---|---|---|---|---|---|")
    for name, seconds in measured.items():
        whole, training = (statistics.median(column) for column in zip(*seconds, strict=True))
        faster = [statistics.median(b[i] / s[i] for b, s in zip(base, seconds, strict=True)) for i in (0, 1)]
        rate = steps * ROWS * LENGTH / training
        ratios = " | ".join(f"{ratio:.2f}×" for ratio in faster)
        lines.append(f"| {name} | {whole:.0f} | {training:.0f} | {rate:,.0f} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="a text file")
    parser.add_argument("--steps", type=int, default=40, help=f"steps of {ROWS} rows of {LENGTH} tokens")
    parser.add_argument("--rounds", type=int, default=2, help="times each is run")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {options.steps} steps of {ROWS} × {LENGTH} tokens\n")
    print(table(measure(options.text, options.steps, options.rounds), options.steps))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        told = json.loads(sys.argv[2])
        (Path(told["out"]) / "seconds").write_text(str(peer(**told)))
    else:
        main()
