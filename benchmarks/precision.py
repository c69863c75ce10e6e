"""Whether loss curves in bfloat16 lie on float32's: the same steps in both, from several seeds.

One run beside another says little: what is rounded otherwise in step 1 is another run by step 1,000, in float32 too.

The text is Python's own manual, letter by letter. On a processor that does not multiply bfloat16, products are computed
in float32 and rounded once, which is what those that do multiply it come to.

    python benchmarks/precision.py --steps 2000
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from turns import multiplies_bfloat16
from unmask import allocator
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import Batch, collate
from unmask.nn.heads import MaskedLMHead
from unmask.nn.losses import Loss
from unmask.nn.network import Network
from unmask.text.example import Example, Stream, Targets
from unmask.training.checkpoint import Checkpoints
from unmask.training.loop import Trainer
from unmask.training.placement import Placement
from unmask.training.settings import Training

SHAPE = Shape(vocab_size=256, width=128, layers=2, heads=2, feed_forward=512, max_length=96)
MASK, ROWS = 1, 16  # a byte that no text holds
TEXT = np.frombuffer(" ".join(topics.values()).encode(), np.uint8).astype(np.int64)
aten = torch.ops.aten
PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}


class Emulated(TorchDispatchMode):
    """Products of bfloat16 numbers with float32 sums, rounded at the end."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in PRODUCTS and args[-1].dtype == torch.bfloat16:
            return function(*(x.float() for x in args), **kwargs).bfloat16()
        return function(*args, **kwargs)


class Letters:  # the loop's `Work`
    """Stretches of the manual, some letters masked; what the loop trains on."""

    steps_per_epoch = 1.0
    data = "pydoc"

    def __init__(self, seed: int):
        torch.manual_seed(seed)
        self.network = Network(Encoder(SHAPE), {"masked_lm": MaskedLMHead(SHAPE)}).train()
        self.weights = {"masked_lm": 1.0}

    def batches(self, step: int, done: float = 0.0) -> list[Batch]:  # noqa: D102
        generator = np.random.default_rng(step)  # the same texts whatever the seed of the weights
        lengths = generator.integers(20, SHAPE.max_length + 1, ROWS)
        starts = generator.integers(0, len(TEXT) - SHAPE.max_length, ROWS)
        texts = np.concatenate([TEXT[a : a + n] for a, n in zip(starts, lengths, strict=True)])
        index = np.flatnonzero(generator.random(len(texts)) < 0.15)
        tokens = texts.copy()
        tokens[index] = MASK
        example = Example({"encoder": Stream(tokens, lengths)}, {"masked_lm": Targets(index, texts[index])})
        return [collate(example, SHAPE.max_length)]

    def losses(self, batch: Batch) -> dict[str, Loss]:  # noqa: D102
        return self.network.answer(batch, ["masked_lm"])

    def evaluate(self) -> dict[str, float]:  # noqa: D102
        return {}

    def origin(self, step: int) -> str:  # noqa: D102
        return "the manual"


def curve(precision: str, seed: int, steps: int) -> np.ndarray:
    """The mean loss of every step."""
    settings = Training(device="cpu", precision=precision, lr=1e-3, seed=seed)
    never = Checkpoints(Path(tempfile.gettempdir()) / "never-written")
    trainer = Trainer(Letters(seed), settings, Placement.of(settings), never)
    trainer.state.steps = steps
    emulated = precision == "bfloat16" and not multiplies_bfloat16()
    with Emulated() if emulated else contextlib.nullcontext():
        done = [trainer.step() for _ in range(steps)]
    return np.array([step.sums["masked_lm"].item() / step.counts["masked_lm"] for step in done])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="steps of each training")
    parser.add_argument("--seeds", type=int, default=5, help="trainings in either precision")
    options = parser.parse_args()
    allocator.tune()
    curves = {
        precision: np.stack([curve(precision, seed, options.steps) for seed in range(options.seeds)])
        for precision in ("float32", "bfloat16")
    }
    how = "as the processor multiplies it" if multiplies_bfloat16() else "products emulated"
    print(f"| steps | float32 | bfloat16 ({how}) | difference | its standard error |\n|---|---|---|---|---|")
    for part in np.array_split(np.arange(options.steps), 10):
        exact, rounded = (curves[name][:, part].mean(1) for name in ("float32", "bfloat16"))  # [N] of each seed
        error = np.sqrt((exact.var(ddof=1) + rounded.var(ddof=1)) / options.seeds)
        print(
            f"| {part[0] + 1}–{part[-1] + 1} | {exact.mean():.4f} ± {exact.std(ddof=1):.4f} "
            f"| {rounded.mean():.4f} ± {rounded.std(ddof=1):.4f} | {rounded.mean() - exact.mean():+.4f} | {error:.4f} |"
        )


if __name__ == "__main__":
    main()
