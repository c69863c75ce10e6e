"""Tags that mark stretches of words (IOB1, IOB2, BIOES, BMES, BILOU): recognised, and brought into one form, IOB2.

``B-PER I-PER O`` says that two words are one person: B begins a stretch, I goes on, O is outside. BIOES marks its last
word (E) and single words (S) too, BMES writes M for I, BILOU writes L for E and U for S, IOB1 (Ramshaw 1995) writes B
only where a stretch follows another of its type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

TAG = re.compile(r"O|([BIMESLU])(?:-(.+))?")
BEGINS, ENDS = "BSU", "ESLU"


def is_chunked(tags: Iterable[str]) -> bool:
    """Whether these tags mark stretches; if not (parts of speech), each is a class of its own."""
    found = set(tags)
    return all(TAG.fullmatch(tag) for tag in found) and found != {"O"} and bool(found)


def scheme_of(tags: Iterable[str]) -> str:
    """The name of the scheme these tags are written in."""
    letters = {tag[0] for tag in tags}
    if letters & set("LU"):
        return "BILOU"
    if letters & set("ES"):
        return "BMES" if "M" in letters else "BIOES"
    return "IOB"


def to_iob2(tags: Sequence[str]) -> tuple[list[str], int]:
    """One sentence's tags as IOB2, and how many stretches began without a B or its like, as IOB1 has them.

    What is no such tag is left as it is.
    """
    found, bare, before, kind_before = [], 0, "O", ""
    for tag in tags:
        match = TAG.fullmatch(tag)
        letter, kind = (match[1] or "O", match[2] or "") if match else ("O", "")
        if letter == "O":
            found.append(tag)
        else:
            goes_on = before not in ENDS and before != "O" and kind == kind_before and letter not in BEGINS
            bare += not goes_on and letter not in BEGINS
            found.append(("I" if goes_on else "B") + (f"-{kind}" if kind else ""))
        before, kind_before = letter, kind
    return found, bare


def labels_of(tags: Iterable[str]) -> list[str]:
    """Every IOB2 tag that stretches of these types may have: a type's I too where only its B was seen."""
    kinds = sorted({tag[1:] for tag in tags if tag != "O"})
    return ["O", *(letter + kind for kind in kinds for letter in "BI")]
