"""A model to use: states of texts, filled masks.

T tokens, N sequences, L length, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.config import build
from unmask.errors import UserError, as_list, found, is_text
from unmask.inference.building import alone
from unmask.inference.filling import SHIFTS, filler, guesses
from unmask.inference.generation.settings import Generation
from unmask.models.shape import Shape
from unmask.nn.batch import Batch, collate
from unmask.nn.network import Backbone, Network
from unmask.text.example import Array, Example, Stream
from unmask.text.sampling.batches import by_length
from unmask.text.tokens.tokenizer import Tokenizer

TEXTS = "each a text or a list of token ids"
TOKENS_AT_ONCE = 4096  # what is computed together: enough to keep a processor busy, little to hold


@dataclass(repr=False)
class Model:
    """An encoder with its tokenizer and whatever heads came with it."""

    source: Path  # the file its weights came from
    shape: Shape
    network: Network
    tokenizer: Tokenizer
    notes: list[str] = field(default_factory=list)  # what was absent there or left out, a line each
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    begins: int | None = None  # the token that its decoder is given first, where it has one that writes

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.network.parameters())
        heads = ", ".join(self.heads) or "no heads"
        return f"{type(self).__name__}({self.source}: {self.shape.family}, {count:,} parameters, {heads})"

    @property
    def encoder(self) -> Backbone:
        """The backbone."""
        return self.network.backbone

    @property
    def heads(self) -> list[str]:
        """Names of the heads it has."""
        return list(self.network.heads)

    @property
    def writes_on(self) -> bool:
        """Whether its texts are left open, so that it can go on with them: a decoder's, unless it does a task."""
        return self.shape.causal and "task" not in self.network.heads

    @property
    def fills(self) -> bool:
        """Whether its decoder writes a fragment where masks stand, and not from the first place on (MASS)."""
        return "mask" in self.tokenizer.names and self.begins == self.tokenizer.mask

    def part(self, name: str | None) -> Model:
        """The model alone, or one of those that were trained beside it (ELECTRA's generator) as a model of its own.

        Raises:
            UserError: Nothing of that name was trained beside it.
        """
        network, beside = self.network, dict(self.network.companions.items())
        if not beside and name is None:
            return self
        if name is None:
            told = [f"left out: {other}, which was trained beside it; --part {other} takes it" for other in beside]
            return replace(self, network=alone(network), notes=[*self.notes, *told])
        if name not in beside:
            has = f"{' and '.join(beside)} would fit" if beside else "nothing was; leave it out"
            raise UserError(f"--part {name}: was not trained beside {self.source}; {has}")
        other = beside[name]
        assert isinstance(other, Backbone)
        return replace(self, shape=other.shape, network=Network(other, {"masked_lm": network.heads[name]}))

    def hidden(self, texts: Sequence[str] | Sequence[Sequence[int]], layer: int = -1) -> list[Array]:
        """States of every token, one float32 array [L, D] per sequence; nothing is padded and nothing cut.

        Args:
            texts: Texts, which get the special tokens, or lists of token ids, which are taken as they are. A decoder's
                texts are left open, to be written on, unless it does a task.
            layer: 0 for the embeddings, 1 … for the layers, -1 for the last, normed.

        Raises:
            UserError: A sequence is empty or longer than the model reads, an id is outside the vocabulary, or there is
                no such layer.
        """
        if not (isinstance(layer, int) and -self.shape.layers - 1 <= layer <= self.shape.layers):
            there = f"0 (the embeddings) to {self.shape.layers}, or -1"
            raise UserError(f"layer {found(layer)}: the model has layers {there}")
        sequences = self.sequences(texts, closed=not self.writes_on)
        states: list[Array] = [np.empty(0)] * len(sequences)
        for group in by_length([len(ids) for ids in sequences], TOKENS_AT_ONCE):
            batch = self.batch([sequences[n] for n in group])
            with torch.inference_mode():
                states_TD = self.encoder.layers(batch.streams["encoder"])[layer].float().cpu().numpy()
            ends = np.cumsum([len(sequences[n]) for n in group])
            for n, states_LD in zip(group, np.split(states_TD, ends[:-1]), strict=True):
                states[n] = states_LD.copy()
        return states

    def fill(self, text: str, k: int = 5) -> list[list[tuple[str, float]]]:
        """For every mask in the text, the k likeliest tokens with their probabilities.

        Raises:
            UserError: The text has no mask, or the model no head that fills one.
        """
        if not isinstance(k, int) or k < 1:
            raise UserError(f"k {found(k)}: must be a whole number, at least one token for a mask")
        if not isinstance(text, str):
            raise UserError(f"{found(text)}: must be one text with masks")
        if (head := filler(self.network.heads)) is None:
            raise UserError(f"{self.source}: has no head that fills masks; {self._what_fills}")
        (ids,) = self.sequences([text])
        if (ids != self.tokenizer.mask).all():
            mask = self.tokenizer.tokens([self.tokenizer.mask])[0]
            raise UserError(f"{found(text)}: holds no mask; write {mask} where a token is wanted")
        if SHIFTS[head] and ids[0] == self.tokenizer.mask:
            raise UserError(f"{found(text)}: begins with a mask, whose answer would stand before it; begin with a word")
        return guesses(self.network, self.tokenizer, ids, k)

    def generate(self, texts: Sequence[str] | Sequence[Sequence[int]], **settings: Any) -> list[str]:
        """What becomes of each text: carried on (causal_lm, masked_next_token), rebuilt (denoising), with what was
        hidden in its place (span_corruption, masked_seq2seq), or whatever else its decoder learned to write.

        Args:
            texts: Texts, which get the special tokens, or lists of token ids, which are taken as they are.
            settings: Those of `Generation`: max_new_tokens, beams, length_penalty; sample, with temperature, top_k,
                top_p and seed.

        Raises:
            UserError: The model writes no text, there is no room for so many tokens, or a setting does not fit.
        """
        from unmask.inference.generation.generate import generate

        return [self.text_of(ids, extra=True) for ids in generate(self, texts, build(Generation, settings))]

    def write(self, wanted: str, given: Mapping[str, str] | None = None, **settings: Any) -> str:
        """A field of an article, from any of the others (metadata_lm).

        Args:
            wanted: The field's name.
            given: Others, by name, as text.
            settings: Those of `Generation`; sample=True and top_p=0.95 are the paper's.

        Raises:
            UserError: The model knows no such field, there is no room, or a setting does not fit.
        """
        from unmask.inference.generation.generate import write_field

        return self.text_of(write_field(self, given or {}, wanted, build(Generation, settings)))

    def text_of(self, ids: Sequence[int], extra: bool = False) -> str:
        """What tokens say that were written; ``extra``: special ones that play no role (a mark of T5) too."""
        return self.tokenizer.decode(ids, extra).strip()

    @property
    def _what_fills(self) -> str:
        if beside := next(iter(dict(self.network.companions.items())), None):
            return f"the {beside} trained beside it may have one: `unmask convert … --to hf --part {beside}`"
        return "pre-train with --objective masked_lm to fill masks"

    def sequences(
        self,
        texts: Sequence[str] | Sequence[Sequence[int]],
        closed: bool = True,
        names: Sequence[str] | None = None,
    ) -> list[Array]:
        """Checked token ids [L] of each; ``closed``: texts end with the token that ends one; errors say their names."""
        given = as_list(texts, TEXTS)
        names = names or [f"sequence {n}" for n in range(len(given))]
        encoded: dict[int, Array] = {}
        if words := {n: text for n, text in enumerate(given) if is_text(text)}:
            pieces = self.tokenizer.encode(list(words.values()))
            encoded = {n: self.framed(p.ids, closed) for n, p in zip(words, pieces, strict=True)}
        pairs = enumerate(zip(names, given, strict=True))
        sequences = [encoded[n] if n in encoded else _ids(name, ids) for n, (name, ids) in pairs]
        for name, ids in zip(names, sequences, strict=True):
            self._check(name, ids)
        return sequences

    def framed(self, ids: Array, closed: bool = True) -> Array:
        """A text's tokens [L] with those that open it and, if ``closed``, end it."""
        first = [self.tokenizer.cls] if self.tokenizer.opens else []
        return np.array([*first, *ids, *([self.tokenizer.sep] if closed else [])])

    def _check(self, name: str, ids: Array) -> None:
        if len(ids) > self.shape.max_length:
            raise UserError(f"{name}: has {len(ids)} tokens; the model reads up to {self.shape.max_length}")
        if ids.min() < 0 or ids.max() >= self.shape.vocab_size:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise UserError(f"{name}: {wrong} is no token; ids go from 0 to {self.shape.vocab_size - 1}")

    def batch(self, sequences: list[Array], from_left: bool = False) -> Batch:
        """These sequences for the encoder, on the model's device; ``from_left``: no token sees one that follows."""
        stream = Stream(np.concatenate(sequences), np.array([len(ids) for ids in sequences]))
        stream = replace(stream, order=stream.position) if from_left else stream
        return collate(Example({"encoder": stream})).to(self.device)


def _ids(name: str, given: Any) -> Array:
    """Token ids [L] that somebody gave, one at least."""
    try:
        ids = np.asarray(given)
    except (ValueError, TypeError, RuntimeError):  # lists of different lengths in a list, a GPU's tensor
        ids = np.empty(0)
    if ids.ndim != 1 or not len(ids) or ids.dtype.kind not in "iu":
        raise UserError(f"{name}: must be a text or a list of one or more token ids; found {found(given)}")
    return ids
