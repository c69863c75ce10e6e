"""Material for `unmask demo`: real English that every Python carries, and two tasks whose labels its authors wrote.

The text is `pydoc_data.topics` (Python's language reference) and the docstrings of the standard library, read from its
source files without importing any of them. The tasks:

- ``module`` (classify): which package of the standard library a passage documents. The label is the folder the
  docstring lies in. Passages that name their package are left out; a docstring lies in one split only.
- ``code`` (tag): which words of a passage of the language reference are code. Its authors put code in double quotes:
  the quotes are taken away and the words between them labelled ``B-CODE I-CODE …``. A topic lies in one split only.

Nothing that is held out (valid and test) is in the corpus or the training data: no eight words in a row of it are.
All of it is a pure function of the standard library's text.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unmask.errors import UserError

PACKAGES = (
    "asyncio", "email", "http", "importlib", "logging", "multiprocessing", "tkinter", "unittest", "urllib", "xml",
)  # fmt: skip
FEWEST_PACKAGES = 5
FEWEST_PASSAGES = 60  # of a package, to be a label
MOST_PASSAGES = 120  # of a package are labelled; what is left is text without labels, as in life
WORDS = range(10, 121)  # in a passage
SMALLEST = 500_000  # characters
SHARED = 8  # so many words in a row are the same text
HELD_OUT = {"test": 0.4, "valid": 0.15}
NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
WORD = re.compile(r"\w+|[^\w\s]")
RULE = re.compile(r"[*=~+-]{4,}")
CODE = re.compile(r'"([^"]+)"|``([^`]+)``')

Splits = dict[str, list["Passage"]]


@dataclass(frozen=True)
class Passage:
    """A paragraph on one line, the topic, class or function it belongs to, and its package if it has one."""

    text: str
    unit: str
    package: str = ""


@dataclass(frozen=True)
class Material:
    """The files that `write` made: one corpus, and a file for every split of every task. And what was counted."""

    corpus: Path
    module: dict[str, Path]
    code: dict[str, Path]
    facts: dict[str, int]


def write(folder: Path, stdlib: Path | None = None) -> Material:
    """Write ``corpus.txt`` (documents by empty lines), ``module-*.tsv`` and ``code-*.conll`` into a folder.

    Raises:
        UserError: this Python carries too little text or too few packages.
    """
    stdlib = stdlib or Path(sysconfig.get_path("stdlib"))
    passages = _unique([*topics(), *docstrings(stdlib)])
    _refuse_too_little(passages, stdlib)
    module, code = module_passages(passages), code_passages(passages)
    held_out = {p for task in (module, code) for split in HELD_OUT for p in task[split]}
    known = {run for passage in held_out for run in _runs(passage)}
    public = [p for p in passages if p not in held_out and known.isdisjoint(_runs(p))]
    for task in (module, code):
        task["train"] = sorted(set(task["train"]) & set(public), key=_order)
    folder.mkdir(parents=True, exist_ok=True)
    return Material(
        _write(folder / "corpus.txt", _documents(public)),
        {split: _write(folder / f"module-{split}.tsv", _tsv(found)) for split, found in module.items()},
        {split: _write(folder / f"code-{split}.conll", _conll(found)) for split, found in code.items()},
        {
            "characters": sum(len(p.text) for p in public),
            "documents": len({_document(p) for p in public}),
            "passages kept out of the corpus": len(passages) - len(public),
            **{f"module, {split}": len(found) for split, found in module.items()},
            **{f"code, {split}": len(found) for split, found in code.items()},
        },
    )


def topics() -> list[Passage]:
    """The language reference; small topics first, since large ones repeat them."""
    try:
        from pydoc_data.topics import topics as texts
    except ImportError:
        raise UserError(
            "this Python lacks pydoc_data.topics, which the demo reads; use a full build of Python"
        ) from None
    names = sorted(texts, key=lambda name: (len(texts[name]), name))
    return [Passage(line, f"topics/{name}/") for name in names for line in _paragraphs(texts[name])]


def docstrings(stdlib: Path) -> list[Passage]:
    """Every docstring in the folder of the standard library, by module and class or function."""
    found = []
    for path in sorted(stdlib.rglob("*.py")):
        parts = path.relative_to(stdlib).with_suffix("").parts
        if NOT_LIBRARY.isdisjoint(parts):
            package = parts[0] if parts[0] in PACKAGES else ""
            name = "/".join(parts)
            found += [Passage(line, f"{name}/{unit}", package) for unit, line in _documented(path)]
    return found


def _documented(path: Path) -> Iterator[tuple[str, str]]:
    """The paragraphs of a module's docstrings, each with the name it stands under."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in what is only read
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and files kept to test parsers
        return
    for name, docstring in _docstrings(tree, ""):
        for line in _paragraphs(docstring):
            yield name, line


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Those of a module or definition and of all that is defined inside it, or inside an ``if`` or ``try``."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        name = f"{name}.{node.name}" if name else node.name
        yield name, ast.get_docstring(node) or ""
    elif isinstance(node, ast.Module):
        yield name, ast.get_docstring(node) or ""
    for below in getattr(node, "body", []):
        yield from _docstrings(below, name)


def _paragraphs(text: str) -> list[str]:
    """Paragraphs of at least three words, each on one line, without rules drawn under titles."""
    lines = (" ".join(RULE.sub(" ", block).split()) for block in text.split("\n\n"))
    return [line for line in lines if len(line.split()) >= 3]


def module_passages(passages: list[Passage]) -> Splits:
    """Passages of the packages in three splits; a docstring lies in one of them."""
    by_package = defaultdict(list)
    for passage in passages:
        names_it = re.search(passage.package, passage.text, re.IGNORECASE)
        if passage.package and not names_it and _is_prose(passage.text):
            by_package[passage.package].append(passage)
    enough = {name: found for name, found in by_package.items() if len(found) >= FEWEST_PASSAGES}
    if len(enough) < FEWEST_PACKAGES:
        raise UserError(
            f"this Python documents only {len(enough)} of the packages {', '.join(PACKAGES)}; "
            f"the demo needs {FEWEST_PACKAGES}: use a full build of Python"
        )
    parts = [_split(sorted(found, key=_order)[:MOST_PASSAGES]) for _, found in sorted(enough.items())]
    return {split: sorted((p for part in parts for p in part[split]), key=_order) for split in parts[0]}


def code_passages(passages: list[Passage]) -> Splits:
    """Passages of the language reference with code in them, in three splits; a topic lies in one of them."""
    return _split([p for p in passages if p.unit.startswith("topics/") and _is_marked(p.text)])


def _split(passages: list[Passage]) -> Splits:
    """Whole units to test and valid until their shares are full, the rest to train."""
    units: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        units[passage.unit].append(passage)
    splits: Splits = {"train": [], **{split: [] for split in HELD_OUT}}
    for unit in sorted(units, key=_chance):
        fits = (s for s, share in HELD_OUT.items() if len(splits[s]) + len(units[unit]) <= share * len(passages))
        splits[next(fits, "train")] += units[unit]
    return {split: sorted(found, key=_order) for split, found in splits.items()}


def _is_prose(text: str) -> bool:
    return ">>>" not in text and len(re.findall(r"[A-Za-z]+", text)) in WORDS


def _is_marked(text: str) -> bool:
    """Prose whose quotes come in pairs around something; a grammar's and a table's do not count."""
    drawn = "::=" in text or "|" in text
    left = CODE.sub("", text)
    return _is_prose(text) and not drawn and '"' not in left and left != text and text[-1] in ".:)"


def labelled(text: str) -> list[tuple[str, str]]:
    """The words of a passage with their labels, quotes taken away. Code and prose are cut into words alike."""
    rows: list[tuple[str, str]] = []
    for n, piece in enumerate(CODE.split(text)):
        words = WORD.findall(piece or "")
        # prose, then what stood in either kind of quotes, then prose …
        labels = ["O"] * len(words) if n % 3 == 0 else ["B-CODE"] + ["I-CODE"] * (len(words) - 1)
        rows += zip(words, labels, strict=False)
    return rows


def _runs(passage: Passage) -> Iterator[tuple[str, ...]]:
    """Every so many words in a row."""
    words = re.findall(r"\w+", passage.text.lower())
    return zip(*(words[n:] for n in range(SHARED)), strict=False)


def _unique(passages: list[Passage]) -> list[Passage]:
    """The first of those with the same text."""
    first: dict[str, Passage] = {}
    for passage in passages:
        first.setdefault(passage.text.lower(), passage)
    return list(first.values())


def _chance(text: str) -> int:
    """A number that looks drawn by lot and is always the same."""
    return zlib.crc32(text.encode())


def _order(passage: Passage) -> tuple[int, str]:
    return _chance(passage.unit + passage.text), passage.text


def _refuse_too_little(passages: list[Passage], stdlib: Path) -> None:
    characters = sum(len(p.text) for p in passages)
    if characters < SMALLEST:
        raise UserError(
            f"{stdlib}: holds {characters:,} characters of documentation and the demo needs {SMALLEST:,}; "
            "use a full build of Python, with its source files"
        )


def _document(passage: Passage) -> str:
    """A topic or a module: texts about one thing, so that objectives on pairs have something to learn."""
    return passage.unit.rpartition("/")[0]


def _documents(passages: list[Passage]) -> str:
    units: dict[str, list[str]] = defaultdict(list)
    for passage in passages:
        units[_document(passage)].append(passage.text)
    return "\n\n".join("\n".join(lines) for lines in units.values())


def _tsv(passages: Iterable[Passage]) -> str:
    return "\n".join(["text\tlabel", *(f"{p.text}\t{p.package}" for p in passages)])


def _conll(passages: Iterable[Passage]) -> str:
    return "\n\n".join("\n".join(f"{word}\t{label}" for word, label in labelled(p.text)) for p in passages)


def _write(path: Path, text: str) -> Path:
    content = (text + "\n").encode()
    if not path.is_file() or path.read_bytes() != content:  # a file that is written again is another to `prepare`
        path.write_bytes(content)
    return path
