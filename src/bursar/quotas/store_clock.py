"""The store's clock as a worker knows it: its own steady clock, plus an offset measured at each answer.

Windows and periods are the store's, so that all workers of all hosts mean the same minute. The offset is known to
within the time an answer took; while the store is away it is carried on.
"""

import time
from collections.abc import Callable


def steady_s() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps, where there is one: a lease must
    not outlive a suspended machine."""
    return time.clock_gettime(_STEADY)


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class StoreClock:
    """Seconds since 1970 by the store."""

    def __init__(self, steady: Callable[[], float] = steady_s, wall: Callable[[], float] = time.time) -> None:
        """`wall`: believed until the store has told the time."""
        self._steady = steady
        self._offset_s = wall() - steady()
        self._measured = False

    def now_s(self) -> float:
        """The store's time now."""
        return self._steady() + self._offset_s

    def at(self, steady_s: float) -> float:
        """The store's time at a moment of our steady clock."""
        return steady_s + self._offset_s

    def learn(self, at_s: float, *, sent_s: float, received_s: float) -> None:
        """The store said `at_s` at some moment between the two, which are by our steady clock.

        An offset that agrees with this is kept; else it moves to the nearest that does. It begins with the latest
        moment possible, so that this clock is rather slow than fast: a window is not begun before its time.
        """
        lowest, highest = at_s - received_s, at_s - sent_s
        self._offset_s = min(max(self._offset_s, lowest), highest) if self._measured else lowest
        self._measured = True
