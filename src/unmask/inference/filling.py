"""What a model would put where masks stand. M masks, L tokens of a text, V vocabulary."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from unmask.nn.batch import collate
from unmask.nn.network import Network
from unmask.text.example import Array, Example, Stream, Targets
from unmask.text.tokens.tokenizer import Tokenizer

SHIFTS = {"masked_lm": 0, "masked_next_token": 1}
"Heads that fill masks, and how many places before a mask each answers for it."


def filler(heads: Iterable[str]) -> str | None:
    """The head that fills masks, if there is one."""
    return next((head for head in heads if head in SHIFTS), None)


def guesses(network: Network, tokenizer: Tokenizer, ids: Array, k: int) -> list[list[tuple[str, float]]]:
    """For every mask among a text's tokens [L], the k likeliest tokens with their probabilities.

    Args:
        network: one with a head that fills masks.
        tokenizer: says which token is the mask.
        ids: the text with its special tokens; where answers stand before masks, it begins with none.
        k: tokens for each mask.
    """
    head = filler(network.heads)
    assert head is not None
    index = np.flatnonzero(ids == tokenizer.mask) - SHIFTS[head]
    asked = {head: Targets(index, np.zeros_like(index))}
    batch = collate(Example({"encoder": Stream(ids, np.array([len(ids)]))}, asked))
    with torch.inference_mode():
        # the matrix may have more rows than the tokenizer has tokens
        logits_MV = network.logits(batch.to(next(network.parameters()).device), head).float()[:, : tokenizer.size]
        best = logits_MV.softmax(-1).topk(min(k, tokenizer.size))
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [list(zip(tokenizer.tokens(tokens), chances, strict=True)) for tokens, chances in rows]
