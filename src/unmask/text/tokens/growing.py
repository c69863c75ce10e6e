"""New words for a vocabulary that is there: each becomes a token of its own, and no other token changes its number.

They enter the vocabulary proper and not the list of added tokens beside it, which a tokenizer looks for before
anything else and which know neither spaces nor borders of words: a WordPiece vocabulary finds the longest entry first;
byte-level BPE and characters are told to look for a whole word before they merge; in a unigram vocabulary a word gets
what its pieces weigh together, and a little more. V tokens of the vocabulary that is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import UserError, found
from unmask.text.example import Array
from unmask.text.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

OPTION = "--add-tokens"
MORE, NEVER = 0.01, 10.0
"""In logarithms: how much likelier a word is than its pieces, and how much less likely than anything what stands in a
unigram vocabulary only for the sake of its number."""


@dataclass(frozen=True)
class Grown:
    """A vocabulary with new entries: the n-th has number V + n."""

    tokenizer: Tokenizer
    entries: tuple[str, ...]  # as the vocabulary spells them
    pieces: tuple[Array, ...]  # the tokens that each was before
    known: tuple[str, ...]  # words that were tokens already


def grow(tokenizer: Tokenizer, words: Sequence[str]) -> Grown:
    """The same tokenizer with these words.

    Raises:
        UserError: A word is several to this tokenizer, or the vocabulary cannot take any.
    """
    if tokenizer.extra:
        raise UserError(
            f"{OPTION}: the vocabulary ends with {tokenizer.extra[0]}, its objective's own; nothing goes behind"
        )
    pieces = {entry: _pieces(tokenizer, entry) for word in words for entry in _entries(tokenizer, word)}
    names = set(tokenizer.backend.get_vocab(with_added_tokens=True))
    new = {entry: ids for entry, ids in pieces.items() if entry not in names}
    known = [word for word in words if not new.keys() & set(_entries(tokenizer, word))]
    if not new:
        raise UserError(f"{OPTION}: all of them are tokens already ({some(known)})")
    made = Tokenizer(_with(tokenizer, new), tokenizer.names)
    for n, entry in enumerate(new):
        if [token.id for token in made.backend.model.tokenize(entry)] != [tokenizer.size + n]:
            raise UserError(f"{OPTION} {found(entry)}: is too long for a token of this vocabulary; leave it out")
    return Grown(made, tuple(new), tuple(new.values()), tuple(known))


def _entries(tokenizer: Tokenizer, word: str) -> list[str]:
    """How the vocabulary would spell a word, where nothing and where a space stands before it."""
    backend = tokenizer.backend
    spelt = []
    for text in (word, f" {word}"):
        plain = backend.normalizer.normalize_str(text) if backend.normalizer else text
        parts = backend.pre_tokenizer.pre_tokenize_str(plain) if backend.pre_tokenizer else [(plain, (0, 0))]
        if len(parts) != 1:
            cut = " ".join(part for part, _ in parts) or "nothing"
            raise UserError(f"{OPTION} {found(word)}: is no single word to this tokenizer ({found(cut)}); leave it out")
        spelt.append(parts[0][0])
    return list(dict.fromkeys(spelt))


def _pieces(tokenizer: Tokenizer, entry: str) -> Array:
    return np.array([token.id for token in tokenizer.backend.model.tokenize(entry)], np.int64)


def _with(tokenizer: Tokenizer, new: dict[str, Array]) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer as Backend

    rules = json.loads(tokenizer.backend.to_str())
    model, size = rules["model"], tokenizer.size
    # those that stand beside the vocabulary are numbered by its length, which is about to change: they move in
    behind = {token["content"]: token["id"] for token in rules["added_tokens"]}
    if model["type"] == "Unigram":
        model["vocab"] = _weighed(model["vocab"], {number: name for name, number in behind.items()}, size, new)
    else:
        model["vocab"] |= behind | {entry: size + n for n, entry in enumerate(new)}
    if model["type"] == "BPE":
        _refuse_sleeping(tokenizer, model)
        model["ignore_merges"] = True
    return Backend.from_str(json.dumps(rules))


def _weighed(vocab: list[Any], behind: dict[int, str], size: int, new: dict[str, Array]) -> list[Any]:
    """A unigram vocabulary, whose numbers are its places, with further entries."""
    weights = [weight for _, weight in vocab]
    for number in range(len(vocab), size):
        if number not in behind:
            raise UserError(
                f"{OPTION}: the vocabulary has no entry for number {number}, and its numbers are its places"
            )
        vocab = [*vocab, [behind[number], min(weights) - NEVER]]
    return [*vocab, *([entry, sum(vocab[i][1] for i in ids.tolist()) + MORE] for entry, ids in new.items())]


def _refuse_sleeping(tokenizer: Tokenizer, model: dict[str, Any]) -> None:
    """Refuse a BPE vocabulary with entries that its merges never make: whole words would now be found among them."""
    if model.get("ignore_merges"):
        return
    special = set(tokenizer.tokens(np.flatnonzero(tokenizer.special)))
    added = {token.content for token in tokenizer.backend.get_added_tokens_decoder().values()}
    plain = [entry for entry in tokenizer.backend.get_vocab(with_added_tokens=False) if entry not in special | added]
    if asleep := [entry for entry in plain if len(tokenizer.backend.model.tokenize(entry)) != 1]:
        raise UserError(
            f"{OPTION}: the vocabulary holds {some(asleep)}, which its own merges never make; it takes no words"
        )


def some(words: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more
