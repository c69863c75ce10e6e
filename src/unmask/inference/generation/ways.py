"""How a model is given a text to write on, and what becomes of what it writes. N texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unmask.errors import UserError
from unmask.inference.generation.beams import search
from unmask.inference.generation.choosing import drawing, likeliest
from unmask.inference.generation.rereading import Rereader
from unmask.inference.generation.settings import Generation
from unmask.inference.generation.writer import Reader, Writer, stepwise
from unmask.models.encoder import Encoder
from unmask.models.encoder_decoder import EncoderDecoder
from unmask.models.reformer import Reformer
from unmask.models.transformer_xl import TransformerXL
from unmask.nn.batch import Batch, collate
from unmask.nn.blocks import Memory
from unmask.text.example import Array, Example, Stream
from unmask.text.tokens.vocabularies import is_sentinel

if TYPE_CHECKING:
    from unmask.inference.model import Model


class FromLeft:
    """A text is carried on token by token (GPT)."""

    head: ClassVar[str] = "causal_lm"
    closed: ClassVar[bool] = False
    "Whether a text is given with the token that ends it."
    at_once: ClassVar[int] = 4096
    "Tokens that are written together, those of beams too: little to hold."

    def __init__(self, model: Model):
        self.model, self.end = model, model.tokenizer.sep

    def check(self, settings: Generation) -> None:
        """Refuse, with a `UserError`, settings of other ways."""
        if settings.steps is not None:
            raise UserError(f"steps {settings.steps}: {self.model.source} writes token by token; leave it out")
        if 2 * settings.beams > self.model.tokenizer.size:
            fits = f"{self.model.tokenizer.size // 2} would fit"
            raise UserError(f"beams {settings.beams}: more than half of the tokens that there are; {fits}")

    def most(self, name: str, ids: Array, wanted: int) -> int:
        """Tokens that are written at most. Raises `UserError` where the model has no room for them."""
        return self._room(name, wanted, self.model.shape.max_length - len(ids))

    def write(self, prompts: list[Array], numbers: Array, most: int, settings: Generation) -> list[list[int]]:
        """What is written for each of N prompts, whose numbers [N] chance knows them by."""
        writer = self._writer(prompts)
        if settings.beams > 1:
            return search(writer, settings.beams, settings.length_penalty, self.end, most)
        return stepwise(writer, drawing(settings, numbers) if settings.sample else likeliest, self.end, most)

    def whole(self, ids: Array, written: list[int]) -> list[int]:
        """The text that was given, and what is written behind it."""
        return [*ids.tolist(), *written]

    def _writer(self, prompts: list[Array]) -> Writer:
        network, sequences = self.model.network, self._given(prompts).streams["encoder"]
        head, size = network.heads[self.head], self.model.tokenizer.size
        if isinstance(network.backbone, Reformer):
            return Rereader(network.backbone, head, size, sequences)
        assert isinstance(network.backbone, Encoder | TransformerXL)
        return Writer(network.backbone, head, size, sequences)

    def _given(self, prompts: list[Array]) -> Batch:
        return self.model.batch(prompts)

    def _room(self, name: str, wanted: int, room: int) -> int:
        if wanted > room:
            fits = f"max_new_tokens {room} would fit" if room > 0 else "a shorter text would fit"
            raise UserError(f"{name}: {wanted} tokens more are longer than the model writes; {fits}")
        return wanted


class ToldFromLeft(FromLeft):
    """The same by a model that can read both ways (GPT-BERT)."""

    head: ClassVar[str] = "masked_next_token"

    def _given(self, prompts: list[Array]) -> Batch:
        return self.model.batch(prompts, from_left=True)


class Field(FromLeft):
    """A field of an article is written, after those that are given (Grover)."""

    def __init__(self, model: Model, end: int):
        super().__init__(model)
        self.end = end

    def whole(self, ids: Array, written: list[int]) -> list[int]:
        """What is written."""
        return written


class Reading(FromLeft):
    """An encoder reads a text, and a decoder writes another one about it (BART, T5)."""

    head: ClassVar[str] = "decoder_lm"
    closed: ClassVar[bool] = True

    def __init__(self, model: Model):
        super().__init__(model)
        assert model.begins is not None
        self.begins = model.begins

    def most(self, name: str, ids: Array, wanted: int) -> int:
        """What the decoder has room for."""
        return self._room(name, wanted, self.model.shape.max_length)

    def whole(self, ids: Array, written: list[int]) -> list[int]:
        """What is written; where it names the marks of a text (T5), the text with all that is written behind each."""
        text, both = ids.tolist(), [*ids.tolist(), *written]
        names = self.model.tokenizer.tokens(both)
        marks = {token for token, name in zip(both, names, strict=True) if is_sentinel(name)}
        return filled(text, written, marks) if marks.intersection(text) and marks.intersection(written) else written

    def _writer(self, prompts: list[Array]) -> Writer:
        network, lengths = self.model.network, np.array([len(ids) for ids in prompts])
        assert isinstance(network.backbone, EncoderDecoder)
        begun = Stream(np.full(len(prompts), self.begins), np.ones_like(lengths), places=self._places(prompts))
        source = Stream(np.concatenate(prompts), lengths)
        batch = collate(Example({"encoder": source, "decoder": begun})).to(self.model.device)
        memory = Memory(network.states(batch), batch.streams["encoder"].layout)
        head, size = network.heads[self.head], self.model.tokenizer.size
        return Reader(network.backbone, head, size, batch.streams["decoder"], memory)

    def _places(self, prompts: list[Array]) -> Array | None:
        """[N] where the decoder begins, if not at the first place."""
        return None


class Filling(Reading):
    """A decoder writes the tokens of one fragment that is hidden of a text, where they stood (MASS)."""

    def __init__(self, model: Model):
        super().__init__(model)
        self.end = -1  # a fragment has no end but its length

    def most(self, name: str, ids: Array, wanted: int) -> int:
        """As many as are hidden, however many are wanted."""
        hidden = np.flatnonzero(ids == self.begins)
        if not len(hidden) or hidden[-1] - hidden[0] + 1 != len(hidden):
            mask = self.model.tokenizer.tokens([self.begins])[0]
            raise UserError(f"{name}: must hold one fragment that is hidden; {mask} for each token of it would fit")
        return len(hidden)

    def whole(self, ids: Array, written: list[int]) -> list[int]:
        """The text with its fragment."""
        text = ids.copy()
        text[text == self.begins] = written
        return [*text.tolist()]

    def _places(self, prompts: list[Array]) -> Array | None:
        return np.array([int(np.argmax(ids == self.begins)) - 1 for ids in prompts])


def filled(text: list[int], written: list[int], marks: set[int]) -> list[int]:
    """A text in which what is written behind a mark stands in the place of the mark.

    >>> filled([5, 90, 6, 91], [90, 7, 8, 91, 92], {90, 91, 92})
    [5, 7, 8, 6]
    """
    spans: dict[int, list[int]] = {}
    last: list[int] = []  # what stands before the first mark belongs nowhere
    for token in written:
        if token in marks:
            last = spans.setdefault(token, [])
        else:
            last.append(token)
    return [token for place in text for token in (spans.get(place, [place]) if place in marks else [place])]
