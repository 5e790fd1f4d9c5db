"""Keeps freed memory for the next batch."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# Parameters of glibc's mallopt, from malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3


@cache
def keep_freed_memory() -> bool:
    """Tells the C library to keep large freed blocks; returns whether it could be told (glibc only).

    By default every activation's memory goes back to the system when it is freed, and the next batch
    gets the same pages back one fault at a time, filled with zeros: a sixth of the time of a training
    step of the bench's model. Results are the same to the bit.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    mallopt(TRIM_THRESHOLD, 2**31 - 1)
    mallopt(TOP_PAD, 2**26)
    # Older versions refuse more than half a heap of 64 MB.
    return bool(mallopt(MMAP_THRESHOLD, 2**30) or mallopt(MMAP_THRESHOLD, 2**25))
