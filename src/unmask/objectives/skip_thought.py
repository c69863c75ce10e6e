"""Skip-thoughts (Kiros 2015, 1506.06726): from one sentence, the words of those before and after it.

N sentences, K of them with a neighbour, T tokens of the neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.example import Array, Example, Stream, Targets
from unmask.text.sampling import sequences
from unmask.text.sampling.sequences import Text

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.losses import Loss
    from unmask.nn.network import Network
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer

SIDES = {"sentence_before": False, "sentence_after": True}
"""By the name of the stream and of its decoder: does it stand after?"""


class SkipThought(Objective):
    """Encode a sentence in one vector; from it two decoders write the sentence before and the one after (Skip-Thought).

    The decoders share the vocabulary's matrix with the encoder's words.
    """

    input_formats: ClassVar[tuple[str, ...]] = ("single_sentences",)
    flows: ClassVar[tuple[str, ...]] = ("gru", "encoder")

    decoder: Literal["gru", "transformer"] = Field(
        "gru", description="What writes the neighbours: the paper's, or one layer"
    )

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Each sentence is a sequence; its neighbours in its document are what the decoders write."""
        stream = sequences.alone(slots.text, tokenizer)
        example = Example({"encoder": stream}, documents=slots.document)
        for side, after in SIDES.items():
            example = _with_neighbours(example, side, slots.adjacent(after), stream.starts, tokenizer)
        return example

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """A decoder for each side."""
        from unmask.nn.decoders import DECODERS

        return {side: DECODERS[self.decoder](shape) for side in SIDES}

    def loss(self, net: Network, batch: Batch) -> dict[str, Loss]:
        """Every token of the neighbours, from those before it and the sentence's vector."""
        return {side: _written(net, batch, side) for side in SIDES}

    def answers(self) -> tuple[str, ...]:
        """Two heads."""
        return tuple(SIDES)


def _with_neighbours(example: Example, side: str, neighbours: Text, starts: Array, tokenizer: Tokenizer) -> Example:
    """A decoder reads [CLS] text, and is to say text [SEP]; it is told the state at these starts [N]."""
    there = np.flatnonzero(neighbours.lengths)
    if not len(there):
        return example.with_targets(**{side: Targets(there, there, side)})
    whole = sequences.alone(neighbours.pick(there), tokenizer)
    first, last = (np.zeros(len(whole.tokens), bool) for _ in range(2))
    first[whole.starts] = last[whole.starts + whole.lengths - 1] = True
    stream = Stream(whole.tokens[~last], whole.lengths - 1)
    told = np.repeat(starts[there], stream.lengths)
    targets = Targets(np.arange(len(told)), whole.tokens[~first], side, places=told)
    # each token sees those before it
    return example.with_stream(Stream(stream.tokens, stream.lengths, order=stream.position), side).with_targets(
        **{side: targets}
    )


def _written(net: Network, batch: Batch, side: str) -> Loss:
    from unmask.nn.heads import TokenHead
    from unmask.nn.losses import cross_entropy

    asked, states = batch.targets[side], net.states(batch)
    if asked.places is None:  # no sentence has a neighbour there
        return cross_entropy(states[:0], asked.labels)
    decoder = net.heads[side]
    assert isinstance(decoder, TokenHead)
    return decoder.loss(asked.labels, None, batch.streams[side], states.index_select(0, asked.places))
