"""From texts to texts: what is written together, and what comes out. N texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from unmask.errors import UserError
from unmask.inference.generation.settings import Generation
from unmask.inference.generation.ways import way_of
from unmask.text.example import Array
from unmask.text.sampling.batches import by_length

if TYPE_CHECKING:
    from unmask.inference.model import Model

TOKENS_AT_ONCE = 4096  # of beams and prompts together: little to hold


def generate(model: Model, texts: Sequence[str] | Sequence[Sequence[int]], settings: Generation) -> list[list[int]]:
    """The tokens of what becomes of each text; see `Model.generate`."""
    way = way_of(model)
    if 2 * settings.beams > model.tokenizer.size:
        raise UserError(f"beams {settings.beams}: more than half of the {model.tokenizer.size} tokens; fewer would fit")
    prompts = model.sequences(texts, way.closed)
    most = np.array([way.most(f"sequence {n}", ids, settings.max_new_tokens) for n, ids in enumerate(prompts)], int)
    whole: list[list[int]] = [[] for _ in prompts]
    for group in _groups(np.array([len(ids) for ids in prompts], int), most, settings.beams):
        with torch.inference_mode():
            some = [prompts[n] for n in group]
            written = way.write(some, np.array(group), int(most[group[0]]), settings)
        for n, ids, tokens in zip(group, some, written, strict=True):
            whole[n] = way.whole(ids, tokens)
    return whole


def _groups(lengths: Array, most: Array, beams: int) -> Iterator[list[int]]:
    """Numbers of texts that are written together: as long ones, of which as much is to be written."""
    for each in np.unique(most):
        which = np.flatnonzero(most == each)
        for group in by_length(lengths[which] + each, TOKENS_AT_ONCE // beams):
            yield which[group].tolist()
