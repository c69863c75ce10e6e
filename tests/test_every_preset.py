"""Every preset, made small, with every objective: it trains, or is refused with what would fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_every_course import OBJECTIVES
from unmask.commands.pretrain import Pretrain
from unmask.config import build
from unmask.errors import UserError
from unmask.models.shape import Shape, built_in
from unmask.objectives.base import refused_by
from unmask.presets import PRESETS
from unmask.runs.pretrain import trainer_of
from unmask.runs.written import written
from unmask.text.corpus.corpus import Corpus
from unmask.training.loop import Trainer

SMALL = {"width": 32, "embedding_width": 16, "filters": 64, "layers": 2, "decoder_layers": 2, "heads": 2,
         "head_width": 16, "bottleneck": 16, "feed_forward": 64, "max_length": 64, "vocab_size": 120}  # fmt: skip


def smaller(shape: Shape) -> Shape:
    """The same parts in small, but for numbers that a preset has not, or that its family does not let vary."""
    fixed = built_in(shape.family)
    numbers = {name: n for name, n in SMALL.items() if name not in fixed and getattr(shape, name) not in (None, 0)}
    window = 8 if isinstance(shape.window, int) else None
    return shape.model_copy(update={**numbers, "window": window})


KINDS: dict[str, tuple[Shape, list[str]]] = {}
"""By all that is left of presets when their numbers are small: the shape, and whose it is."""
for _name, _preset in PRESETS.items():
    KINDS.setdefault(smaller(_preset).model_dump_json(), (smaller(_preset), []))[1].append(_name)
CASES = [(shape, name) for shape, _ in KINDS.values() for name in OBJECTIVES]
each = pytest.mark.parametrize(
    "shape, name", CASES, ids=[f"{presets[0]}-{name}" for _, presets in KINDS.values() for name in OBJECTIVES]
)


def suits(shape: Shape, name: str) -> bool:
    """By the flow of data; a token that sees all tells those that read from the left."""
    cls = OBJECTIVES[name]
    dropped = shape.dropout or shape.attention_dropout or name != "contrastive"
    told = cls.one_sided and shape.tells_later
    too_wide = name == "replaced_token_detection" and shape.family in ("mobilebert", "reformer")
    return shape.flow in cls.flows and bool(dropped) and not told and not too_wide


def asked_for(shape: Shape, name: str, corpus: Path, precision: str = "float32") -> dict[str, Any]:
    """What a user who wants it would ask for, in little."""
    return {
        "corpus": corpus, "out": "out", "model": shape.model_dump(exclude={"vocab_size"}), "steps": 2, "length": 32,
        "batch_size": 6, "lr": 1e-3, "objective": {**OBJECTIVES[name].needs, name: {}}, "device": "cpu",
        "precision": precision,
    }  # fmt: skip


def trainer_for(asked: dict[str, Any]) -> Trainer:
    """That, ready for its first step."""
    config = build(Pretrain, asked)
    opened = Corpus.open(asked["corpus"]).plus(config.extra_tokens)
    trainer = trainer_of(config.resolved(opened.tokenizer.size), opened)
    trainer.plan()
    return trainer


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_refuses_is_listed(preset: str) -> None:
    shape = PRESETS[preset]
    others = [name for name in OBJECTIVES if shape.flow in OBJECTIVES[name].flows and not suits(shape, name)]
    assert sorted(refused_by(shape)) == sorted(others)


@each
def test_it_trains_or_is_refused(shape: Shape, name: str, corpus: Path) -> None:
    asked = asked_for(shape, name, corpus)
    if not suits(shape, name):
        told = "would fit" if shape.flow in OBJECTIVES[name].flows else f"{name} cannot train .*; --model could be "
        with pytest.raises(UserError, match=told) as refusal:
            build(Pretrain, asked)
        assert "\n" not in str(refusal.value)
        return
    trainer = trainer_for(asked)
    before = {n: w.detach().clone() for n, w in trainer.work.network.backbone.named_parameters()}
    for _ in range(2):
        sums = trainer.step().sums
        assert sums and all(np.isfinite(total.item()) for total in sums.values())
    moved = [n for n, w in trainer.work.network.backbone.named_parameters() if not (w == before[n]).all()]
    assert len(moved) > len(before) / 2, "most of the model learns"
    written(trainer.work, 1)  # what is done at the end of a run


ROUGH = [
    *((shape, next(name for name in OBJECTIVES if suits(shape, name))) for shape, _ in KINDS.values()),
    *((next(shape for shape, _ in KINDS.values() if suits(shape, name)), name) for name in OBJECTIVES),
]
"""Every kind of model once, and every objective once."""


@pytest.mark.parametrize("shape, name", ROUGH, ids=[f"{KINDS[s.model_dump_json()][1][0]}-{n}" for s, n in ROUGH])
def test_it_trains_in_bfloat16(shape: Shape, name: str, corpus: Path) -> None:
    """Emulated where the processor has no such products. The first step has the loss of float32's, to rounding."""
    rough, exact = (trainer_for(asked_for(shape, name, corpus, number)) for number in ("bfloat16", "float32"))
    mine, theirs = rough.step(), exact.step()
    assert mine.counts == theirs.counts
    for what, total in theirs.sums.items():
        assert mine.sums[what].item() == pytest.approx(total.item(), rel=0.02)
    assert all(np.isfinite(total.item()) for total in rough.step().sums.values())


def test_every_preset_is_among_them() -> None:
    assert sorted(preset for _, presets in KINDS.values() for preset in presets) == sorted(PRESETS)
    assert len(KINDS) >= 15 and all(any(suits(shape, name) for name in OBJECTIVES) for shape, _ in KINDS.values())
