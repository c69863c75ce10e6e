"""What tests of agreement with other programs have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

NEAR = 1e-5
"""How far a number may be off, by the largest of its kind in the reference."""

SMALLEST = 1e-2
"""A reference of smaller numbers is taken for this large: a gradient that is zero is so but for rounding."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What compares with others can be asked for: ``-m agreement``."""
    for item in items:
        if "agreement" in getattr(item, "fixturenames", ()):
            item.add_marker("agreement")


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
