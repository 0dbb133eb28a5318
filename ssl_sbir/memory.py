"""Keeps the memory that a training step frees with the process, because the next step needs as much."""

import ctypes
import sys

# glibc's malloc.h
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Tells glibc's allocator not to return freed memory to the system; does nothing on other systems.

    By default it maps each large tensor anew and unmaps it when it is freed, and the system clears every page at its
    first use: on a CPU, nearly half of a training step at 128 px. The process then keeps its largest size until it
    ends, so only programs call this (the command line and the workers of a study), not the import of the library.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)
