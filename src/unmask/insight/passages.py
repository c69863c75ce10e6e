"""A few texts as a corpus in memory, with other documents beside them, and a vocabulary made of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unmask.errors import UserError
from unmask.text.corpus.encoding import encode
from unmask.text.corpus.shards import Shard
from unmask.text.sources.documents import Piece
from unmask.text.tokens.frames import surround
from unmask.text.tokens.lexicon import Lexicon
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.units import is_han
from unmask.text.tokens.vocabularies import SPECIALS, bert, mark

if TYPE_CHECKING:
    from tokenizers import models

TEXTS = {
    "en": (
        "You shall know a word by the company it keeps.",
        " Cover it, and its neighbours tell what stood there.",
        " A machine that has read enough can learn this game.",
    ),
    "zh": (
        "要知道一个词的意思，就看它与哪些词为伴。",
        "把它遮住，邻近的词会说出原来是什么。",
        "读得够多的机器，也能学会这个游戏。",
    ),
}
"""A text to look at where none is given, by sentences; the first is J. R. Firth's, of 1957."""

UNITS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {"phrases": ("a word", "the company it keeps"), "entities": ("the company", "its neighbours", "a machine")},
    "zh": {"phrases": ("要知道", "一个词", "哪些词"), "entities": ("一个词", "哪些词", "邻近的词")},
}
"""What belongs together in these texts, and may be hidden as one."""

FIELDS = {
    "en": {"topic": "word", "headline": "the company it keeps"},
    "zh": {"topic": "词", "headline": "与哪些词为伴"},
}
"""What is put beside a text, as columns of its row, where an objective wants fields."""

_OTHERS = {
    False: (
        "The ferry leaves the harbour at noon. It carries letters, bread and a few travellers. "
        "Nobody waits for it when the sea is rough.",
        "Rice grows in shallow water. Farmers plant it in spring and cut it before the first storm.",
    ),
    True: (
        "渡船中午离开港口。船上有信件、面包和几位旅客。风浪大的时候没有人等它。",
        "水稻长在浅水里。农民在春天插秧，在第一场风暴之前收割。",
    ),
}
"""Documents that have nothing to do with any text, in English and, for Chinese texts, in Chinese."""

_EMPTY = "one of the texts has no words; give texts that have some"

LONGEST = 6
"""Letters of a word that is one piece."""


@dataclass(frozen=True)
class Passages:
    """Texts as the corpus that sampling reads: the given ones are its first shard, others its second."""

    contents: tuple[Shard, Shard]
    folder: Path = Path("the given texts")

    @property
    def shards(self) -> int:
        """Two."""
        return len(self.contents)

    @property
    def documents(self) -> int:
        """In both."""
        return sum(len(shard.documents) - 1 for shard in self.contents)

    def shard(self, i: int) -> Shard:
        """The given texts, or the others."""
        return self.contents[i]


def others(texts: Sequence[str]) -> tuple[str, ...]:
    """Documents to put beside these texts."""
    return _OTHERS[any(is_han(c) for text in texts for c in text)]


def passages(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    language: str,
    units: Mapping[str, Sequence[str]] | None = None,
    fields: Sequence[str] = (),
) -> Passages:
    """Each text is a document. Raises `UserError` where one of them has no tokens.

    Args:
        texts: what is to be shown.
        tokenizer: cuts them.
        language: whose rules cut sentences.
        units: phrases and entities to find in them.
        fields: what all of them have beside their text; the tokenizer knows the fields.
    """
    lexicons = {name: Lexicon(entries, tokenizer) for name, entries in (units or {}).items() if entries}
    given, beside = (
        [Piece(text, True, tuple(fields)) for text in each if text.strip()] for each in (texts, others(texts))
    )
    if len(given) < len(texts):
        raise UserError(_EMPTY)
    shard = _shard(given, tokenizer, language, lexicons, 0)
    return Passages((shard, _shard(beside, tokenizer, language, lexicons, len(texts))))


def _shard(
    pieces: Sequence[Piece], tokenizer: Tokenizer, language: str, lexicons: Mapping[str, Lexicon], first_document: int
) -> Shard:
    found = encode(pieces, tokenizer, language, lexicons)
    if not found.lengths.all():
        raise UserError(_EMPTY)
    sentences = np.append(np.flatnonzero(found.sentences), len(found.tokens))
    documents = np.cumsum([0, *found.lengths.tolist()])
    return Shard(found.tokens.astype(np.int32), found.words, sentences, documents, first_document)


def vocabulary(texts: Sequence[str]) -> Tokenizer:
    """WordPiece of these texts' own words and of the other documents': long words are cut into pieces of equal size."""
    from tokenizers import models

    unk = SPECIALS["unk"]
    backend = bert({}, unk, lowercase=False)
    words = [
        word
        for text in (*texts, *others(texts))
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    ]
    entries = dict.fromkeys([*SPECIALS.values(), *(piece for word in words for piece in _pieces(word))])
    while True:
        vocab = {entry: n for n, entry in enumerate(entries)}
        backend.model = models.WordPiece(vocab, unk_token=unk, max_input_chars_per_word=100)
        # a piece of one word may swallow the beginning of another, whose rest is then unknown
        if not (lost := [word for word in words if len(word) <= 100 and _is_lost(backend.model, word, unk)]):
            break
        entries |= dict.fromkeys(lost)
    mark(backend, list(SPECIALS.values()))
    surround(backend, SPECIALS)
    return Tokenizer(backend, dict(SPECIALS))


def _pieces(word: str) -> list[str]:
    count = 1 if len(word) <= LONGEST else -(-len(word) // (LONGEST - 1))
    edges = [-(-len(word) * n // count) for n in range(count + 1)]
    return [("##" if a else "") + word[a:b] for a, b in pairwise(edges)]


def _is_lost(model: models.WordPiece, word: str, unk: str) -> bool:
    return any(token.value == unk for token in model.tokenize(word))
