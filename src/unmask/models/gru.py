"""A recurrent encoder: words, and a GRU from left to right (Cho 2014, 1406.1078), as in skip- and quick-thoughts."""

from __future__ import annotations

from torch import Tensor, nn

from unmask.models.shape import Shape
from unmask.nn.batch import Sequences
from unmask.nn.dropout import Dropout
from unmask.nn.embeddings import look_up
from unmask.nn.network import Backbone
from unmask.nn.recurrence import Recurrence, begin


class GRU(Backbone):
    """Sequences of T tokens to states [T, D].

    A sequence's first token, which stands for all of it, is read last: its state is that of the whole text, as a state
    after the last word is in the papers. Whatever reads first tokens can so be asked of this model too.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embeddings = nn.ModuleDict({"tokens": nn.Embedding(shape.vocab_size, shape.token_width)})
        begin(self._words, shape.width)
        widths = [shape.token_width] + [shape.width] * (shape.layers - 1)
        self.blocks = nn.ModuleList(Recurrence(width, shape.width) for width in widths)
        self.dropout = Dropout(shape.dropout)

    @property
    def _words(self) -> Tensor:
        return self.embeddings.get_parameter("tokens.weight")

    def layers(self, sequences: Sequences) -> list[Tensor]:
        """The words [T, E] and the states of every layer, [T, D] each."""
        states = [look_up(self._words, sequences.tokens)]
        for block in self.blocks:
            states.append(block(self.dropout(states[-1]), sequences.layout.lengths, first_last=True))
        return states
