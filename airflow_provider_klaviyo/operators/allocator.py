"""Memory that a sync frees goes back to the system, so that a worker has what is in use and no more."""

from __future__ import annotations

import ctypes
import os

_M_MMAP_THRESHOLD = -3
"""What `mallopt` of glibc is told (malloc.h)."""

_LARGE = 1 << 17
"""Bytes: what glibc begins with, before it learns."""

_SETTING = "MALLOC_MMAP_THRESHOLD_"


def return_large_blocks() -> None:
    """Have this process return large blocks, such as the bodies of requests, when they are freed.

    Else glibc takes the largest block that was freed for a usual one, and each thread keeps some of that size. Whoever
    runs the worker may have set that bound otherwise; other C libraries have none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and _SETTING not in os.environ:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
