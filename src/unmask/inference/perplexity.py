"""How likely a model that reads from the left holds a text: each token is asked for once, from those before it.

T tokens of a batch, L of a window, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from unmask.errors import UserError
from unmask.inference.model import Model
from unmask.models.relative import Memory, carried
from unmask.models.transformer_xl import TransformerXL
from unmask.nn.batch import Sequences, collate
from unmask.nn.losses import Loss, cross_entropy
from unmask.text.example import Array, Example, Stream

HEADS = ("causal_lm", "masked_next_token")
"Those that say what comes next."
AT_ONCE = 1024  # tokens: the whole vocabulary is asked for at each of them

Window = tuple[Array, Array]
"""[L] what is read, and [L] what follows each token of it."""


def perplexity(model: Model, texts: Iterable[Array], length: int, memory: int = 0) -> dict[str, float]:
    """The figures of all texts together.

    Args:
        model: one with a head for the next token.
        texts: token ids [T] each, without special ones.
        length: tokens that are read together.
        memory: tokens before them whose states are kept, by layer, and looked back on; 0: each window begins anew.

    Returns:
        ``perplexity``, ``loss`` and ``accuracy`` for each token, ``tokens`` that were asked for, and those that the
        vocabulary does not know and that were not, ``unknown``.

    Raises:
        UserError: The model does not write from the left, does not keep states, or reads no windows of this length, or
            there is nothing to ask for.
    """
    _refuse(model, length, memory)
    total, correct, count, tokens = 0.0, 0.0, 0, 0
    lead = model.tokenizer.cls if model.tokenizer.opens else None
    with torch.inference_mode():
        for text in texts:
            tokens += len(text)
            for loss in _losses(model, list(windows(text, length, lead, goes_on=memory > 0)), memory):
                assert loss.correct is not None  # counted whenever gradients are off
                total, correct, count = total + float(loss.total), correct + float(loss.correct), count + loss.count
            tokens -= lead is None
    if not count:
        raise UserError("there is no token to ask for; a text of two words or more would fit")
    mean = total / count
    return {"perplexity": math.exp(mean), "loss": mean, "accuracy": correct / count, "tokens": count,
            "unknown": tokens - count}  # fmt: skip


def windows(text: Array, length: int, lead: int | None, goes_on: bool) -> Iterator[Window]:
    """A text's tokens as windows.

    Args:
        text: [T].
        length: tokens of a window.
        lead: the token that texts begin with in training, if they do.
        goes_on: whether a window reads on where the one before ended; else it begins as a text does.
    """
    for begin in range(0, len(text), length):
        asked = text[begin : begin + length]
        fresh = lead is not None and not (begin and goes_on)
        before = np.array([lead]) if fresh else text[max(begin - 1, 0) : begin]
        read = np.concatenate([before, asked[:-1]])
        if len(read):
            yield read, asked[len(asked) - len(read) :]


def _losses(model: Model, found: list[Window], memory: int) -> Iterator[Loss]:
    if memory:
        yield from _in_turn(model, found, memory)
        return
    some = max(1, AT_ONCE // max((len(read) for read, _ in found), default=1))
    for group in (found[n : n + some] for n in range(0, len(found), some)):
        sequences = model.batch([read for read, _ in group], from_left=not model.shape.causal).streams["encoder"]
        yield _loss(model, model.network.backbone(sequences), np.concatenate([asked for _, asked in group]))


def _in_turn(model: Model, found: list[Window], most: int) -> Iterator[Loss]:
    """One segment after another, each with the states that are kept of what was read."""
    backbone, at = model.network.backbone, 0
    memory: Memory | None = None
    assert isinstance(backbone, TransformerXL)
    for read, asked in found:
        sequences = _segment(model, read, at)
        states = backbone.layers(sequences, memory)
        memory, at = carried(memory, sequences, states[:-1], most), at + len(read)
        yield _loss(model, states[-1], asked)


def _segment(model: Model, read: Array, at: int) -> Sequences:
    """One sequence whose first token stands so far from the beginning of its text."""
    stream = Stream(read, np.array([len(read)]), places=at + np.arange(len(read)))
    return collate(Example({"encoder": stream})).to(model.device).streams["encoder"]


def _loss(model: Model, states_TD: Tensor, asked: Array) -> Loss:
    """Of tokens [T] that follow these states, but for those that the vocabulary does not know."""
    known = np.flatnonzero(asked != (model.tokenizer.unk if "unk" in model.tokenizer.names else -1))
    index, labels = (torch.from_numpy(x).long().to(states_TD.device) for x in (known, asked[known]))
    # the matrix may have more rows than the tokenizer has tokens
    head = next(name for name in HEADS if name in model.heads)
    return cross_entropy(model.network.heads[head](states_TD[index]).float()[:, : model.tokenizer.size], labels)


def _refuse(model: Model, length: int, memory: int) -> None:
    if not any(name in model.heads for name in HEADS):
        fits = f"the run of a fine-tuning, or a model pre-trained with --objective {' or '.join(HEADS)}, would fit"
        raise UserError(f"{model.source}: does no task, and has no head to read a text with; {fits}")
    if memory and not isinstance(model.network.backbone, TransformerXL):
        raise UserError(
            f"memory {memory}: {model.source} keeps no states of what it read; leave it out, or take a transformer_xl"
        )
    if length > model.shape.max_length:
        raise UserError(f"length {length}: the model reads up to {model.shape.max_length} tokens")
