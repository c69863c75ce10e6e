"""How tokens are written in a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmask.insight.tracing import Trail
from unmask.text.example import Array
from unmask.text.tokens.vocabularies import SPACE, surfaces


class Spelling:
    """Numbers of a `Trail` to text: as the vocabulary spells its tokens, bytes as the letters they are."""

    def __init__(self, trail: Trail):
        self.tokenizer, self.tokens_of = trail.plain_tokenizer, trail.tokens_of
        self.in_bytes = self.tokenizer.kind in ("bpe", "unigram", "characters")
        if self.in_bytes:
            self.surfaces, _ = surfaces(self.tokenizer.backend, self.tokenizer.kind, self.tokenizer.size)

    def tokens(self, numbers: Array | Sequence[int]) -> list[str]:
        """Each token by itself."""
        ids = self.tokens_of[np.asarray(numbers, np.int64)]
        return [self._of(i, name) for i, name in zip(ids.tolist(), self.tokenizer.tokens(ids), strict=True)]

    def together(self, numbers: Sequence[int]) -> str:
        """Several tokens as the text they are."""
        return self.tokenizer.decode(self.tokens_of[np.asarray(numbers, np.int64)])

    def _of(self, token: int, name: str) -> str:
        if not self.in_bytes or self.tokenizer.special[token]:
            return name
        try:
            text = self.surfaces[token].decode()
        except UnicodeDecodeError:  # a part of a character
            return name
        return text.replace(" ", SPACE).replace("\n", "⏎").replace("\t", "⇥")
