"""Where every token came from and went to, without guessing: each gets a number of its own, and keeps it.

A [MASK] may stand in the text itself, a random token may be the one that was there, one word may stand in two places:
tokens alone do not say what happened to them. So objectives are also run on the text with each of its P places as a
token of its own, V + p, which they have no way to tell from any other. What they then return says which place is where.

V vocabulary, P tokens in all passages, T tokens in a stream.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cached_property

import numpy as np

from unmask.insight.passages import Passages
from unmask.text.example import Array, Example, Stream, Targets
from unmask.text.tokens.tokenizer import Tokenizer


class Trail:
    """Passages whose tokens can be told apart, and what these tokens are."""

    def __init__(self, passages: Passages, tokenizer: Tokenizer):
        self.plain, self.plain_tokenizer = passages, tokenizer
        pool = np.concatenate([shard.tokens for shard in passages.contents])
        self.given = len(passages.contents[0].tokens)
        self.vocabulary = len(tokenizer.special)
        self.tokens_of = np.concatenate([np.arange(self.vocabulary), pool])  # [V + P] what each number stands for

    @cached_property
    def passages(self) -> Passages:
        """The same passages with a number for each place. Unknown tokens stay what they are: special ones."""
        numbers = np.arange(self.vocabulary, len(self.tokens_of), dtype=np.int32)
        special = self.plain_tokenizer.special[self.tokens_of[numbers]]
        numbers = np.where(special, self.tokens_of[numbers], numbers).astype(np.int32)
        first, second = self.plain.contents
        contents = replace(first, tokens=numbers[: self.given]), replace(second, tokens=numbers[self.given :])
        return replace(self.plain, contents=contents)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The same tokenizer, to which the numbers are tokens, but none that is ever drawn at random."""
        made = Tokenizer(self.plain_tokenizer.backend, self.plain_tokenizer.names)
        made.ordinary = self.plain_tokenizer.ordinary
        made.special = self.plain_tokenizer.special[self.tokens_of]
        return made

    def is_given(self, numbers: Array) -> Array:
        """[T] bool: this stood in a given text; other numbers are tokens, or stood in other documents."""
        return (numbers >= self.vocabulary) & (numbers < self.vocabulary + self.given)

    def is_elsewhere(self, numbers: Array) -> Array:
        """[T] bool: this stood in another document."""
        return numbers >= self.vocabulary + self.given

    def untraced(self, example: Example) -> Example:
        """The example that would have come of the plain passages."""
        streams = {
            name: replace(stream, tokens=self.tokens_of[stream.tokens]) for name, stream in example.streams.items()
        }
        targets = {name: replace(asked, labels=self._labels(asked.labels)) for name, asked in example.targets.items()}
        return replace(example, streams=streams, targets=targets)

    def _labels(self, labels: Array) -> Array:
        """Labels that are tokens, as tokens; classes are below V and stay."""
        return labels if labels.dtype.kind == "f" else self.tokens_of[labels]


def same(a: Example, b: Example) -> bool:
    """Whether two examples are equal in everything that a model is given."""
    return (a.streams.keys(), a.targets.keys()) == (b.streams.keys(), b.targets.keys()) and all(
        _same(one[name], other[name]) for one, other in ((a.streams, b.streams), (a.targets, b.targets)) for name in one
    )


def _same(a: Stream | Targets, b: Stream | Targets) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
