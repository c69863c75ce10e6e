"""Texts that grow token by token where nothing can be kept. N texts, V vocabulary.

In a Reformer one more token changes which tokens stand together, and what was kept of others would not be what they are
now: everything is read anew for each token. So texts are what training made likely, at the price of its length.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from unmask.inference.generation.writer import Writer
from unmask.nn.batch import Sequences, collate
from unmask.nn.network import Backbone
from unmask.text.example import Example, Stream


class Rereader(Writer):
    """Texts that a model continues from the left, and reads from the beginning each time.

    Args:
        reader: the model.
        head: says what comes next.
        size: tokens that the tokenizer knows; the matrix may have more rows.
        given: what the texts begin with.
    """

    def __init__(self, reader: Backbone, head: nn.Module, size: int, given: Sequences):
        self.reader, self.head, self.size = reader, head, size
        self.texts = list(torch.split(given.tokens, list(given.layout.lengths)))
        self.places = given.layout.cu_seqlens[1:] - given.layout.cu_seqlens[:-1] - 1  # [N] of the last token of each

    def begin(self) -> Tensor:
        """[N, V] scores of what comes after what is given."""
        lengths = np.array([len(text) for text in self.texts])
        stream = Stream(torch.cat(self.texts).numpy(force=True), lengths)
        sequences = collate(Example({"encoder": stream})).to(self.places.device).streams["encoder"]
        return self._scores(self.reader(sequences)[sequences.layout.cu_seqlens[1:].long() - 1])

    def add(self, tokens_N: Tensor) -> Tensor:
        """[N, V] scores of what comes after one more token of each."""
        self.texts = [torch.cat(both) for both in zip(self.texts, torch.split(tokens_N, 1), strict=True)]
        self.places = self.places + 1
        return self.begin()

    def branch(self, which: Tensor) -> None:
        """Go on with these, each as often as it is named."""
        self.texts = [self.texts[n] for n in which.tolist()]
        self.places = self.places[which]
