"""Words that were encoded before are looked up.

A tokenizer spends its time on normalising and merging the same words again and again. Where it treats the words of a
text one by one, whatever their neighbours, a dictionary gives the same tokens in a fraction of the time. Which places
of a text are such borders is known for two kinds:

- WordPiece with BERT's rules: white space, every ASCII punctuation mark, every Chinese character.
- Byte-level BPE with GPT-2's rules: before the space that leads a word; between a word of ASCII letters and the marks
  that follow it. A longer stretch of spaces is divided before its last one, as GPT-2 does.

T tokens, N texts.
"""

from __future__ import annotations

import itertools
import json
import re
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unmask.text.example import Array

if TYPE_CHECKING:
    import tokenizers

WORDS = 1 << 18
"""Words kept in memory."""

_BERT = re.compile("[^ \t\r\n!-/:-@\\[-`{-~\u3400-\u4dbf\u4e00-\u9fff]+|[!-/:-@\\[-`{-~\u3400-\u4dbf\u4e00-\u9fff]")
_GPT2 = re.compile(r' ?[A-Za-z]+(?=[ ,.;:!?")\n]|\Z)| ?[^ ]+| +\Z| +(?= )')


def parts(backend: tokenizers.Tokenizer) -> re.Pattern[str] | None:
    """What finds the parts of a text that this tokenizer treats one by one; none where nobody knows."""
    rules = json.loads(backend.to_str())
    before, normal = rules["pre_tokenizer"] or {}, rules["normalizer"] or {}
    if any(not token["special"] for token in rules["added_tokens"]):
        return None
    if rules["model"]["type"] == "WordPiece":
        return _BERT if (normal.get("type"), before.get("type")) == ("BertNormalizer", "BertPreTokenizer") else None
    single = {rule.get("type") for rule in normal.get("normalizers", [normal])}
    plain = before.get("type") == "ByteLevel" and before["use_regex"] and not before["add_prefix_space"]
    known = single <= {None, "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Lowercase"}
    return _GPT2 if rules["model"]["type"] == "BPE" and plain and known else None


def _words(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The parts of a text that are encoded one by one.

    Where plain ASCII is divided by BERT's rules, marks may stay with their words: white space alone divides in a
    fifth of the time, and nearly all that is found has been seen before too.
    """
    if pattern is _BERT and text.isascii() and text.replace("\n", " ").isprintable():
        return text.split()
    return pattern.findall(text)


class Lookup:
    """A tokenizer that remembers.

    Args:
        backend: encodes what was not seen before.
        pattern: finds the parts of a text that are encoded one by one.
    """

    def __init__(self, backend: tokenizers.Tokenizer, pattern: re.Pattern[str]):
        self.backend, self.pattern = backend, pattern
        self._forget()

    def _forget(self) -> None:
        self.numbers: dict[str, int] = {}
        self.table, self.sizes = (
            array("i"),
            array("i"),
        )  # the tokens of all words end to end; how many each has

    def encode(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """The tokens of all texts laid end to end [T] int32, and how many each has [N]."""
        if len(self.numbers) > WORDS:
            self._forget()
        found = [_words(text, self.pattern) for text in texts]
        numbers = self._numbers(list(itertools.chain.from_iterable(found)))
        all_sizes = np.array(self.sizes)
        sizes, starts = all_sizes[numbers], (np.cumsum(all_sizes) - all_sizes)[numbers]
        ends = np.cumsum(sizes)
        ids = np.array(self.table)[np.repeat(starts - ends + sizes, sizes) + np.arange(sizes.sum())]
        text_ends = np.append(0, ends)[np.cumsum([len(parts) for parts in found])]
        return ids, np.diff(text_ends, prepend=0)

    def _numbers(self, words: list[str]) -> Array:
        """The place of each word in the table; those that are not there are encoded first."""
        numbers = np.fromiter(map(self.numbers.get, words, itertools.repeat(-1)), np.int64, len(words))
        missing = np.flatnonzero(numbers < 0).tolist()
        new = list(dict.fromkeys(words[i] for i in missing))
        for word, encoding in zip(new, self.backend.encode_batch_fast(new, add_special_tokens=False), strict=True):
            self.numbers[word] = len(self.numbers)
            self.table.extend(encoding.ids)
            self.sizes.append(len(encoding.ids))
        numbers[missing] = [self.numbers[words[i]] for i in missing]
        return numbers
