"""Trees in brackets, a tree a line, as treebanks have them: ``(3 (2 It) (4 (2 's) (4 good)))`` (Socher 2013).

K nodes of a tree, in the order in which their brackets open: the root is the first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unmask.errors import UserError
from unmask.text.sources.files import lines

FITS = "a tree such as (3 (2 It) (4 (2 's) (4 good)))"
_PARTS = re.compile(r"[()]|[^() \t]+")
_ESCAPED = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}", "``": '"', "''": '"'}
"""How the Penn Treebank writes what would be taken for its own marks."""


@dataclass(frozen=True)
class Tree:
    """Words, and the nodes above them."""

    words: tuple[str, ...]  # as they are written
    labels: tuple[str, ...]  # [K] "" where there is none
    parents: tuple[int, ...]  # [K] the node that each stands below; -1 for the root
    spans: tuple[tuple[int, int], ...]  # [K] the first and the last word of each

    @property
    def plain(self) -> tuple[str, ...]:
        """The words as people write them: ``-LRB-`` is a bracket, and ``\\/`` a stroke."""
        return tuple(_ESCAPED.get(word) or word.replace("\\/", "/").replace("\\*", "*") for word in self.words)

    @property
    def widest(self) -> int:
        """Most nodes that stand right below one."""
        return max(Counter(self.parents).values())

    def written(self, labels: Sequence[str]) -> str:
        """The tree with these labels [K], in brackets."""
        closed = Counter(last for _, last in self.spans)
        parts = []
        for k, (label, (first, last)) in enumerate(zip(labels, self.spans, strict=True)):
            holds_more = k + 1 < len(self.spans) and self.spans[k + 1][0] <= last
            parts.append(f"({label}" if holds_more else f"({label} {self.words[first]}{')' * closed[last]}")
        return " ".join(parts)


@dataclass(frozen=True)
class Trees:
    """The trees of a file."""

    path: Path
    trees: list[Tree]
    places: list[int]  # line of each, from 1
    blank: int  # empty lines


def read(path: Path, labelled: bool = True, encoding: str = "utf-8") -> Trees:
    """Read trees, one a line; empty lines are counted.

    Args:
        path: the file, packed or not.
        labelled: whether every node must have a label.
        encoding: of the file.

    Raises:
        UserError: no trees, or a line that is none; names the line and what is wrong with it.
    """
    trees, places, blank = [], [], 0
    for number, line in enumerate(lines(path, encoding), 1):
        if not line.strip():
            blank += 1
            continue
        trees.append(parse(line, f"{path}:{number}", labelled))
        places.append(number)
    if not trees:
        raise UserError(f"{path}: holds no trees; one a line is wanted, {FITS}")
    return Trees(path, trees, places, blank)


@dataclass
class _Open:
    """A bracket that is not closed yet."""

    number: int
    atoms: list[str] = field(default_factory=list)  # a label, a word
    below: bool = False  # whether a node stands below it


def parse(text: str, place: str, labelled: bool = True) -> Tree:
    """One tree. Raises `UserError`, which begins with its place."""
    labels: list[str] = []
    parents: list[int] = []
    spans: list[tuple[int, int]] = []
    words: list[str] = []
    above: list[_Open] = []
    for part in _PARTS.findall(text):
        if labels and not above:
            raise UserError(f"{place}: {part!r} stands behind the tree's end; one tree a line is wanted")
        if part == "(":
            if above:
                above[-1].below = True
            parents.append(above[-1].number if above else -1)
            above.append(_Open(len(labels)))
            labels.append("")
            spans.append((len(words), 0))
        elif part == ")" and above:
            node = above.pop()
            labels[node.number] = _label(node, words, place, labelled)
            spans[node.number] = (spans[node.number][0], len(words) - 1)
        else:
            _put(part, above, place)
    if above:
        raise UserError(f"{place}: {len(above)} brackets are not closed; wanted is {FITS}")
    if not labels:
        raise UserError(f"{place}: holds no tree; wanted is {FITS}")
    return Tree(tuple(words), tuple(labels), tuple(parents), tuple(spans))


def _put(part: str, above: list[_Open], place: str) -> None:
    """A label or a word comes into the bracket that is open."""
    if part == ")" or not above:
        what = "closes a bracket that was not opened" if part == ")" else "stands outside of all brackets"
        raise UserError(f"{place}: {part!r} {what}; wanted is {FITS}")
    if above[-1].below:
        raise UserError(f"{place}: {part!r} stands beside brackets; a word has its own, such as (2 {part})")
    above[-1].atoms.append(part)


def _label(node: _Open, words: list[str], place: str, labelled: bool) -> str:
    """The label of a node that closes; what else stood in its bracket is its word."""
    shown, own = " ".join(node.atoms), not node.below  # a word of its own is wanted
    if own and not node.atoms:
        raise UserError(f"{place}: empty brackets; wanted is {FITS}")
    if len(node.atoms) > 1 + own:
        wanted = "a label and one word" if own else "one label"
        raise UserError(f"{place}: a bracket begins with {shown!r}; {wanted} would fit")
    has_label = len(node.atoms) == 1 + own
    if labelled and not has_label:
        where = f"({shown})" if own else "a bracket that holds others"
        raise UserError(f"{place}: the label is missing in {where}; wanted is {FITS}")
    if own:
        words.append(node.atoms[-1])
    return node.atoms[0] if has_label else ""
