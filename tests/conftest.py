"""What several files of tests have in common: a corpus, and how agreement with other programs is judged."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

import unmask

NEAR = 1e-5
"""How far a number may be off, by the largest of its kind in the reference."""

SMALLEST = 1e-2
"""A reference of smaller numbers is taken for this large: a gradient that is zero is so but for rounding."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What compares with others can be asked for: ``-m agreement``."""
    for item in items:
        if "agreement" in getattr(item, "fixturenames", ()):
            item.add_marker("agreement")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small documents with headlines, prepared, for tests that train on what lies on disk."""
    home, rng = tmp_path_factory.mktemp("text"), random.Random(0)
    words = ["sun", "moon", "rises", "sets", "over", "under", "the", "sea", "hill", "river", "bright", "slowly"]
    documents = [
        "\n".join(" ".join(rng.choices(words, k=rng.randint(4, 9))).capitalize() + "." for _ in range(8))
        for _ in range(60)
    ]
    rows = [json.dumps({"headline": " ".join(rng.choices(words, k=2)), "text": text}) for text in documents]
    (home / "text.jsonl").write_text("\n".join(rows), encoding="utf-8")
    unmask.prepare([str(home / "text.jsonl")], out=home / "corpus", fields=["headline"], vocab_size=120, valid=0)
    return home / "corpus"


@pytest.fixture
def agreement(record_property: Callable[[str, object], None]) -> Callable[..., Callable[..., None]]:
    """Of a case and the other's model: something that compares parts of what both say.

    What it finds is written into pytest's report, from which docs/make_agreement.py makes its table.
    """

    def of(case: str, reference: object, smallest: float = SMALLEST) -> Callable[..., None]:
        record_property("case", case)
        record_property("class", type(reference).__name__)

        def near(part: str, mine: Tensor, theirs: Tensor, what: str = "") -> None:
            assert mine.shape == theirs.shape, what or part
            apart = (mine - theirs).abs().max().item() / max(theirs.abs().max().item(), smallest)
            record_property(part, apart)
            assert apart <= NEAR, what or part

        return near

    return of
