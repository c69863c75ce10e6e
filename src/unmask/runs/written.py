"""What a model writes at the end of its pre-training, for the run's page: of held-out text, beside what stood there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unmask.inference.generation.generate import generate, way_of
from unmask.inference.generation.settings import Generation
from unmask.inference.generation.ways import Filling, FromLeft, Reading
from unmask.inference.model import Model
from unmask.nn.network import evaluating
from unmask.runs.pretraining import Pretraining
from unmask.text.example import Example
from unmask.text.sampling.plan import draw

MOST = 64
"""Tokens of a text that are shown."""

Asked = tuple[list[int], list[int]]
"""The tokens that a model is given, and those that it is to write."""

Sample = dict[str, str]
"""``given``, ``written``, and ``truth``: what stood there."""


def written(work: Pretraining, wanted: int) -> list[Sample]:
    """So many texts; none by a model that does not write, and none of articles with fields."""
    model = _model(work)
    if not {"causal_lm", "masked_next_token", "decoder_lm"}.intersection(model.heads):
        return []
    if any(objective.fields for objective in work.objectives):
        return []
    way = way_of(model)
    asked = _fragments if isinstance(way, Filling) else _rewritten if isinstance(way, Reading) else _carried_on
    with evaluating(work.network):
        return [_sample(way, given, truth) for given, truth in asked(work, model)[:wanted]]


def _model(work: Pretraining) -> Model:
    tokenizer, network = work.plan.corpus.tokenizer, work.network
    roles = [objective.begins for objective in work.objectives if objective.begins is not None]
    begins = getattr(tokenizer, roles[0]) if roles else None
    shape, device = network.backbone.shape, work.placement.device
    return Model(Path("the run"), shape, network, tokenizer, device=device, begins=begins)


def _sample(way: FromLeft, given: list[int], truth: list[int]) -> Sample:
    settings = Generation(max_new_tokens=max(1, min(len(truth), MOST)))
    (whole,) = generate(way.model, [given], settings)
    if not isinstance(way, Reading):
        whole, told = whole[len(given) :], truth
    else:
        told = way.whole(np.array(given), truth[:MOST])
    return {"given": _with_masks(way.model, given), "written": way.model.text_of(whole, extra=True),
            "truth": way.model.text_of(told, extra=True)}  # fmt: skip


def _with_masks(model: Model, ids: list[int]) -> str:
    """A text in which masks are to be seen, if it has any."""
    if "mask" not in model.tokenizer.names:
        return model.text_of(ids, extra=True)
    mask = model.tokenizer.mask
    parts = np.split(np.array(ids), np.flatnonzero(np.array(ids) == mask))
    texts = (model.text_of(part.tolist(), extra=True) for part in parts)
    return " ".join(f" {model.tokenizer.tokens([mask])[0]} ".join(texts).split())


def _stretches(work: Pretraining, most: int) -> list[list[int]]:
    """Tokens of held-out text, as it is cut for the model, two at least."""
    slots, _, _ = (work.held_out or work.plan).slots(0)
    starts = np.cumsum(slots.lengths) - slots.lengths
    bounds = zip(starts.tolist(), slots.lengths.tolist(), strict=True)
    return [slots.tokens[start : start + min(length, most)].tolist() for start, length in bounds if length > 1]


def _carried_on(work: Pretraining, model: Model) -> list[Asked]:
    """The first halves of texts, and the second ones."""
    lead = [model.tokenizer.cls] if model.tokenizer.opens else []
    texts = _stretches(work, min(MOST, model.shape.max_length - len(lead)))
    return [([*lead, *text[: len(text) // 2]], text[len(text) // 2 :]) for text in texts]


def _fragments(work: Pretraining, model: Model) -> list[Asked]:
    """Texts whose second quarter is hidden."""
    tokenizer, found = model.tokenizer, []
    for text in _stretches(work, min(MOST, model.shape.max_length - 2)):
        first, size = len(text) // 4, max(1, len(text) // 4)
        given = [*text[:first], *[tokenizer.mask] * size, *text[first + size :]]
        found.append(([tokenizer.cls, *given, tokenizer.sep], text[first : first + size]))
    return found


def _rewritten(work: Pretraining, model: Model) -> list[Asked]:
    """Texts as the first objective spoils them, and what is to be written of each."""
    plan = work.held_out or work.plan
    asked = [objective.at(1.0) for objective in work.lots[0]]
    example = draw(plan, asked, model.tokenizer, work.settings.seed, 0)
    source = example.streams["encoder"]
    texts = np.split(source.tokens, source.starts[1:])
    return [(text.tolist(), truth) for text, truth in zip(texts, _labels(example), strict=True)]


def _labels(example: Example) -> list[list[int]]:
    """What the decoder is asked for, text by text, without what ends each."""
    targets, stream = example.targets["decoder_lm"], example.streams["decoder"]
    owner = stream.sequence[targets.index]
    return [targets.labels[owner == n].tolist() for n in range(len(stream.lengths))]
