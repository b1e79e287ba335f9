"""One measurement: a load on a subject, and what the operating system says it cost, later work included."""

import math
import time

import msgspec

from bench.load import Closed, Open, Result
from bench.programs import run_plan
from bench.sizes import (
    CONCURRENCY,
    LATENCY_CONNECTIONS,
    LATENCY_RATE_MAX_PER_S,
    LOAD_SHARE,
    STREAM_RAMP_S,
    STREAMS,
    Sizes,
)
from bench.subjects import CpuSeconds, Subject, plan_for
from bench.upstream import Upstream

_LEAST_PERCENTILE_CALLS = 100
"""Arrivals that a 99th percentile needs at least."""


class Measured(msgspec.Struct, frozen=True):
    """A load and its cost."""

    result: Result
    cpu: CpuSeconds
    """Of the subject, from before the load until its work was done."""
    upstream_cpu_s: float
    settle_s: float
    """How long after the load its work was done."""

    @property
    def sustained_per_s(self) -> float:
        """Calls per second that leave no work behind."""
        return self.result.calls / (self.result.seconds + self.settle_s)


class Latency(msgspec.Struct, frozen=True):
    """What a subject adds at half of its capacity."""

    rate_per_s: float
    through: Result
    direct: Result

    @property
    def added_p50_ms(self) -> float:
        """Difference of the medians."""
        return self.through.p50_ms - self.direct.p50_ms

    @property
    def added_p99_ms(self) -> float:
        """Difference of the 99th percentiles."""
        return self.through.p99_ms - self.direct.p99_ms


class Meter:
    """Measures subjects before one upstream."""

    def __init__(self, upstream: Upstream, sizes: Sizes) -> None:
        self._upstream = upstream
        self._sizes = sizes
        self.answered: dict[str, int] = {}
        """Whole answers so far, by subject."""
        self._calls_alone: dict[str, int] = {}
        self._calls: dict[str, int] = {}

    def warm_up(self, subject: Subject) -> None:
        """Calls that are not counted; how fast they are decides how many a measurement takes."""
        together = self._run(subject, Closed(CONCURRENCY, self._sizes.warm_up_calls)).result
        alone = self._run(subject, Closed(1, self._sizes.warm_up_calls_alone)).result
        self._calls[subject.name] = math.ceil(together.per_s * self._sizes.together_s)
        self._calls_alone[subject.name] = math.ceil(alone.per_s * self._sizes.alone_s)
        self._run(subject, Closed(STREAMS, STREAMS, STREAM_RAMP_S), streamed=True)

    def alone(self, subject: Subject) -> Measured:
        """One call after the other."""
        return self._run(subject, Closed(1, self._calls_alone[subject.name]))

    def together(self, subject: Subject, calls: int | None = None) -> Measured:
        """As many calls as the subject takes, `CONCURRENCY` at a time."""
        return self._run(subject, Closed(CONCURRENCY, calls or self._calls[subject.name]))

    def streamed(self, subject: Subject) -> Measured:
        """`STREAMS` streams at a time."""
        return self._run(subject, Closed(STREAMS, self._sizes.streams, STREAM_RAMP_S), streamed=True)

    def arrivals(self, subject: Subject, *, capacity_per_s: float, seed: int) -> Measured:
        """Random arrivals at half of the capacity that the slowest of those compared has: the same for all of them."""
        return self._run(subject, self._pace(capacity_per_s, seed))

    def latency(self, subject: Subject, direct: Subject, *, capacity_per_s: float, seed: int) -> Latency:
        """The same arrivals to the subject and to the upstream. Raises BenchError: calls failed."""
        pace = self._pace(capacity_per_s, seed)
        return Latency(pace.rate_per_s, through=self._run(subject, pace).result, direct=self._run(direct, pace).result)

    def _pace(self, capacity_per_s: float, seed: int) -> Open:
        rate = min(capacity_per_s * LOAD_SHARE, LATENCY_RATE_MAX_PER_S)
        duration_s = max(self._sizes.latency_s, _LEAST_PERCENTILE_CALLS / rate)
        return Open(min(LATENCY_CONNECTIONS, math.ceil(rate)), rate, duration_s, seed)

    def _run(self, subject: Subject, pace: Closed | Open, *, streamed: bool = False) -> Measured:
        before, upstream_before_s = subject.cpu(), self._upstream.cpu_s()
        result = run_plan(plan_for(subject, pace, streamed=streamed))
        loaded_s = time.monotonic()
        subject.settle(result.calls)
        settle_s = time.monotonic() - loaded_s
        cpu = subject.cpu().since(before)
        self.answered[subject.name] = self.answered.get(subject.name, 0) + result.calls
        return Measured(result, cpu, self._upstream.cpu_s() - upstream_before_s, settle_s)
