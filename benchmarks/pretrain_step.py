"""A step of masked-LM training against Hugging Face's (and UER-py's), in real tokens per second.

Real tokens are those of texts, never padding. The peers get their batches padded, as their own scripts train; ours lays
as many texts as fit side by side. Needs `pip install unmask[benchmark]`; for UER-py a checkout of it, and `six`.

    python benchmarks/pretrain_step.py                      the table of all cases that fit this machine
    python benchmarks/pretrain_step.py --cases mini --rounds 9 --uer ../UER-py
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from turns import Measured, Program, Run, compare, matrix_rate, multiplies_bfloat16, serve

VOCABULARY, MASKED = 30522, 0.15
BATCHES = 256
"""That differ, more than are met: shapes that come again are computed faster than new ones."""


@dataclass(frozen=True)
class Case:
    """A model and what it is fed."""

    title: str
    layers: int = 4
    width: int = 256
    heads: int = 4
    batch: int = 32
    length: int = 128
    dropout: float = 0.0
    mean_length: int | None = None  # None: every text fills its row
    peers_tuned: bool = True  # peers run with our allocator settings, or with the system's

    def lengths(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """How long n texts are; log-normal, as WikiText's paragraphs are."""
        if self.mean_length is None:
            return np.full(n, self.length)
        spread = 0.6
        drawn = generator.lognormal(np.log(self.mean_length) - spread**2 / 2, spread, n)
        return np.clip(drawn.round().astype(np.int64), 8, self.length)

    def rows(self, generator: np.random.Generator) -> np.ndarray:
        """Lengths of texts that lie side by side in `batch` rows, the longest that still fits first."""
        pool = sorted(self.lengths(generator, 4 * self.batch).tolist())
        chosen: list[int] = []
        for _ in range(self.batch):
            room = self.length
            while (fitting := int(np.searchsorted(pool, room, side="right"))) and room:
                chosen.append(pool.pop(fitting - 1))
                room -= chosen[-1]
        return np.array(chosen)

    def operations(self, tokens: float, answers: float) -> float:
        """Floating-point operations of our step's matrix products, attention's among them; three times the forward's.

        The last layer makes queries, keys and values of all tokens, and all else of those that are asked about.
        """
        making, seeing = 2 * 3 * self.width**2, 4 * self.length * self.width
        layer = making + seeing + 2 * 9 * self.width**2
        whole = tokens * ((self.layers - 1) * layer + making)
        return 3 * (whole + answers * (layer - making + 2 * self.width * (self.width + VOCABULARY)))


CASES = {
    "mini": Case("mini, full length, dropout 0"),
    "mini-dropout": Case("mini, full length, dropout 0.1", dropout=0.1),
    "mini-lengths": Case("mini, WikiText-like lengths, dropout 0.1", dropout=0.1, mean_length=60),
    "mini-user": Case("mini, full length, dropout 0.1, peers' own allocator", dropout=0.1, peers_tuned=False),
    "base-8": Case("base, batch 8, dropout 0", 12, 768, 12, 8),
    "base-32": Case("base, batch 32, dropout 0", 12, 768, 12, 32),
}


def hugging_face(case: Case, precision: str, checkout: str = "") -> Run:
    """BertForMaskedLM as `run_mlm.py` trains it: padded, logits everywhere, fused AdamW, clipped."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=case.width,
        num_hidden_layers=case.layers,
        num_attention_heads=case.heads,
        intermediate_size=4 * case.width,
        hidden_dropout_prob=case.dropout,
        attention_probs_dropout_prob=case.dropout,
    )
    model = BertForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-4, fused=True)
    batches = _endless([_padded(case, seed) for seed in range(BATCHES)])

    def run() -> float:
        tokens, mask, labels = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(mask.sum())

    return run


def _padded(case: Case, seed: int) -> tuple[Any, Any, Any]:
    import torch

    generator = np.random.default_rng(seed)
    lengths = case.lengths(generator, case.batch)
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.where(mask, generator.integers(1000, VOCABULARY, mask.shape), 0)
    labels = np.where(mask & (generator.random(mask.shape) < MASKED), tokens, -100)
    return torch.from_numpy(tokens), torch.from_numpy(mask).long(), torch.from_numpy(labels)


def uer_py(case: Case, precision: str, checkout: str) -> Run:
    """UER-py's masked LM and AdamW: padded, logits of what was masked; it neither clips nor knows bfloat16."""
    import torch

    sys.path.insert(0, checkout)
    os.chdir(checkout)  # from where it reads the names of special tokens
    from uer.model_builder import build_model
    from uer.utils.optimizers import AdamW

    model = build_model(_uer_settings(case)).train()
    for name, weight in model.named_parameters():
        if "gamma" not in name and "beta" not in name:
            torch.nn.init.normal_(weight, 0, 0.02)
    optimizer = AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, correct_bias=False)
    batches = _endless([_padded(case, seed) for seed in range(BATCHES)])

    def run() -> float:
        tokens, mask, labels = next(batches)
        loss, _, _ = model(tokens, labels.clamp(min=0), mask)
        loss.backward()
        optimizer.step()
        model.zero_grad()
        return float(mask.sum())

    return run


def _uer_settings(case: Case) -> SimpleNamespace:
    """What its scripts would read from a BERT's configuration."""
    off = (
        "remove_embedding_layernorm remove_transformer_bias remove_attention_scale parameter_sharing "
        "factorized_embedding_parameterization relative_position_embedding has_residual_attention"
    )
    return SimpleNamespace(
        embedding=["word", "pos", "seg"], encoder="transformer", decoder=None, target=["mlm"], data_processor="mlm",
        tokenizer=SimpleNamespace(vocab=range(VOCABULARY)), emb_size=case.width, hidden_size=case.width,
        feedforward_size=4 * case.width, heads_num=case.heads, layers_num=case.layers, hidden_act="gelu",
        dropout=case.dropout, max_seq_length=512, tie_weights=True, mask="fully_visible", feed_forward="dense",
        layernorm_positioning="post", layernorm="normal", **dict.fromkeys(off.split(), False),
    )  # fmt: skip


def unmask(case: Case, precision: str, checkout: str = "") -> Run:
    """The loop's own step, collation included."""
    from unmask.models.encoder import Encoder
    from unmask.models.shape import Shape
    from unmask.nn.heads import MaskedLMHead
    from unmask.nn.network import Network
    from unmask.training.checkpoint import Checkpoints
    from unmask.training.loop import Trainer
    from unmask.training.placement import Placement
    from unmask.training.settings import Training

    shape = Shape(
        layers=case.layers, width=case.width, heads=case.heads, feed_forward=4 * case.width,
        dropout=case.dropout, attention_dropout=case.dropout,
    )  # fmt: skip
    network = Network(Encoder(shape), {"masked_lm": MaskedLMHead(shape)}).train()
    settings = Training(device="cpu", precision=precision)
    checkpoints = Checkpoints(Path(tempfile.gettempdir()) / "never-written")
    trainer = Trainer(_Work(network, case), settings, Placement.of(settings), checkpoints)
    trainer.state.steps = 1_000_000  # of which only some are taken

    def run() -> float:
        before = trainer.state.tokens
        trainer.step()
        return float(trainer.state.tokens - before)

    return run


class _Work:
    """Batches of random tokens for the loop."""

    weights = {"masked_lm": 1.0}  # noqa: RUF012
    steps_per_epoch = 1.0
    data = "random"

    def __init__(self, network: Any, case: Case):
        self.network, self.case = network, case
        self.examples = [_packed(case, seed) for seed in range(BATCHES)]

    def batches(self, step: int, done: float = 0.0) -> list[Any]:
        from unmask.nn.batch import collate

        return [collate(self.examples[step % len(self.examples)], self.case.length)]

    def losses(self, batch: Any) -> Any:
        return self.network.answer(batch, ["masked_lm"])

    def evaluate(self) -> dict[str, float]:
        return {}

    def origin(self, step: int) -> str:
        return "random tokens"


def _packed(case: Case, seed: int) -> Any:
    from unmask.text.example import Example, Stream, Targets

    generator = np.random.default_rng(seed)
    lengths = case.rows(generator)
    tokens = generator.integers(1000, VOCABULARY, lengths.sum())
    index = np.flatnonzero(generator.random(len(tokens)) < MASKED)
    return Example({"encoder": Stream(tokens, lengths)}, {"masked_lm": Targets(index, tokens[index])})


def _endless(batches: list[Any]) -> Any:
    while True:
        yield from batches


PEERS = {"Hugging Face": hugging_face, "UER-py": uer_py}


def build(kind: str, precision: str, case: dict[str, Any], checkout: str) -> Run:
    """The program that a process of this benchmark runs."""
    if kind == "rate":
        return matrix_rate(precision)
    return {"unmask": unmask, **PEERS}[kind](Case(**case), precision, checkout)


def programs(case: Case, precisions: list[str], checkout: str) -> list[Program]:
    """Every program of a case, and the machine's matrix rate beside them."""
    settings = {"case": dataclasses.asdict(case), "checkout": checkout}
    return [
        Program(
            f"{kind} {precision}",
            {"kind": kind, "precision": precision, **settings},
            kind not in PEERS or case.peers_tuned,
        )
        for kind in ("rate", *PEERS, "unmask")
        for precision in precisions
        if kind != "UER-py" or (checkout and precision == "float32")
    ]


def table(case: Case, measured: dict[str, Measured]) -> str:
    """One case as rows of Markdown."""
    examples = [case.rows(np.random.default_rng(seed)).sum() for seed in range(BATCHES)]
    operations = case.operations(1, MASKED)
    lines = [
        f"\n**{case.title}** ({float(np.mean(examples)):,.0f} tokens a step of ours)\n",
        "| program | tokens/s | GB | share of the matrix rate | ours is faster by |",
        "|---|---|---|---|---|",
    ]
    for name, figures in measured.items():
        kind, precision = name.rsplit(" ", 1)
        if kind == "rate":
            lines.append(f"| (matrix products, {precision}) | {figures.speed / 1e9:,.0f} GFLOP/s | | | |")
            continue
        share = f"{figures.over(measured[f'rate {precision}']) * operations:.0%}" if kind == "unmask" else ""
        ratios = [
            f"{ours.over(figures):.2f}× ({n.rsplit(' ', 1)[1]})"
            for n, ours in measured.items()
            if n.startswith("unmask") and kind != "unmask"
        ]
        lines.append(f"| {name} | {figures.speed:,.0f} | {figures.gigabytes:.2f} | {share} | {', '.join(ratios)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of turns")
    parser.add_argument("--uer", default="", help="a checkout of UER-py, to measure it too")
    options = parser.parse_args()
    checkout = str(Path(options.uer).resolve()) if options.uer else ""
    precisions = ["float32"]
    if multiplies_bfloat16():
        precisions.append("bfloat16")
    else:
        print("This processor does not multiply bfloat16: only float32 is measured, and no goal of ours in bfloat16.")
    for name in options.cases.split(","):
        if name not in CASES:
            sys.exit(f"--cases {name}: no such case; choose of {', '.join(CASES)}")
        case = CASES[name]
        measured = compare(__file__, programs(case, precisions, checkout), options.rounds)
        print(table(case, measured), flush=True)


if __name__ == "__main__" and not serve(build):
    main()
