"""Learning a vocabulary from text: WordPiece, byte-level BPE, unigram, characters.

The same text gives the same vocabulary, but for rare pieces of a unigram one: its trainer adds up in the order of a
hash table.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from unmask.errors import UserError
from unmask.text.tokens.frames import surround
from unmask.text.tokens.units import is_han
from unmask.text.tokens.vocabularies import SPACE, SPECIALS, Kind, bert, byte_level, mark

if TYPE_CHECKING:
    import tokenizers

ENDLESS = re.compile("[!-~]{200,}")
"""What is no word (encoded data, programs without spaces): learning pairs takes the square of a word's length."""

COVERED, LETTERS = 0.9999, 0.75
"""Share of a text's characters that a WordPiece vocabulary knows, and most of the room that they may take."""


def train(
    texts: Iterable[str], kind: Kind, vocab_size: int, lowercase: bool
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """A vocabulary learned from texts, and its special tokens by role."""
    make = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram, "characters": _characters}[kind]
    found = some(texts, "no text to train a tokenizer on; give sources that hold text")
    backend = make((ENDLESS.sub(" ", text) for text in found), vocab_size, lowercase)
    mark(backend, list(SPECIALS.values()))
    surround(backend, SPECIALS)
    return backend, dict(SPECIALS)


def some(texts: Iterable[str], absent: str) -> Iterator[str]:
    """The texts. Raises `UserError`, which says ``absent``, where there is nothing in them."""
    texts = iter(texts)
    if (first := next((text for text in texts if text.strip()), None)) is None:
        raise UserError(absent)
    return itertools.chain([first], texts)


def _wordpiece(texts: Iterable[str], vocab_size: int, lowercase: bool) -> tokenizers.Tokenizer:
    """Letters, then pairs merged by frequency as the library's own trainer does, but with one outcome for one text.

    The library numbers pieces such as ``##a`` in the order of a hash table, and equally frequent pairs fall as that
    order does. Here words are marked at their beginning and not inside while pairs are learned.
    """
    from tokenizers import models

    backend = bert({}, SPECIALS["unk"], lowercase)
    texts = list(texts)  # read twice; a sample of the sources
    letters = _letters(counts := _counts(texts, backend.normalizer), vocab_size)
    begun = [*SPECIALS.values(), *letters, *(f"##{letter}" for letter in letters if _joins(letter))]
    longer = _longer(backend, texts, letters, max(0, vocab_size - len(begun)))
    rare = sorted(counts, key=lambda c: (-counts[c], c))  # where there are not so many pairs
    entries = list(dict.fromkeys([*begun, *longer, *(c for c in rare if not _joins(c))]))[:vocab_size]
    vocab = {entry: n for n, entry in enumerate(entries)}
    backend.model = models.WordPiece(vocab, unk_token=SPECIALS["unk"], max_input_chars_per_word=100)
    return backend


def _counts(texts: Iterable[str], normalizer: tokenizers.normalizers.Normalizer) -> Counter[str]:
    """How often each character comes, spaces apart, once the text is normalised."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(text)
    counts: Counter[str] = Counter()
    for raw, count in seen.items():
        for letter in normalizer.normalize_str(raw).split():
            counts.update(dict.fromkeys(letter, count))
    return counts


def _letters(seen: Counter[str], vocab_size: int) -> list[str]:
    """The characters that get entries, sorted: the most frequent, `COVERED` of all, in at most `LETTERS` of the room.

    A character that joins others takes two entries, as a beginning and as an inside.
    """
    wanted, room, kept = COVERED * seen.total(), LETTERS * vocab_size, []
    for letter in sorted(seen, key=lambda c: (-seen[c], c)):
        wanted, room = wanted - seen[letter], room - 1 - _joins(letter)
        if room < 0:
            break
        kept.append(letter)
        if wanted <= 0:
            break
    return sorted(kept)


def _joins(letter: str) -> bool:
    """Whether BERT's rules leave it together with its neighbours."""
    from tokenizers import pre_tokenizers

    return not is_han(letter) and len(pre_tokenizers.BertPreTokenizer().pre_tokenize_str(f"a{letter}a")) == 1


def _longer(backend: tokenizers.Tokenizer, texts: list[str], letters: list[str], wanted: int) -> list[str]:
    """At least this many of the pieces longer than a letter, if the texts have them, the most frequent pairs first."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.normalizer = backend.normalizer
    learner.pre_tokenizer = pre_tokenizers.Sequence([backend.pre_tokenizer, pre_tokenizers.Metaspace()])
    trainer = trainers.BpeTrainer(
        vocab_size=wanted + 2 * len(letters) + 1,  # the letters themselves, and again where they begin a word
        initial_alphabet=[SPACE, *letters],
        limit_alphabet=len(letters) + 1,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learned = sorted(learner.get_vocab().items(), key=lambda entry: entry[1])
    return [piece[1:] if piece[0] == SPACE else "##" + piece for piece, _ in learned if len(piece) > 1]


def _bpe(texts: Iterable[str], vocab_size: int, lowercase: bool) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend = byte_level(Tokenizer(models.BPE()))
    backend.normalizer = _uncased(lowercase)
    backend.train_from_iterator(texts, trainer)
    return backend


def _unigram(texts: Iterable[str], vocab_size: int, lowercase: bool) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, models, trainers

    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS.values()),
        unk_token=SPECIALS["unk"],
        show_progress=False,
    )
    backend = _spaced(Tokenizer(models.Unigram()), lowercase)
    backend.train_from_iterator(texts, trainer)
    _settle(backend)
    return backend


def _settle(backend: tokenizers.Tokenizer) -> None:
    """Put equally likely pieces in one order, whichever way the trainer's hash tables fell."""
    from tokenizers import models

    model = json.loads(backend.to_str())["model"]
    pieces = [(piece, round(score, 6)) for piece, score in model["vocab"]]
    first = len(SPECIALS)
    pieces[first:] = sorted(pieces[first:], key=lambda entry: (-entry[1], entry[0]))
    backend.model = models.Unigram(pieces, model["unk_id"], False)


def _characters(texts: Iterable[str], vocab_size: int, lowercase: bool) -> tokenizers.Tokenizer:
    """The most frequent characters: byte-pair encoding without any pairs."""
    from tokenizers import Tokenizer, models

    backend = _spaced(Tokenizer(models.BPE(unk_token=SPECIALS["unk"])), lowercase)
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(backend.normalizer.normalize_str(text))
    del seen[" "]
    # equally frequent ones in the order of their numbers, so that the same texts give the same vocabulary
    common = sorted(seen, key=lambda c: (-seen[c], c))[: vocab_size - len(SPECIALS) - 1]
    vocab = {name: n for n, name in enumerate([*SPECIALS.values(), SPACE, *common])}
    backend.model = models.BPE(vocab, [], unk_token=SPECIALS["unk"])
    return backend


def _spaced(backend: tokenizers.Tokenizer, lowercase: bool) -> tokenizers.Tokenizer:
    """Write spaces as a letter of their own, one before each word."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    one_space = normalizers.Replace(Regex(r"\s+"), " ")
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), *filter(None, [_uncased(lowercase)]), one_space])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend


def _uncased(lowercase: bool) -> Any:
    from tokenizers import normalizers

    if not lowercase:
        return None
    return normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.NFC()]
    )
