"""Arrivals at random, as from many callers who do not wait for each other, and a timer that is precise enough."""

import ctypes
import os
import random
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable


def poisson_arrivals(*, rate_per_s: float, duration_s: float, seed: int) -> list[float]:
    """Seconds from the start at which calls are due: a Poisson process, the same one for the same seed."""
    draw = random.Random(seed)
    due: list[float] = []
    at = draw.expovariate(rate_per_s)
    while at < duration_s:
        due.append(at)
        at += draw.expovariate(rate_per_s)
    return due


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_ABSOLUTE = 1
"""TFD_TIMER_ABSTIME"""


class PreciseTimer:
    """Calls back at points of `time.monotonic`, to some 50 µs: timerfd_create(2).

    The event loop's own timers are whole milliseconds, which is as much as a call takes.
    """

    def __init__(self, loop: AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._loop = loop
        self._callback = callback
        self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop.add_reader(self._fd, self._rang)

    def set(self, at_s: float) -> None:
        """Ring once at `at_s`, at once if that has passed; replaces what was set before."""
        nanoseconds = max(int(at_s * 1e9), 1)
        when = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 1_000_000_000)))
        if self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(when), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _rang(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it rang
        self._callback()
