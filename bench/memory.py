"""Memory of a worker: idle, warmed up, and over many calls.

A Python process grows while its caches and the allocator's arenas fill, and then no more. So growth is what the last
four fifths of the calls added: a leak of one small object a call (56 bytes) would show there as 4.5 MB.
"""

import msgspec

from bench.gateway import Gateway
from bench.measure import Meter
from bench.rounds import Say
from bench.subjects import Subject

_STEPS = 5
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
        """From the first to the last fifth of the further calls."""
        sizes = list(self.after_calls.values())
        return sizes[-1] - sizes[0]


def soak(gateway: Gateway, subject: Subject, meter: Meter, *, idle: int, calls: int, say: Say) -> Memory:
    """`calls` more calls, and what they leave in memory. Raises BenchError: calls failed."""
    warm = gateway.resident_bytes()
    after: dict[int, int] = {}
    for step in range(1, _STEPS + 1):
        meter.together(subject, calls // _STEPS)
        after[step * calls // _STEPS] = gateway.resident_bytes()
        say(f"memory: {gateway.resident_bytes() / MEGABYTE:.1f} MB after {step * calls // _STEPS} calls more")
    return Memory(idle, warm, after)
