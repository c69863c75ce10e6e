"""Mixture of denoisers (Tay 2022, UL2, 2205.05131, §3.1): spans short, long, many, or the rest of a text; what is gone?

T tokens, N sequences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from unmask.objectives._rewriting import Marking
from unmask.text.chance import Chance
from unmask.text.corruption import rewriting
from unmask.text.corruption import sentinels as marks
from unmask.text.example import Array, Example, Stream

if TYPE_CHECKING:
    from unmask.text.tokens.tokenizer import Tokenizer


class Denoiser(NamedTuple):
    """A way of hiding, and the mode that the text is given."""

    mode: Literal["[R]", "[S]", "[X]"]
    span: float  # tokens of a span on average
    rate: float  # share of the tokens that are hidden


DENOISERS = (
    Denoiser("[R]", 3, 0.15),
    Denoiser("[R]", 8, 0.15),
    Denoiser("[S]", np.inf, 0.25),
    Denoiser("[X]", 3, 0.5),
    Denoiser("[X]", 8, 0.5),
    Denoiser("[X]", 64, 0.15),
    Denoiser("[X]", 64, 0.5),
)
"""Those of the paper's table 1. Of one span that is the end of the text, what is left is a prefix."""


class MixtureOfDenoisers(Marking):
    """Span corruption in seven ways, one drawn for each text, which begins with the token of its kind (UL2).

    [R] hides few short spans, as T5 does; [X] many or long ones; [S] the last quarter, so that what comes before is a
    prefix. What a model is asked to write later begins with the kind that is like it.
    """

    modes: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(denoiser.mode for denoiser in DENOISERS))

    def extra_tokens(self) -> tuple[str, ...]:
        """The modes and the marks."""
        return (*self.modes, *super().extra_tokens())

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Draw a denoiser for each text, say its mode, hide what it hides, and ask the decoder for it."""
        stream = example.streams["encoder"]
        drawn = (chance.sequences("denoiser") * len(DENOISERS)).astype(np.int64)  # [N]
        spans, rates = (np.array(column)[drawn] for column in list(zip(*DENOISERS, strict=True))[1:])
        hidden = marks.random_spans(stream, chance, rates, spans)
        hidden = marks.without_gaps(stream, hidden, np.isinf(spans))
        usual = int(stream.lengths.max()) * max(denoiser.rate / denoiser.span for denoiser in DENOISERS)
        source, (text, lengths) = self.marked(stream, hidden, usual, tokenizer)
        modes = tokenizer.ids([DENOISERS[number].mode for number in drawn])
        source = _opened(source, modes, int(tokenizer.opens))
        return replace(rewriting.ask(source, text, lengths, tokenizer.pad, tokenizer), documents=example.documents)


def _opened(stream: Stream, first: Array, place: int) -> Stream:
    """Each sequence with one more token [N], at this place of it."""
    at = stream.starts + place
    opened = stream.pick(np.insert(np.arange(len(stream.tokens)), at, at))
    tokens = opened.tokens.copy()
    tokens[at + np.arange(len(at))] = first
    return replace(opened, tokens=tokens)
