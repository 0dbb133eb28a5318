"""Memory that a training step frees stays with the program: the next step wants as much again."""

import ctypes
import sys

# glibc's malloc.h
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Tells glibc's allocator not to hand freed memory back to the system; elsewhere it does nothing.

    By itself it maps every large tensor anew and unmaps it when it is freed, and the system clears each page at its
    first touch: on a processor near half of a training step at 128 px. A program's choice, for the whole process
    keeps its largest size to its end: the command line and a study's workers call this, importing the library
    doesn't.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)
