"""Writing texts against Hugging Face, in tokens per second: GPT-2, BART and T5 with random weights.

Both are given the same texts of mixed length and write the same number of tokens of each, greedily and with four beams.
The peer pads. Needs `pip install unmask[benchmark]`.

    python benchmarks/generate.py [--models gpt2,bart,t5] [--tokens 64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from turns import Measured, Program, Run, compare, serve

MODELS = {"gpt2": "gpt2-mini", "bart": "bart-mini", "t5": "t5-tiny"}
TEXTS, LONGEST = 16, 48
VOCABULARY = 8192
END = 3  # put off by `min_new_tokens`


def texts() -> list[list[int]]:
    """Of different lengths."""
    generator = np.random.default_rng(0)
    return [generator.integers(10, VOCABULARY, n).tolist() for n in generator.integers(8, LONGEST, TEXTS)]


def network_of(model: str) -> tuple[Any, Any]:
    """Random weights, of which neither program has others."""
    import torch

    from unmask import hub, presets
    from unmask.models.backbone import backbone_of
    from unmask.nn.network import Network

    shape = presets.PRESETS[MODELS[model]].model_copy(update={"vocab_size": VOCABULARY})
    torch.manual_seed(0)
    return shape, Network(backbone_of(shape), {name: make() for name, make in hub.heads_of(shape).items()})


def hugging_face(model: str, beams: int, tokens: int) -> Run:
    """`generate` over a padded batch."""
    import torch
    import transformers

    from unmask.hub.names import to_theirs
    from unmask.hub.shapes import write_shape

    shape, network = network_of(model)
    config_cls, cls = {
        "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
        "bart": (transformers.BartConfig, transformers.BartForConditionalGeneration),
        "t5": (transformers.T5Config, transformers.T5ForConditionalGeneration),
    }[model]
    peer = cls(
        config_cls(**write_shape(shape, Path("config.json")), pad_token_id=0, bos_token_id=2, eos_token_id=END)
    ).eval()
    peer.load_state_dict(to_theirs(shape, dict(network.named_parameters())), strict=False)
    peer.generation_config = transformers.GenerationConfig(
        pad_token_id=0, eos_token_id=END, max_new_tokens=tokens, min_new_tokens=tokens, num_beams=beams,
        **({"decoder_start_token_id": 2} if shape.decoder_layers else {}),
    )  # fmt: skip
    given = texts()
    rows, mask = (torch.zeros(TEXTS, LONGEST, dtype=torch.long) for _ in range(2))
    for row, seen, ids in zip(rows, mask, given, strict=True):
        place = slice(0, len(ids)) if shape.decoder_layers else slice(LONGEST - len(ids), None)
        row[place], seen[place] = torch.tensor(ids), 1

    def run() -> float:
        with torch.inference_mode():
            peer.generate(input_ids=rows, attention_mask=mask, do_sample=False)
        return float(TEXTS * tokens)

    return run


def unmask(model: str, beams: int, tokens: int) -> Run:
    """`Model.generate`, without what turns texts into tokens and back."""
    from unmask.inference.generation.generate import generate
    from unmask.inference.generation.settings import Generation
    from unmask.inference.model import Model

    shape, network = network_of(model)
    settings = Generation(max_new_tokens=tokens, **({"beams": beams} if beams > 1 else {}))
    ours = Model(Path("random"), shape, network.eval(), Ids(), begins=2 if shape.decoder_layers else None)  # type: ignore[arg-type]

    def run() -> float:
        generate(ours, texts(), settings)
        return float(TEXTS * tokens)

    return run


class Ids:
    """A tokenizer whose tokens have no letters, and no end that could be written."""

    sep, size, names = -1, VOCABULARY, dict[str, str]()

    def tokens(self, ids: Any) -> list[str]:
        """Numbers."""
        return [str(n) for n in ids]


def build(kind: str, **settings: Any) -> Run:
    """The program that a process of this benchmark runs."""
    return {"unmask": unmask, "Hugging Face": hugging_face}[kind](**settings)


def table(title: str, measured: dict[str, Measured]) -> str:
    """One model as rows of Markdown."""
    lines = [f"\n**{title}**\n", "| program | tokens/s | GB | against the first |", "|---|---|---|---|"]
    peer = next(iter(measured.values()))
    for name, figures in measured.items():
        lines.append(f"| {name} | {figures.speed:,.0f} | {figures.gigabytes:.2f} | {figures.over(peer):.2f}× |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="gpt2,bart,t5", help="of gpt2, bart, t5")
    parser.add_argument("--tokens", type=int, default=64, help="written of each text")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of turns")
    options = parser.parse_args()
    for model in options.models.split(","):
        if model not in MODELS:
            sys.exit(f"--models {model}: no such model; choose of {', '.join(MODELS)}")
        for beams in (1, 4):
            settings = {"model": model, "beams": beams, "tokens": options.tokens}
            programs = [Program(kind, {"kind": kind, **settings}) for kind in ("Hugging Face", "unmask")]
            kind = "greedy" if beams == 1 else f"{beams} beams"
            print(table(f"{MODELS[model]}, {kind}", compare(__file__, programs, options.rounds)), flush=True)


if __name__ == "__main__" and not serve(build):
    main()
