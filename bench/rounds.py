"""The rounds of a run: each measures every subject, one load after the other, so that a subject and what it is compared
with are measured within seconds of each other. Every second round goes through the subjects backwards."""

from collections.abc import Callable, Sequence

from bench.figures import Figures, Load, Metric
from bench.measure import Measured, Meter
from bench.subjects import Subject

Say = Callable[[str], None]


def run_rounds(count: int, meter: Meter, subjects: Sequence[Subject], direct: Subject, say: Say) -> Figures:
    """`subjects` and, of the closed loops, the upstream itself. Raises BenchError: calls failed."""
    figures = Figures()
    for subject in (direct, *subjects):
        say(f"warming up {subject.name}")
        meter.warm_up(subject)
    for number in range(count):
        ordered = (direct, *subjects) if number % 2 == 0 else (*reversed(subjects), direct)
        _run_round(number, count, meter, ordered, direct, figures, say)
    return figures


def measure_once(figures: Figures, meter: Meter, subject: Subject, direct: Subject, say: Say) -> None:
    """Add to `figures` one round of a subject that has none yet, alone."""
    say(f"warming up {subject.name}")
    meter.warm_up(subject)
    _run_round(0, 1, meter, [subject], direct, figures, say)


def _run_round(
    number: int,
    count: int,
    meter: Meter,
    ordered: Sequence[Subject],
    direct: Subject,
    figures: Figures,
    say: Say,
) -> None:
    capacity: dict[str, float] = {}
    measures: dict[Load, Callable[[Subject], Measured]] = {
        Load.ALONE: meter.alone,
        Load.TOGETHER: meter.together,
        Load.ARRIVALS: lambda s: meter.arrivals(s, capacity_per_s=min(capacity.values()), seed=number),
        Load.STREAMS: meter.streamed,
    }
    for load, measure in measures.items():
        for subject in ordered:
            figures.add_load(subject.name, load, measured := measure(subject))
            if load is Load.TOGETHER:
                capacity[subject.name] = measured.sustained_per_s
        costs = (f"{s.name} {figures.of(s.name, load, Metric.CPU_US).rounds[-1]:.1f}" for s in ordered)
        unit = "chunk" if load is Load.STREAMS else "call"
        say(f"round {number + 1} of {count}: {load:8}  CPU µs per {unit}: {', '.join(costs)}")
    for subject in ordered:
        if subject is not direct:
            latency = meter.latency(subject, direct, capacity_per_s=capacity[subject.name], seed=number)
            figures.add_latency(subject.name, latency)
            added = f"{latency.added_p50_ms:.2f} ms (p50), {latency.added_p99_ms:.2f} ms (p99)"
            say(f"round {number + 1} of {count}: latency   {subject.name} adds {added} at {latency.rate_per_s:.0f}/s")
