"""The figures of a run: for each subject and metric a value per round."""

from enum import StrEnum

from bench.measure import Latency, Measured
from bench.spread import Spread, spread_of


class Load(StrEnum):
    """What is compared: closed loops, and arrivals at one rate for all."""

    ALONE = "alone"
    ARRIVALS = "arrivals"
    TOGETHER = "together"
    STREAMS = "streams"


class Metric(StrEnum):
    """What is measured of a load. Of streams, "per unit" is per chunk, else per call."""

    CPU_US = "cpu_us"
    """Of what serves calls, per unit: the one that is compared and gated."""
    SUPERVISOR_US = "supervisor_cpu_us"
    DATABASE_US = "database_cpu_us"
    UPSTREAM_US = "upstream_cpu_us"
    GENERATOR_US = "generator_cpu_us"
    CALL_CPU_US = "cpu_us_per_call"
    """Of streams: of what serves calls, per whole stream."""
    PER_S = "calls_per_s"
    SUSTAINED_PER_S = "sustained_calls_per_s"
    """As many as leave no posting behind: half of it is the rate at which latency is measured."""
    SETTLED_MS = "settled_ms"
    """From the end of the load until the ledger has it all."""
    P50_MS = "p50_ms"
    P99_MS = "p99_ms"


class LatencyMetric(StrEnum):
    """What is measured of arrivals at random."""

    OFFERED_PER_S = "offered_per_s"
    ACHIEVED_PER_S = "achieved_per_s"
    ADDED_P50_MS = "added_p50_ms"
    ADDED_P99_MS = "added_p99_ms"
    P50_MS = "p50_ms"
    P99_MS = "p99_ms"
    DIRECT_P50_MS = "direct_p50_ms"
    DIRECT_P99_MS = "direct_p99_ms"
    GENERATOR_LATE_P99_MS = "generator_late_p99_ms"


_LATENCY = "latency"


class Figures:
    """Values in the order of the rounds."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[float]]] = {}

    def add_load(self, subject: str, load: Load, measured: Measured) -> None:
        """One round's measurement."""
        result, cpu = measured.result, measured.cpu
        units = result.events if load is Load.STREAMS else result.calls
        seconds = {
            Metric.CPU_US: cpu.gateway,
            Metric.SUPERVISOR_US: cpu.supervisor,
            Metric.DATABASE_US: cpu.database,
            Metric.UPSTREAM_US: measured.upstream_cpu_s,
            Metric.GENERATOR_US: result.cpu_s,
        }
        for metric, spent_s in seconds.items():
            self._add(subject, load, metric, spent_s / units * 1e6)
        self._add(subject, load, Metric.CALL_CPU_US, cpu.gateway / result.calls * 1e6)
        self._add(subject, load, Metric.PER_S, result.per_s)
        self._add(subject, load, Metric.SUSTAINED_PER_S, measured.sustained_per_s)
        self._add(subject, load, Metric.SETTLED_MS, measured.settle_s * 1e3)
        self._add(subject, load, Metric.P50_MS, result.p50_ms)
        self._add(subject, load, Metric.P99_MS, result.p99_ms)

    def add_latency(self, subject: str, latency: Latency) -> None:
        """One round's measurement."""
        through, direct = latency.through, latency.direct
        for metric, value in {
            LatencyMetric.OFFERED_PER_S: latency.rate_per_s,
            LatencyMetric.ACHIEVED_PER_S: through.per_s,
            LatencyMetric.ADDED_P50_MS: latency.added_p50_ms,
            LatencyMetric.ADDED_P99_MS: latency.added_p99_ms,
            LatencyMetric.P50_MS: through.p50_ms,
            LatencyMetric.P99_MS: through.p99_ms,
            LatencyMetric.DIRECT_P50_MS: direct.p50_ms,
            LatencyMetric.DIRECT_P99_MS: direct.p99_ms,
            LatencyMetric.GENERATOR_LATE_P99_MS: max(through.late_p99_ms, direct.late_p99_ms),
        }.items():
            self._add(subject, _LATENCY, metric, value)

    def of(self, subject: str, load: Load, metric: Metric) -> Spread:
        """Over the rounds. Raises KeyError: it was not measured."""
        return spread_of(self._rounds(subject, load, metric))

    def latency_of(self, subject: str, metric: LatencyMetric) -> Spread:
        """Over the rounds. Raises KeyError: it was not measured."""
        return spread_of(self._rounds(subject, _LATENCY, metric))

    def ratio(self, subject: str, base: str, load: Load) -> Spread:
        """CPU of `subject` over that of `base`, round by round: what slows the machine for a while slows both."""
        above = self._rounds(subject, load, Metric.CPU_US)
        below = self._rounds(base, load, Metric.CPU_US)
        return spread_of([a / b for a, b in zip(above, below, strict=True)])

    def ratios(self, subject: str, base: str) -> dict[str, Spread]:
        """`ratio` of every load."""
        return {load.value: self.ratio(subject, base, load) for load in Load}

    def all(self) -> dict[str, dict[str, Spread]]:
        """Every figure, by subject and `load.metric`."""
        return {
            subject: {name: spread_of(values) for name, values in named.items()}
            for subject, named in self._values.items()
        }

    def _add(self, subject: str, load: str, metric: str, value: float) -> None:
        self._values.setdefault(subject, {}).setdefault(f"{load}.{metric}", []).append(value)

    def _rounds(self, subject: str, load: str, metric: str) -> list[float]:
        return self._values[subject][f"{load}.{metric}"]
