"""The bounds that a run must keep."""

import msgspec

from bench.admission import Cost
from bench.figures import Figures, LatencyMetric, Load
from bench.memory import MEGABYTE, Memory
from bench.spread import Spread

CALL_RATIO_MAX = 7.0
"""CPU per unstreamed call, in nginx's."""
CHUNK_RATIO_MAX = 3.5
"""CPU per chunk of a stream, in nginx's."""
ADDED_P50_MAX_MS = 2.0
RESIDENT_MAX_MB = 130.0
GROWTH_MAX_MB = 2.0
"""What counts as no growth: 21 bytes a call over 95,000 of them. Less is the allocator's, which moves by pages."""
SECOND_START_MAX_S = 1.5
ADMISSION_MAX_US = 15.0
"""Taking what a call needs of rates and budgets in eight scopes."""


class Gate(msgspec.Struct, frozen=True):
    """One bound, and how the run stands to it."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def passed(self) -> bool:
        """The limit itself is allowed."""
        return self.value <= self.limit


def gates_of(figures: Figures, memory: Memory, second_start_s: Spread, admission: Cost) -> list[Gate]:
    """All of them, on the medians of the run's rounds."""
    alone = figures.ratio("bursar", "nginx", Load.ALONE).median
    arrivals = figures.ratio("bursar", "nginx", Load.ARRIVALS).median
    together = figures.ratio("bursar", "nginx", Load.TOGETHER).median
    chunk = figures.ratio("bursar", "nginx", Load.STREAMS).median
    added = figures.latency_of("bursar", LatencyMetric.ADDED_P50_MS).median
    return [
        Gate("CPU per call, one connection", alone, CALL_RATIO_MAX, "× nginx"),
        Gate("CPU per call, random arrivals", arrivals, CALL_RATIO_MAX, "× nginx"),
        Gate("CPU per call, 64 connections", together, CALL_RATIO_MAX, "× nginx"),
        Gate("CPU per chunk, 200 streams", chunk, CHUNK_RATIO_MAX, "× nginx"),
        Gate("latency added, p50", added, ADDED_P50_MAX_MS, "ms"),
        Gate("memory of a worker, at most", memory.most / MEGABYTE, RESIDENT_MAX_MB, "MB"),
        Gate("memory of a worker, growth", memory.growth / MEGABYTE, GROWTH_MAX_MB, "MB"),
        Gate("second start", second_start_s.median, SECOND_START_MAX_S, "s"),
        Gate("admission over 8 scopes", admission.taken.median, ADMISSION_MAX_US, "µs"),
    ]
