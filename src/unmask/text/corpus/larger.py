"""Where units of several words come from: a lexicon's file, or for phrases the text itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unmask.disk import replace_file
from unmask.errors import UserError
from unmask.text.corpus.encoding import Manner, encode_all, lexicon
from unmask.text.corpus.excerpt import SAMPLE, excerpt
from unmask.text.corpus.folders import PHRASES
from unmask.text.sources.documents import Sources
from unmask.text.tokens import phrases
from unmask.text.tokens.lexicon import Words
from unmask.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Larger:
    """What is looked for in text: the files of lexicons, an entry a line. ``auto``: phrases that the text shows."""

    phrases: Path | Literal["auto"] | None = None
    entities: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Those that are given, by what they hold."""
        given = {"phrases": self.phrases, "entities": self.entities}
        return {name: path for name, path in given.items() if isinstance(path, Path)}

    def fingerprint(self) -> dict[str, str]:
        """Of the files' contents, to know whether they are still the same."""
        return {f"{name}_hash": _hash(path) for name, path in self.files.items()}

    def lexicons(self, out: Path, sources: Sources, tokenizer: Path, language: str, processes: int) -> dict[str, Path]:
        """The files of what is to be found, all of them there and good for something.

        Raises:
            UserError: a file has no entries that can be found, or the text shows no phrases.
        """
        found, loaded = self.files, Tokenizer.load(tokenizer)
        for path in found.values():
            lexicon(path, loaded)
        if self.phrases == "auto":
            found["phrases"] = out / PHRASES
            if not found["phrases"].is_file():
                _learn(found["phrases"], sources, Manner(tokenizer, language), loaded, processes)
        return found


def _hash(path: Path) -> str:
    try:
        content = path.read_bytes()
        content.decode()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file with an entry a line") from None
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b"\n")
        raise UserError(f"{path}: not utf-8 at line {line}; give a text file in utf-8, an entry a line") from None
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _learn(to: Path, sources: Sources, manner: Manner, tokenizer: Tokenizer, processes: int) -> None:
    """Write the phrases that a part of the sources shows, half of what the vocabulary is learned from."""
    texts = encode_all(excerpt(sources, SAMPLE // 2), manner, processes)
    found = phrases.learn(texts, Words(tokenizer))
    if not found:
        raise UserError(
            f"the text shows no phrases: no two words stand together {phrases.LEAST + 1} times and far oftener than by "
            "chance; give more text, or a file of phrases as --phrases"
        )
    rows = "".join(f"{phrase.text}\t{phrase.score:.1f}\t{phrase.times}\n" for phrase in found)
    replace_file(to, rows.encode())
