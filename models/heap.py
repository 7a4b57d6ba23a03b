"""Memory that a training step frees stays with the process, so that the next step need not fetch it anew.

    keep_freed_memory()

A step of a model with 30,522 words makes and drops arrays of 31 MB: logits, their gradients, the optimiser's. By
default glibc takes such a block from the kernel and hands it back when it is freed; the kernel then zeroes each of its
pages again, which took a third of a bfloat16 step (docs/results.md). With the two thresholds of mallopt(3) raised, the
heap keeps what it has, and no number changes.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGEST = 2**31 - 1  # what mallopt's int can hold


def keep_freed_memory() -> bool:
    """Ask glibc for it, for this process and until it ends; False where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
