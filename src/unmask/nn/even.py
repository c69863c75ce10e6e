"""Numbers of rows that come again.

oneDNN, which computes torch's products on processors, writes a program for every shape that it meets: some milliseconds
and most of a megabyte each, a thousand of which are kept, between the tensors of a step, which they keep apart. Batches
of texts have another number of tokens each, and of answers. On a processor both are therefore rounded up: a few rows
more, which nobody looks at, and the same shapes again and again.

T tokens, M rows.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

EVEN = 32
"""What numbers of rows are a multiple of, if there are many."""


def missing(count: int) -> int:
    """How many are wanting: of few rows, less than a quarter, and of a handful none."""
    return -count % min(EVEN, 1 << max(0, (count // 4).bit_length() - 1))


def evened(x_MD: Tensor, rows: int | None = None) -> Tensor:
    """With zeros behind, to so many rows; or on a processor to an even number, and elsewhere as it is."""
    even = len(x_MD) + (0 if x_MD.is_cuda else missing(len(x_MD)))
    more = (even if rows is None else rows) - len(x_MD)
    return F.pad(x_MD, (0, 0, 0, more)) if more else x_MD
