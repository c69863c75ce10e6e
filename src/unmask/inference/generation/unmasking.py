"""Texts that come out of masks, some of them at a time (Sahoo 2024, 2406.07524, §3.3; Nie 2025, 2502.09992, §2.4).

N texts of M masks each, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from unmask.errors import UserError
from unmask.inference.generation.choosing import ALMOST, among
from unmask.inference.generation.settings import Generation
from unmask.inference.generation.ways import FromLeft
from unmask.nn.batch import Batch
from unmask.nn.drawing import drawn
from unmask.text.chance import Chance
from unmask.text.example import Array

Read = Callable[[Array, Array], Tensor]
"""(texts' tokens laid end to end, places in these [K]) -> scores [K, V]."""


class Unmasking(FromLeft):
    """A masked LM fills the masks of a text, or as many behind it as are wanted (MDLM, LLaDA)."""

    head: ClassVar[str] = "masked_lm"
    closed: ClassVar[bool] = True
    at_once: ClassVar[int] = 1024  # the whole vocabulary is asked for at every mask

    def check(self, settings: Generation) -> None:
        """It has no beams."""
        if settings.beams > 1:
            raise UserError(f"beams {settings.beams}: {self.model.source} fills masks all over a text; leave it out")

    def most(self, name: str, ids: Array, wanted: int) -> int:
        """As many as there are masks; where there are none, as are wanted."""
        there = int((ids == self.model.tokenizer.mask).sum())
        return there or super().most(name, ids, wanted)

    def write(self, prompts: list[Array], numbers: Array, most: int, settings: Generation) -> list[list[int]]:
        """What comes out of the masks."""
        if (steps := settings.steps or most) > most:
            raise UserError(f"steps {steps}: a text has {most} masks, and one at least is filled at a time")
        texts = [self._masked(ids, most) for ids in prompts]
        batch, tokens = self.model.batch(texts), np.concatenate(texts)
        masks_NM = np.flatnonzero(tokens == self.model.tokenizer.mask).reshape(len(texts), most)
        written = unmask(partial(self._read, batch), tokens, masks_NM, steps, settings, numbers)
        return [written[masks].tolist() for masks in masks_NM]

    def whole(self, ids: Array, written: list[int]) -> list[int]:
        """The text with what came out of its masks."""
        text = self._masked(ids, len(written))
        text[text == self.model.tokenizer.mask] = written
        return [*text.tolist()]

    def _masked(self, ids: Array, count: int) -> Array:
        """With so many masks before its end, unless it has some."""
        if (ids == self.model.tokenizer.mask).any():
            return ids.copy()
        at = len(ids) - int(ids[-1] == self.end)
        return np.insert(ids, at, [self.model.tokenizer.mask] * count)

    def _read(self, batch: Batch, tokens: Array, places: Array) -> Tensor:
        """Scores [K, V] of the tokens that may stand at these places: ordinary ones."""
        network, tokenizer = self.model.network, self.model.tokenizer
        sequences = batch.streams["encoder"]
        sequences.tokens = torch.from_numpy(tokens).long().to(self.model.device)
        states_KD = network.backbone(sequences)[torch.from_numpy(places).to(self.model.device)]
        scores: Tensor = network.heads[self.head](states_KD).float()[:, : tokenizer.size]
        return scores.masked_fill(torch.from_numpy(tokenizer.special).to(scores.device), -math.inf)


def unmask(read: Read, tokens: Array, masks_NM: Array, steps: int, settings: Generation, numbers: Array) -> Array:
    """Tokens [T] without masks: in each step all that is left is read anew, and as many tokens of every text stay.

    The tokens are the likeliest, those of which the model is surest first; or they are drawn, and stay in any order.

    Args:
        read: asks the model.
        tokens: [T] of all texts.
        masks_NM: where the masks are.
        steps: how often they are read.
        settings: how tokens are chosen.
        numbers: [N] what chance knows the texts by.
    """
    tokens, left, rows = tokens.copy(), masks_NM, np.arange(len(masks_NM))[:, None]
    whole = masks_NM.shape[1]
    for step in range(steps):
        stay = whole * (step + 1) // steps - whole * step // steps
        said, sureness = _choose(
            read(tokens, left.ravel()), left.shape, settings, Chance.of(settings.seed, step, numbers)
        )
        order = np.argsort(-sureness, axis=1, kind="stable")
        settled = left[rows, order[:, :stay]]
        tokens[settled] = said[rows, order[:, :stay]]
        left = left[rows, order[:, stay:]]
    return tokens


def _choose(scores_KV: Tensor, shape: tuple[int, ...], settings: Generation, chance: Chance) -> tuple[Array, Array]:
    """A token for each mask, and which of them come first: the highest [N, M]."""
    lengths = np.full(shape[0], shape[1])
    if not settings.sample:
        best = scores_KV.softmax(-1).max(-1)
        return best.indices.cpu().numpy().reshape(shape), best.values.cpu().numpy().reshape(shape)
    lots = np.minimum(chance.tokens(lengths, "generation"), ALMOST)
    kept = among(scores_KV, settings.temperature, settings.top_k, settings.top_p)
    said = drawn(kept, torch.from_numpy(lots).to(scores_KV.device))
    return said.cpu().numpy().reshape(shape), chance.tokens(lengths, "which come first").reshape(shape)
