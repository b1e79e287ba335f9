"""Memory of a worker: idle, warmed up, and over many calls.

A Python process grows while its caches and the allocator's arenas fill, and then no more; but what is resident goes up
and down by two megabytes with what is under way and with the pieces that the allocator could not give back. So growth
is the trend of many readings, the median of the slopes between any two (Theil and Sen): one that is off, or a step at
the beginning, moves it little, while a leak of one small object a call (56 bytes) shows as 5 MB.
"""

from itertools import combinations
from statistics import median

import msgspec

from bench.gateway import Gateway
from bench.measure import Meter
from bench.rounds import Say
from bench.subjects import Subject

_STEPS = 20
MEGABYTE = 10**6


class Memory(msgspec.Struct, frozen=True):
    """Resident memory of the largest worker, in bytes."""

    idle: int
    """Ready, before the first call."""
    warm: int
    """After the rounds: all kinds of calls, thousands of each."""
    after_calls: dict[int, int]
    """Then, by the number of further calls."""

    @property
    def most(self) -> int:
        """The largest that was seen."""
        return max(self.idle, self.warm, *self.after_calls.values())

    @property
    def growth(self) -> int:
        """By the trend of the readings, from the first to the last of them."""
        readings = list(self.after_calls.items())
        slope = median(
            (size - before) / (calls - earlier) for (earlier, before), (calls, size) in combinations(readings, 2)
        )
        return round(slope * (readings[-1][0] - readings[0][0]))


def soak(gateway: Gateway, subject: Subject, meter: Meter, *, idle: int, calls: int, say: Say) -> Memory:
    """`calls` more calls, and what they leave in memory. Raises BenchError: calls failed."""
    warm = gateway.resident_bytes()
    after: dict[int, int] = {}
    for step in range(1, _STEPS + 1):
        meter.together(subject, calls // _STEPS)
        after[step * calls // _STEPS] = gateway.resident_bytes()
        say(f"memory: {gateway.resident_bytes() / MEGABYTE:.1f} MB after {step * calls // _STEPS} calls more")
    return Memory(idle, warm, after)
