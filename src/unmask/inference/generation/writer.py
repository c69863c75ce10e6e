"""Texts that grow token by token; keys and values of what was read are kept. N texts, T tokens, V vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from unmask.models.encoder import Encoder
from unmask.models.encoder_decoder import EncoderDecoder
from unmask.models.transformer_xl import TransformerXL
from unmask.nn.batch import Sequences
from unmask.nn.blocks import Memory
from unmask.nn.layout import Layout
from unmask.nn.past import Past

Chooser = Callable[[Tensor, Tensor, int], Tensor]


class Writer:
    """Texts that a model continues from the left.

    Args:
        backbone: the model.
        head: says what comes next.
        size: tokens that the tokenizer knows; the matrix may have more rows.
        given: what the texts begin with, [T] in all.
    """

    def __init__(self, backbone: Encoder | TransformerXL, head: nn.Module, size: int, given: Sequences):
        self.backbone, self.head, self.size, self.given = backbone, head, size, given
        self.last = given.layout.cu_seqlens[1:].long() - 1
        self.places = given.positions[self.last]  # [N] of the last token of each
        self.pasts = [Past() for _ in range(self.blocks)]
        self.single = self._single(len(self.last))

    @property
    def blocks(self) -> int:
        """Layers that keep something."""
        return len(self.backbone.blocks)

    def begin(self) -> Tensor:
        """[N, V] scores of what comes after what is given."""
        return self._scores(self._states(self.given)[self.last])

    def add(self, tokens_N: Tensor) -> Tensor:
        """[N, V] scores of what comes after one more token of each."""
        self.places = self.places + 1
        if len(tokens_N) != len(self.single.lengths):
            self.single = self._single(len(tokens_N))
        return self._scores(self._states(Sequences(tokens_N, self.places, None, self.single)))

    def pick(self, which: Tensor) -> None:
        """Go on with these texts."""
        self.branch(which)

    def branch(self, which: Tensor) -> None:
        """Go on with these, each as often as it is named: as many of every text, side by side."""
        self.places = self.places[which]
        for past in self.pasts:
            past.pick(which)

    def _states(self, sequences: Sequences) -> Tensor:
        return self.backbone.layers(sequences, pasts=self.pasts)[-1]

    def _scores(self, states_ND: Tensor) -> Tensor:
        scores: Tensor = self.head(states_ND)
        return scores.float()[:, : self.size]

    def _single(self, count: int) -> Layout:
        """One token of each."""
        return Layout.of(np.ones(count, np.int64)).to(self.places.device)


class Reader(Writer):
    """Texts that a decoder writes about others, which an encoder has read."""

    backbone: EncoderDecoder

    def __init__(self, backbone: EncoderDecoder, head: nn.Module, size: int, given: Sequences, memory: Memory):
        super().__init__(backbone, head, size, given)
        self.memory, self.others = memory, [Past() for _ in self.pasts]

    @property
    def blocks(self) -> int:
        """Those of the decoder."""
        return len(self.backbone.decoder.blocks)

    def pick(self, which: Tensor) -> None:
        """And with what these have read. Beams of one text read the same."""
        super().pick(which)
        for past in self.others:
            past.pick(which)

    def _states(self, sequences: Sequences) -> Tensor:
        pasts = list(zip(self.pasts, self.others, strict=True))
        return self.backbone.decoder_layers(sequences, self.memory, pasts)[-1]


def stepwise(writer: Writer, choose: Chooser, end: int, most: int) -> list[list[int]]:
    """Write each text until its end, which is not among what is given back.

    Args:
        writer: the texts.
        choose: (scores [K, V], numbers of the texts [K], tokens written) -> [K] tokens.
        end: the token that ends a text.
        most: tokens that are written at most.
    """
    texts: list[list[int]] = [[] for _ in writer.places]
    open_K = torch.arange(len(texts), device=writer.places.device)
    scores = writer.begin()
    for written in range(most):
        tokens = choose(scores, open_K, written)
        for n, token in zip(open_K.tolist(), tokens.tolist(), strict=True):
            texts[n] += [token] * (token != end)
        going = (tokens != end).nonzero()[:, 0]
        if not len(going) or written + 1 == most:
            break
        if len(going) < len(tokens):
            open_K, tokens = open_K[going], tokens[going]
            writer.pick(going)
        scores = writer.add(tokens)
    return texts
