"""From texts to texts: what is written together, and what comes out. N texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from unmask.config import folder
from unmask.errors import UserError
from unmask.inference.generation.settings import Generation
from unmask.inference.generation.unmasking import Unmasking
from unmask.inference.generation.ways import Field, Filling, FromLeft, Reading, ToldFromLeft
from unmask.text.example import Array
from unmask.text.sampling.batches import by_length
from unmask.text.tokens.fields import prompt

if TYPE_CHECKING:
    from unmask.inference.model import Model

WITHOUT_A_DECODER = ("causal_lm", "masked_diffusion", "masked_lm", "masked_next_token", "metadata_lm", "unified_lm")
"""Objectives after which a model writes that has none."""


def generate(
    model: Model,
    texts: Sequence[str] | Sequence[Sequence[int]],
    settings: Generation,
    names: Sequence[str] | None = None,
) -> list[list[int]]:
    """The tokens of what becomes of each text; see `Model.generate`. Errors say the texts' names, or their numbers."""
    way = way_of(model)
    prompts = model.sequences(texts, way.closed, names)
    return _written(way, prompts, names or [f"sequence {n}" for n in range(len(prompts))], settings)


def write_field(
    model: Model, given: Mapping[str, str], wanted: str, settings: Generation, name: str = "the fields"
) -> list[int]:
    """The tokens of a field; see `Model.write`. Errors say the name of what is given."""
    if "causal_lm" not in model.heads:
        raise UserError(f"{model.source}: writes no fields; one pre-trained with --objective metadata_lm would fit")
    ids, end = prompt(model.tokenizer, given, wanted)
    return _written(Field(model, end), [ids], [name], settings)[0]


def _written(way: FromLeft, prompts: list[Array], names: Sequence[str], settings: Generation) -> list[list[int]]:
    way.check(settings)
    pairs = zip(names, prompts, strict=True)
    most = np.array([way.most(name, ids, settings.max_new_tokens) for name, ids in pairs], int)
    whole: list[list[int]] = [[] for _ in prompts]
    for group in _groups(np.array([len(ids) for ids in prompts], int), most, way.at_once // settings.beams):
        with torch.inference_mode():
            some = [prompts[n] for n in group]
            written = way.write(some, np.array(group), int(most[group[0]]), settings)
        for n, ids, tokens in zip(group, some, written, strict=True):
            whole[n] = way.whole(ids, tokens)
    return whole


def _groups(lengths: Array, most: Array, at_once: int) -> Iterator[list[int]]:
    """Numbers of texts that are written together: as long ones, of which as much is to be written."""
    for each in np.unique(most):
        which = np.flatnonzero(most == each)
        for group in by_length(lengths[which] + each, at_once):
            yield which[group].tolist()


def way_of(model: Model) -> FromLeft:
    """How this model writes. Raises `UserError` where it does not."""
    if "causal_lm" in model.heads:
        return FromLeft(model)
    if "masked_next_token" in model.heads:
        return ToldFromLeft(model)
    if "decoder_lm" in model.heads and model.begins is not None:
        return Filling(model) if model.fills else Reading(model)
    if "masked_lm" in model.heads:
        return Unmasking(model)
    known = folder("unmask.objectives").items()
    fits = [name for name, each in known if name in WITHOUT_A_DECODER or getattr(each, "begins", None)]
    raise UserError(
        f"{model.source}: writes no text, with {' and '.join(model.heads) or 'no head'}; a model pre-trained with "
        f"--objective {', '.join(fits[:-1])} or {fits[-1]} would fit"
    )
