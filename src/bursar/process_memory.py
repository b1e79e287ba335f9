"""The interpreter's memory, kept small and seldom looked through. Part of the composition."""

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""


def quieten_collector() -> None:
    """What was made at start stays, and calls leave hardly a cycle: the collector need not look so often, nor at all
    of it. Its usual pace costs a thirtieth of a call."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def give_back_memory() -> None:
    """What a batch on its way to the database took goes back to the system. By itself glibc's malloc takes the largest
    piece that was ever freed for a hint to keep that much for good."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # it is glibc's alone
        mallopt(_M_MMAP_THRESHOLD, 256 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 1024 * 1024)
