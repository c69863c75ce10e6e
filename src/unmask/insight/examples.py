"""What objectives make of a few texts, seed after seed: the sequences as cut, and what a model is given of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unmask.errors import UserError
from unmask.insight.passages import FIELDS, Passages, passages
from unmask.insight.seeing import Reading
from unmask.insight.tracing import Trail, same
from unmask.models.shape import Shape
from unmask.objectives.base import Objective
from unmask.text.example import Example
from unmask.text.sampling.cutting import cut
from unmask.text.sampling.plan import gather, stages
from unmask.text.sampling.sequences import Slots
from unmask.text.tokens.fields import marks
from unmask.text.tokens.tokenizer import Tokenizer

MOST = 256
"""Tokens that a picture can show."""


@dataclass(frozen=True)
class Drawn:
    """What one seed gave. Tokens are the numbers by which a `Trail` knows them, so before and after can be compared."""

    seed: int
    before: Example  # as cut
    after: Example  # with all that is hidden, and all that is asked


class Drawer:
    """Makes examples of texts just as pre-training does.

    Args:
        objectives: by name, each after those that it follows.
        texts: each is a document.
        tokenizer: cuts them.
        language: whose rules cut sentences.
        input_format: how sentences become sequences.
        length: tokens of a sequence at most.
        units: phrases and entities to find in them.

    Raises:
        UserError: a text is empty, or there are more tokens than a picture can show.
    """

    def __init__(
        self,
        objectives: Mapping[str, Objective],
        texts: Sequence[str],
        tokenizer: Tokenizer,
        language: str,
        input_format: str,
        length: int = 128,
        units: Mapping[str, Sequence[str]] | None = None,
    ):
        self.objectives, self.input_format, self.length = objectives, input_format, length
        shape = Shape()
        for objective in objectives.values():
            shape = objective.model(shape)
        self.reading = _reading(shape, objectives)
        self.two_ways = any(objective.flows[0] == "elmo" for objective in objectives.values())  # whether it is two
        wanted = any(objective.fields for objective in objectives.values())
        fields = FIELDS["zh" if language.startswith("zh") else "en"] if wanted else {}
        extra = [token for o in objectives.values() for token in o.extra_tokens()]
        tokenizer = tokenizer.plus([*extra, *(marks([*fields, "text"]) if fields else [])])
        plain = passages(texts, tokenizer, language, units, list(fields.values()))
        if (count := len(plain.contents[0].tokens)) > MOST:
            raise UserError(f"the texts have {count:,} tokens; a picture shows {MOST} at most")
        self.trail = Trail(plain, tokenizer)

    def draw(self, seed: int) -> Drawn:
        """What this seed gives.

        An objective may look its tokens up in a table of the vocabulary, and so tell numbers from tokens. Then tokens
        are all that there is to compare.
        """
        found, plain = self.sketch(seed), self._stages(self.trail.plain, self.trail.plain_tokenizer, seed)
        pairs = ((self.trail.untraced(a), b) for a, b in zip((found.before, found.after), plain, strict=True))
        return found if all(same(a, b) for a, b in pairs) else Drawn(seed, *plain)

    def sketch(self, seed: int) -> Drawn:
        """The same without looking whether it is what the model is given: enough to choose among seeds."""
        try:
            return Drawn(seed, *self._stages(self.trail.passages, self.trail.tokenizer, seed))
        except IndexError:
            return Drawn(seed, *self._stages(self.trail.plain, self.trail.plain_tokenizer, seed))

    def _stages(self, given: Passages, tokenizer: Tokenizer, seed: int) -> tuple[Example, Example]:
        slots, asked = self._slots(given, seed), list(self.objectives.values())
        before, *_, after = stages(slots, np.zeros(len(slots.ids), np.int64), asked, tokenizer, seed)
        return before, after

    def _slots(self, given: Passages, seed: int) -> Slots:
        rows = cut(given.shard(0), self.input_format, self.length, seed)
        order = np.argsort(rows.starts)
        starts, lengths, rooms = (x[order] for x in (rows.starts, rows.lengths, rows.rooms))
        return gather(given, self.input_format, np.zeros_like(starts), starts, lengths, rooms)


def _reading(shape: Shape, objectives: Mapping[str, Objective]) -> Reading:
    """How the usual model reads."""
    if any(objective.flows[0] == "gru" for objective in objectives.values()):
        return "in turn"
    return "left" if shape.causal else "both sides"
