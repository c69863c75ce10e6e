"""Quick thoughts (Logeswaran 2018, 1803.02893): which sentence stands beside this one?

Two encoders, one for the sentence and one for its neighbours, and their inner product: nothing is decoded. K sentences,
N slots, C candidates, M answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.example import Array, Example, Targets
from unmask.text.ranges import table
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


class QuickThought(Objective):
    """Pick the sentence before and the sentence after among others, by inner product (Quick-Thought).

    Not among the candidates are the sentence itself and, while its one neighbour is asked for, the other one. The
    paper's vectors are those of both encoders; what is used afterwards here is the first one's.
    """

    input_formats: ClassVar[tuple[str, ...]] = ("doc_sentences",)
    flows: ClassVar[tuple[str, ...]] = ("encoder", "gru")

    group: int = Field(
        400, ge=2, description="About how many sentences a neighbour is looked for among; the paper's batch size"
    )

    @property
    def together(self) -> int:
        """A group's sentences are each other's wrong answers."""
        return self.group

    def beside(self, others: Mapping[str, Objective]) -> None:
        """It reads sentences as they stand, several of a slot, whose chance others would need."""
        if len(others) > 1:
            raise ValueError("quick_thought reads sentences whole, with nothing hidden; give it alone")

    def companions(self, shape: Shape) -> dict[str, Shape]:
        """The encoder of candidates, with weights of its own."""
        return {"candidates": shape}

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Each sentence of a slot is a sequence, and a candidate; and so are the two next to the slot."""
        text, owner = slots.parted
        candidates, groups, found = _candidates(slots, text, owner)
        around = _around(owner, *found)  # [K, 2]
        asked, side = np.nonzero(around >= 0)
        own, true, other = found[0][asked], around[asked, side], around[asked, 1 - side]
        begin, size = np.unique(groups, return_index=True, return_counts=True)[1:]
        group = np.searchsorted(begin, own, "right") - 1
        offered = table(begin, size)[group]  # [M, S]
        offered[(offered == own[:, None]) | (offered == other[:, None])] = -1
        stream = sequences.alone(text, tokenizer)
        targets = Targets(stream.starts[asked], true - begin[group], places=offered)
        streams = {"encoder": stream, "candidates": sequences.alone(candidates, tokenizer)}
        return Example(streams, {"quick_thought": targets}, slots.document[owner])

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The inner product; it has no weights."""
        from unmask.nn.choosing import NeighbourHead

        return {"quick_thought": NeighbourHead()}

    def loss(self, net: Network, batch: Batch) -> dict[str, Loss]:
        """The states of first tokens, of the sentences by one encoder, of the candidates by the other."""
        from unmask.nn.losses import cross_entropy

        asked = batch.targets["quick_thought"]
        first_tokens = batch.streams["candidates"].layout.cu_seqlens[:-1]
        candidates = net.states(batch, "candidates").index_select(0, first_tokens)
        logits = net.heads["quick_thought"](net.states_at(batch, "quick_thought"), candidates, asked.places)
        return {"quick_thought": cross_entropy(logits, asked.labels)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return ("quick_thought",)


def _candidates(slots: Slots, text: Text, owner: Array) -> tuple[Text, Array, tuple[Array, Array, Array]]:
    """C candidates, each once in its group, and their groups [C]; and which one is each sentence [K], each sentence
    before [N] and after [N] a slot, -1 where there is none."""
    before, after = slots.adjacent(False), slots.adjacent(True)
    offsets = text.starts - slots.text.starts[owner]
    numbers = np.concatenate([slots.ids[owner] + offsets, slots.ids - before.lengths, slots.ids + slots.lengths])
    groups = np.concatenate([slots.groups[owner], slots.groups, slots.groups])
    every = text.followed(before, after)
    there = np.flatnonzero(every.lengths)
    # the neighbour of one slot may stand in another slot of the group
    kinds, which, kind = np.unique(
        np.stack([groups, numbers])[:, there], axis=1, return_index=True, return_inverse=True
    )
    found = np.full(len(numbers), -1)
    found[there] = kind
    here, left, right = np.split(found, [len(owner), len(owner) + len(slots.lengths)])
    return every.pick(there[which]), kinds[0], (here, left, right)


def _around(owner: Array, here: Array, left: Array, right: Array) -> Array:
    """[K, 2] the candidates before and after each sentence, in its slot or beside it."""
    first, last = (np.diff(owner, **edge) != 0 for edge in ({"prepend": -1}, {"append": -1}))
    before = np.where(first, left[owner], np.roll(here, 1))
    return np.stack([before, np.where(last, right[owner], np.roll(here, -1))], axis=1)
