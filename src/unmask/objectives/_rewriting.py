"""What objectives of an encoder and a decoder have in common: the one reads a text, the other writes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from unmask.objectives.base import Objective
from unmask.text.corruption.rewriting import HEAD

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape


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
