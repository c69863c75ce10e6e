"""One tokenizer for the house, over `tokenizers`: loaded or trained, its special tokens by their roles.

L tokens in a text, V vocabulary.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.disk import write_file
from unmask.errors import UserError
from unmask.text.example import Array
from unmask.text.tokens.frames import around, framed
from unmask.text.tokens.learning import train
from unmask.text.tokens.lookup import Lookup, parts
from unmask.text.tokens.units import Alphabet, closed_up, is_han
from unmask.text.tokens.vocabularies import KNOWN, Kind, kind_of, of_words, read, surfaces, without_specials

if TYPE_CHECKING:
    import tokenizers


@dataclass(frozen=True)
class Pieces:
    """One text as tokens."""

    ids: Array  # [L] int32
    word_starts: Array  # [L] bool: this token begins a word


class Tokenizer:
    """Text to tokens and back.

    Args:
        backend: what does the work.
        names: the special tokens by role (pad, unk, cls, sep, mask); T5's have no cls and no mask.
    """

    def __init__(self, backend: tokenizers.Tokenizer, names: dict[str, str]):
        self.backend, self.names = backend, names
        self.backend.no_padding()
        self.backend.no_truncation()
        self.pad, self.unk, self.sep = (self._id(names[role]) for role in ("pad", "unk", "sep"))

    @classmethod
    def train(
        cls, texts: Iterable[str], kind: Kind = "wordpiece", vocab_size: int = 8192, lowercase: bool = True
    ) -> Tokenizer:
        """Learn a vocabulary.

        Args:
            texts: read once.
            kind: ``wordpiece`` (Devlin 2018, 1810.04805), byte-level ``bpe`` (Radford 2019), ``unigram`` (Kudo 2018,
                1804.10959) or ``characters``.
            vocab_size: entries at most, special tokens included; a small text yields fewer.
            lowercase: forget case, and accents with it, as BERT's uncased models do.

        Raises:
            UserError: the texts are empty.
        """
        return cls(*train(texts, kind, vocab_size, lowercase))

    @classmethod
    def load(cls, path: str | Path, lowercase: bool | None = None) -> Tokenizer:
        """Open a ``vocab.txt``, a ``tokenizer.json``, or a folder that holds either (Hugging Face's or ours).

        Args:
            path: the file or folder.
            lowercase: for a ``vocab.txt``; none: what the folder's configuration says, or else whether the
                vocabulary has no capital letters.

        Raises:
            UserError: nothing there that can be read, or a special token is missing.
        """
        return cls(*read(Path(path), lowercase))

    @classmethod
    def of_words(cls, words: list[str]) -> Tokenizer:
        """One that knows whole words alone, which stand behind its special tokens."""
        return cls(*of_words(words))

    def plus(self, names: Sequence[str]) -> Tokenizer:
        """The same tokenizer with further special tokens at the end of its vocabulary, where it lacks them."""
        import tokenizers

        new = [name for name in dict.fromkeys(names) if self.backend.token_to_id(name) is None]
        if not new:
            return self
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False) for name in new])
        return Tokenizer(backend, self.names)

    def save(
        self,
        folder: str | Path,
        segments: bool = True,
        longest: int | None = None,
        ends: bool = True,
        pairs: bool = False,
    ) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``, which `transformers.AutoTokenizer` opens.

        Args:
            folder: made where it is missing.
            segments: whether the model this goes with takes ``token_type_ids``.
            longest: tokens that it reads at most, to which transformers then cuts where it is told to cut.
            ends: whether a text is closed there; not where a model is to write on.
            pairs: whether a model reads two texts together, so that what stands between them has to be as it is here.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        inputs = ["input_ids", "token_type_ids", "attention_mask"] if segments else ["input_ids", "attention_mask"]
        config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs}
        config |= {f"{role}_token": name for role, name in self.names.items()}
        config |= {} if longest is None else {"model_max_length": longest}
        config["clean_up_tokenization_spaces"] = False
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        write_file(
            folder / "tokenizer.json", framed(self.backend, self.names, ends, pairs).to_str(pretty=True).encode()
        )
        write_file(folder / "tokenizer_config.json", text.encode())

    def encode(self, texts: Sequence[str], specials: bool = True) -> list[Pieces]:
        """Texts as tokens, without [CLS] and [SEP].

        Args:
            texts: any number of them.
            specials: whether ``[MASK]`` in a text means the special token; if not, it is text like any other.
        """
        ids, lengths = self.encode_flat(texts, specials)
        ends = np.cumsum(lengths)
        begins = self.word_starts(ids, ends - lengths)
        return [Pieces(*part) for part in zip(np.split(ids, ends)[:-1], np.split(begins, ends)[:-1], strict=True)]

    def encode_flat(self, texts: Sequence[str], specials: bool = True) -> tuple[Array, Array]:
        """The tokens of all texts laid end to end [T] int32, and how many each has [N]."""
        if specials and any(name in text for text in texts for name in self._marks):
            return _flat(self.backend, texts)
        return self._lookup.encode(texts) if self._lookup else _flat(self._plain, texts)

    def encode_words(self, sentences: Sequence[Sequence[str]]) -> list[Pieces]:
        """Sentences of words that somebody has cut: ``word_starts`` are where the given words begin.

        Every word has at least one token; one that the tokenizer makes nothing of becomes the unknown token.
        """
        spaced = [word for sentence in sentences for word in self._spaced(sentence)]
        ids, lengths = self.encode_flat([text for text, _ in spaced], specials=False)
        ids, lengths = self._without_space(ids, lengths, np.array([glued for _, glued in spaced], bool))
        empty = np.cumsum(lengths)[lengths == 0]
        ids, lengths = np.insert(ids, empty, self.unk), np.maximum(lengths, 1)
        begins = np.zeros(len(ids), bool)
        begins[np.cumsum(lengths) - lengths] = True
        words = np.cumsum([len(sentence) for sentence in sentences])
        ends = np.append(0, np.cumsum(lengths))[words]
        return [Pieces(*part) for part in zip(np.split(ids, ends)[:-1], np.split(begins, ends)[:-1], strict=True)]

    def decode(self, ids: Array | Sequence[int], extra: bool = False) -> str:
        """The text of these tokens, special ones left out; ``extra``: but for those that play no role."""
        kept = np.asarray(ids)
        if extra:
            kept = kept[~np.isin(kept, [self.ids([name])[0] for name in self.names.values()])]
        text = str(self.backend.decode(kept.tolist(), skip_special_tokens=not extra))
        return closed_up(text) if self.kind == "wordpiece" else text

    def tokens(self, ids: Array | Sequence[int]) -> list[str]:
        """These tokens as the vocabulary spells them."""
        return [str(self.backend.id_to_token(i)) for i in np.asarray(ids).tolist()]

    def ids(self, names: Sequence[str]) -> Array:
        """The ids of tokens as the vocabulary spells them. Raises `UserError` where it lacks one."""
        return np.array([self._id(name) for name in names], np.int32)

    def word_starts(self, ids: Array, starts: Array) -> Array:
        """[T] bool: this token begins a word. ``starts``: where the texts laid end to end begin."""
        return self.alphabet.word_starts(ids, starts)

    @cached_property
    def size(self) -> int:
        """V: the least number of rows an embedding needs."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def cls(self) -> int:
        """What a text begins with. Raises `UserError` if there is none; see `opens`."""
        return self._role("cls")

    @cached_property
    def mask(self) -> int:
        """What hides a token. Raises `UserError` if there is none."""
        return self._role("mask")

    @property
    def opens(self) -> bool:
        """Whether a text begins with a special token."""
        return "cls" in self.names

    @cached_property
    def extra(self) -> tuple[str, ...]:
        """Special tokens that play no role and stand behind the vocabulary, in their order: what `plus` added."""
        behind = self.backend.get_vocab_size(with_added_tokens=False)
        added = sorted(self.backend.get_added_tokens_decoder().items())
        roles = self.names.values()
        return tuple(t.content for i, t in added if t.special and i >= behind and t.content not in roles)

    @cached_property
    def kind(self) -> Kind:
        """What the vocabulary was learned as."""
        return kind_of(self.backend)

    @cached_property
    def special(self) -> Array:
        """[V] bool: no piece of text (the five roles, and what the vocabulary marks as special besides)."""
        marked = [i for i, token in self.backend.get_added_tokens_decoder().items() if token.special]
        special = np.zeros(self.size, bool)
        special[[*marked, *self.ids(list(self.names.values()))]] = True
        return special

    @cached_property
    def ordinary(self) -> Array:
        """Ids of all tokens that are not special."""
        return np.flatnonzero(~self.special)

    @cached_property
    def hash(self) -> str:
        """Of everything that decides the ids of texts; `extra` tokens do not, nor what a file says goes around them."""
        # scores of unigrams lose their last digit whenever they are written and read
        rules = json.loads(self.backend.to_str(), parse_float=lambda score: round(float(score), 6))
        rules["post_processor"] = json.loads(around(self.backend, self.names).__getstate__())
        rules["added_tokens"] = [token for token in rules["added_tokens"] if token["content"] not in self.extra]
        parts = json.dumps([rules, self.names], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    @cached_property
    def alphabet(self) -> Alphabet:
        """What each entry of the vocabulary looks like."""
        texts, inner = surfaces(self.backend, self.kind, self.size)
        return Alphabet.of(texts, inner)

    @cached_property
    def _plain(self) -> tokenizers.Tokenizer:
        """The same tokenizer, to which special tokens in a text are text."""
        import tokenizers

        rules = self.backend.to_str()
        plain = tokenizers.Tokenizer.from_str(without_specials(rules) if self.kind == "unigram" else rules)
        plain.encode_special_tokens = True
        return plain

    @cached_property
    def _lookup(self) -> Lookup | None:
        pattern = parts(self._plain)
        return Lookup(self._plain, pattern) if pattern else None

    @cached_property
    def _marks(self) -> list[str]:
        """Special tokens that may stand in a text."""
        return [token.content for token in self.backend.get_added_tokens_decoder().values() if token.special]

    def _role(self, role: str) -> int:
        if role not in self.names:
            raise UserError(f"the tokenizer has no token for {role}; one that has {' or '.join(KNOWN[role])} would fit")
        return self._id(self.names[role])

    def _id(self, name: str) -> int:
        found = self.backend.token_to_id(name)
        if found is None:
            raise UserError(f"the tokenizer has no token {name}")
        return found

    def _spaced(self, words: Sequence[str]) -> Iterator[tuple[str, bool]]:
        """Words as they stand in a sentence, a space before each but not in Chinese, and whether one is left out."""
        before = ""
        for n, word in enumerate(words):
            glued = is_han(before[-1:]) and is_han(word[:1])
            yield word if n == 0 or glued or self.kind == "wordpiece" else " " + word, glued
            before = word

    def _without_space(self, ids: Array, lengths: Array, glued: Array) -> tuple[Array, Array]:
        """Drop the space that some vocabularies put before any text at all, where a word stands without one."""
        starts = np.cumsum(lengths) - lengths
        alone = self.backend.token_to_id("\u2581")
        drop = np.flatnonzero(glued & (lengths > 1))
        drop = drop[ids[starts[drop]] == alone] if alone is not None else drop[:0]
        shorter = lengths.copy()
        shorter[drop] -= 1
        return np.delete(ids, starts[drop]), shorter

    def __getstate__(self) -> dict[str, Any]:
        return {"backend": self.backend.to_str(), "names": self.names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import tokenizers

        Tokenizer.__init__(self, tokenizers.Tokenizer.from_str(state["backend"]), state["names"])


def _flat(backend: tokenizers.Tokenizer, texts: Sequence[str]) -> tuple[Array, Array]:
    lists = [e.ids for e in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    return np.fromiter(itertools.chain.from_iterable(lists), np.int32, int(lengths.sum())), lengths
