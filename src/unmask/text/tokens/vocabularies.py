"""The vocabularies behind a tokenizer: reading them, and what their entries stand for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from unmask.errors import UserError, first_line
from unmask.text.example import Array
from unmask.text.tokens.frames import surround
from unmask.text.tokens.units import is_han

if TYPE_CHECKING:
    import tokenizers

Kind = Literal["wordpiece", "bpe", "unigram", "characters"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SPECIALS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
"""What a vocabulary that is trained here calls its special tokens."""

KNOWN = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<cls>", "<bos>"),
    "sep": ("[SEP]", "</s>", "<sep>", "<eos>"),
    "mask": ("[MASK]", "<mask>"),
}
"""What others call theirs, where no configuration says so."""


def sentinel(n: int) -> str:
    """What stands for the n-th hidden span of a text, as T5's vocabularies call it: they have no cls and no mask."""
    return f"<extra_id_{n}>"


def is_sentinel(name: str) -> bool:
    """Whether a token is one of these."""
    return name.startswith("<extra_id_")


_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>$")
SPACE = "\u2581"  # the mark that unigram vocabularies write for a space


def bert(vocab: dict[str, int], unk: str, lowercase: bool) -> tokenizers.Tokenizer:
    """WordPiece with BERT's clean-up: control characters out, Chinese characters apart, accents off with the case."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    backend = Tokenizer(models.WordPiece(vocab, unk_token=unk, max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def byte_level(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Let a vocabulary see bytes, as GPT-2's and RoBERTa's do."""
    from tokenizers import decoders, pre_tokenizers

    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def read(path: Path, lowercase: bool | None) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """The vocabulary in a file or folder, and its special tokens by role. Raises `UserError`."""
    folder = path if path.is_dir() else path.parent
    config = _json(folder / "special_tokens_map.json") | _json(folder / "tokenizer_config.json")
    if path.is_dir():
        path = _find(path)
    if path.name == "vocab.json":
        backend = _read_merges(path)
    elif path.suffix == ".json":
        backend = _read_json(path)
    else:
        backend = _read_vocab(path, lowercase if lowercase is not None else config.get("do_lower_case"))
    names = {role: _name(backend, role, config.get(f"{role}_token")) for role in SPECIALS}
    lacking = ("cls", "mask") if backend.token_to_id(sentinel(0)) is not None else ()
    if missing := [role for role, name in names.items() if name is None and role not in lacking]:
        wanted = ", ".join(" or ".join(KNOWN[role]) for role in missing)
        raise UserError(f"{path}: the vocabulary has no token for {', '.join(missing)}; it needs {wanted}")
    named = {role: name for role, name in names.items() if name is not None}
    mark(backend, list(named.values()))
    if backend.post_processor is None:
        surround(backend, named)
    return backend, named


def _find(folder: Path) -> Path:
    for name in ("tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            return folder / name
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return folder / "vocab.json"
    raise UserError(f"{folder}: holds no tokenizer; needed is tokenizer.json, vocab.txt, or vocab.json with merges.txt")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path}: cannot be read as JSON; mend it or remove it") from None
    return found if isinstance(found, dict) else {}


def _read_json(path: Path) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a vocab.txt, a tokenizer.json or a folder"
        ) from None
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path}: is no tokenizer.json ({first_line(error)})") from None


def _read_merges(path: Path) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, models

    try:
        return byte_level(Tokenizer(models.BPE.from_file(str(path), str(path.with_name("merges.txt")))))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path}: is no byte-level BPE vocabulary ({first_line(error)})") from None


def of_words(words: list[str]) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """A vocabulary of whole words behind the special tokens, in their order, and those by role.

    What is none of the words, marks and stretches of Chinese among them, is the unknown token.
    """
    entries = dict.fromkeys([*SPECIALS.values(), *words])
    backend = bert({entry: n for n, entry in enumerate(entries)}, SPECIALS["unk"], _without_capitals(words))
    mark(backend, list(SPECIALS.values()))
    surround(backend, SPECIALS)
    return backend, dict(SPECIALS)


def _without_capitals(entries: list[str]) -> bool:
    return not any("A" <= c <= "Z" for entry in entries for c in entry)


def _read_vocab(path: Path, lowercase: bool | None) -> tokenizers.Tokenizer:
    try:
        entries = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a vocab.txt, a tokenizer.json or a folder"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: no text in UTF-8; a vocab.txt holds one token a line") from None
    entries = [entry.rstrip("\r") for entry in entries[: -1 if entries[-1] == "" else None]]
    if len(entries) < len(SPECIALS) or any(" " in entry for entry in entries):
        raise UserError(f"{path}: a vocab.txt holds one token a line, and no spaces")
    if lowercase is None:
        lowercase = _without_capitals([entry for entry in entries if entry[:1] not in "[<"])
    unk = next((name for name in KNOWN["unk"] if name in entries), "[UNK]")
    vocab = {entry: n for n, entry in enumerate(entries)}
    return bert(vocab, unk, lowercase)


def _name(backend: tokenizers.Tokenizer, role: str, given: Any) -> str | None:
    """The token that plays a role: what the configuration says, or a name that is usual."""
    if isinstance(given, dict):  # Hugging Face writes the token alone, or with its settings
        given = given.get("content")
    names = (given, *KNOWN[role]) if isinstance(given, str) else KNOWN[role]
    return next((name for name in names if backend.token_to_id(name) is not None), None)


def mark(backend: tokenizers.Tokenizer, names: list[str]) -> None:
    """Tell the backend which of its entries are special, where its file did not (a vocab.txt does not)."""
    from tokenizers import AddedToken

    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    backend.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names if name not in known]
    )


def kind_of(backend: tokenizers.Tokenizer) -> Kind:
    """Which kind a vocabulary is."""
    from tokenizers import models

    if isinstance(backend.model, models.WordPiece):
        return "wordpiece"
    if isinstance(backend.model, models.Unigram):
        return "unigram"
    if not isinstance(backend.model, models.BPE):
        raise UserError(f"a {type(backend.model).__name__} tokenizer is not supported; WordPiece, BPE and Unigram are")
    return "bpe" if json.loads(backend.to_str())["model"]["merges"] else "characters"


def without_specials(rules: str) -> str:
    """A unigram vocabulary, as its file has it, that finds no special token in any text; numbers stay.

    Its entries are found wherever they stand, special ones too, unless they are called what no text says.
    """
    found = json.loads(rules)
    special = {token["content"] for token in found["added_tokens"] if token["special"]}
    for entry in found["model"]["vocab"]:
        entry[0] = "\0" * (entry[0] in special) + entry[0]
    found["added_tokens"] = [token for token in found["added_tokens"] if not token["special"]]
    found["post_processor"] = None
    return json.dumps(found)


def surfaces(backend: tokenizers.Tokenizer, kind: Kind, size: int) -> tuple[list[bytes], Array]:
    """The text that each entry stands for [V], with spaces as spaces, and whether it never begins a word [V] bool."""
    names = [backend.id_to_token(i) or "" for i in range(size)]
    added = backend.get_added_tokens_decoder()
    inner = np.zeros(size, bool)
    if kind == "wordpiece":
        inner[[i for i, name in enumerate(names) if name.startswith("##") and len(name) > 2]] = True
        return [_of_wordpiece(name) for name in names], inner
    byte_level = "ByteLevel" in str(backend.pre_tokenizer) or "ByteLevel" in str(backend.decoder)
    letters = _byte_letters() if byte_level else {}
    return [_of_piece(name, {} if i in added else letters) for i, name in enumerate(names)], inner


def _of_wordpiece(name: str) -> bytes:
    """Entries that begin a word stand after a space, unless they are Chinese: those stand apart in any case."""
    if name.startswith("##") and len(name) > 2:
        return name[2:].encode()
    return name.encode() if is_han(name[:1]) else b" " + name.encode()


def _of_piece(name: str, letters: dict[str, int]) -> bytes:
    if byte := _BYTE.match(name):
        return bytes([int(byte[1], 16)])
    if letters:
        return b"".join(bytes([letters[c]]) if c in letters else c.encode() for c in name)
    return name.replace(SPACE, " ").encode()


def _byte_letters() -> dict[str, int]:
    """GPT-2's letter for each byte, reversed: printable ones stand for themselves, others follow from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
