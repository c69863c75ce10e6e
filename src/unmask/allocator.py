"""Keep memory that was freed, instead of giving it back to the system after every training step.

glibc serves large blocks by mmap and unmaps them when they are freed, so that each step of a training pays for fresh
zeroed pages again. The command line calls `tune` first of all; who uses the library calls it before the first step.
``UNMASK_ALLOCATOR=default`` leaves everything as it is.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def tune() -> bool:
    """Tell glibc to keep freed memory. Returns whether it was told: elsewhere, or switched off, nothing happens."""
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    if os.environ.get("UNMASK_ALLOCATOR") == "default":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = [mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_TOP_PAD, 256 << 20)]
    return all(answer == 1 for answer in told)
