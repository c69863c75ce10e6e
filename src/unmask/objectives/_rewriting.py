"""What objectives of an encoder and a decoder have in common: the one reads a text, the other writes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from unmask.errors import UserError
from unmask.objectives.base import Objective
from unmask.text.corruption import sentinels as marks
from unmask.text.corruption.rewriting import HEAD
from unmask.text.example import Array, Stream
from unmask.text.tokens.vocabularies import sentinel

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.text.tokens.tokenizer import Tokenizer


class Rewriting(Objective):
    """A decoder reads what an encoder was given, and writes a text."""

    flows: ClassVar[tuple[str, ...]] = ("encoder_decoder",)
    input_formats: ClassVar[tuple[str, ...]] = ("doc_sentences",)

    def beside(self, others: Mapping[str, Objective]) -> None:
        """A decoder writes one text."""
        if len(others) > 1:
            raise ValueError(f"{' and '.join(others)}: a decoder is asked for one text; give one of them")

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The next token."""
        from unmask.nn.heads import DecoderLMHead

        return {HEAD: DecoderLMHead(shape)}

    def answers(self) -> tuple[str, ...]:
        """One head."""
        return (HEAD,)


class Marking(Rewriting):
    """The encoder is given marks for what is hidden of a text, and the decoder writes it behind them (T5)."""

    begins: ClassVar[Literal["pad", "sep", "mask"]] = "pad"
    input_formats: ClassVar[tuple[str, ...]] = ("full_sentences", "doc_sentences")

    sentinels: int = Field(
        100, ge=2, le=10_000, description="Marks that the vocabulary has for spans; it is given them"
    )

    def extra_tokens(self) -> tuple[str, ...]:
        """The marks."""
        return tuple(map(sentinel, range(self.sentinels)))

    def marked(
        self, stream: Stream, hidden: Array, usual: float, tokenizer: Tokenizer
    ) -> tuple[Stream, tuple[Array, Array]]:
        """A mark of its own for each span that is hidden [T], in both texts; the last one ends what is asked for.

        ``usual`` is how many spans the longest text has. Chance may draw a few more, which are then left to be seen;
        were there many, less would be hidden than is said.
        """
        if usual > self.sentinels - 1:
            raise UserError(
                f"--objective.{type(self).__module__.rpartition('.')[2]}.sentinels {self.sentinels}: a text of "
                f"{int(stream.lengths.max())} tokens has about {usual:.0f} spans; {int(1.2 * usual) + 2} would fit"
            )
        ids = tokenizer.ids([sentinel(n) for n in range(self.sentinels)])
        numbers, hidden = marks.number(stream, hidden, len(ids) - 1)
        told = marks.told(stream, hidden, numbers, ids, tokenizer.sep)
        return marks.replaced(stream, hidden, numbers, ids), told
