"""The report as a person reads it: plain text, one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.admission import told
from bench.cores import Cores
from bench.figures import Figures, LatencyMetric, Load, Metric
from bench.gates import Gate
from bench.litellm import NAME as LITELLM
from bench.memory import MEGABYTE
from bench.run import Report
from bench.sizes import LATENCY_RATE_MAX_PER_S
from bench.spread import Spread

_SUBJECTS = ("direct", "nginx", "floor", "bursar", LITELLM)
_LABEL_WIDTH = 36
_QUIET_SHARE = 0.1
_WIDTH = 9


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table."""

    label: str
    figures: Callable[[str], Spread]
    """Of a subject. Raises KeyError: it has none."""
    digits: int = 1
    only: str | None = None
    """Of this subject alone; for the others it means nothing."""
    ratio: Spread | None = None


def render(report: Report, figures: Figures) -> str:
    """The whole report."""
    lines = [
        *_head(report),
        "",
        *_table(report, figures),
        "",
        *_memory(report),
        *_starts(report),
        *_admission(report),
        "",
    ]
    return "\n".join([*lines, *_books(report), "", *_gates(report)])


def _head(report: Report) -> list[str]:
    machine, sizes = report.machine, report.sizes
    packages = ", ".join(f"{name} {number}" for name, number in machine.packages.items())
    return [
        f"{machine.at}  {machine.cpu}, {machine.cores} cores, {machine.memory_mb} MB, {machine.kernel}",
        f"{machine.python}; {packages}; nginx {machine.nginx}",
        f"Others took {report.others_share:.1%} of the machine's CPU meanwhile.{_busy(report)}",
        f"Medians of {sizes.rounds} interleaved rounds, in parentheses the least and the most. CPU is user and system",
        "time of the processes under test, from the operating system, µs; posting to the database is part of it.",
        _cores(report.cores),
    ]


def _cores(cores: Cores) -> str:
    if not cores.apart:
        return "All of it shared one core: the scheduler is in these figures."
    measured, around = ([str(core) for core in sorted(which)] for which in cores)
    return f"What is measured had core {', '.join(measured)} to itself; everything else was on {', '.join(around)}."


def _busy(report: Report) -> str:
    return " That is too much for latency: run it again." if report.others_share > _QUIET_SHARE else ""


def _table(report: Report, figures: Figures) -> list[str]:
    columns = [subject for subject in _SUBJECTS if subject in report.figures]
    header = f"{'':{_LABEL_WIDTH}}" + "".join(f"{name:>{_WIDTH}}" for name in columns) + "   bursar ÷ nginx"
    lines = [header, "-" * len(header)]
    for title, load, unit in (
        ("Unstreamed, 1 connection", Load.ALONE, "call"),
        ("Unstreamed, random arrivals at half of the slowest's capacity", Load.ARRIVALS, "call"),
        ("Unstreamed, 64 connections without a pause", Load.TOGETHER, "call"),
        ("Streamed, 200 at a time", Load.STREAMS, "chunk"),
    ):
        lines.append(title)
        lines += (_line(row, columns) for row in _load_rows(report, figures, load, unit))
    lines.append(f"Unstreamed, random arrivals at half of each one's capacity, at most {LATENCY_RATE_MAX_PER_S:.0f}/s")
    lines += (_line(row, columns) for row in _latency_rows(figures))
    if LITELLM in columns:
        lines += ["", *_litellm(figures)]
    return lines


def _litellm(figures: Figures) -> list[str]:
    alone, together, streams = (
        figures.of(LITELLM, load, Metric.CPU_US).median / figures.of("bursar", load, Metric.CPU_US).median
        for load in (Load.ALONE, Load.TOGETHER, Load.STREAMS)
    )
    calls = f"{alone:.0f} × per call alone, {together:.0f} × with 64 connections"
    return [
        "LiteLLM has no database here, hence no virtual keys and no books; measured once, after the rounds.",
        f"  Its CPU in Bursar's: {calls}, {streams:.0f} × per chunk",
    ]


def _load_rows(report: Report, figures: Figures, load: Load, unit: str) -> list[_Row]:
    def of(metric: Metric) -> Callable[[str], Spread]:
        return lambda subject: figures.of(subject, load, metric)

    rows = [_Row(f"  CPU per {unit}", of(Metric.CPU_US), ratio=report.ratios[load])]
    if load is Load.STREAMS:
        rows.append(_Row("  CPU per stream", of(Metric.CALL_CPU_US), digits=0))
    rows += [
        _Row(f"    beside it, supervisor per {unit}", of(Metric.SUPERVISOR_US), only="bursar"),
        _Row(f"    beside it, PostgreSQL per {unit}", of(Metric.DATABASE_US), only="bursar"),
    ]
    if load is not Load.STREAMS:
        rows.append(_Row("  calls per second", of(Metric.PER_S), digits=0))
        rows.append(_Row("    until they are booked", of(Metric.SUSTAINED_PER_S), digits=0, only="bursar"))
        rows.append(_Row("  latency p50, ms", of(Metric.P50_MS), digits=2))
    rows.append(_Row("  booked after the last answer, ms", of(Metric.SETTLED_MS), digits=0, only="bursar"))
    return rows


def _latency_rows(figures: Figures) -> list[_Row]:
    def of(metric: LatencyMetric) -> Callable[[str], Spread]:
        return lambda subject: figures.latency_of(subject, metric)

    return [
        _Row("  calls per second", of(LatencyMetric.OFFERED_PER_S), digits=0),
        _Row("  latency p50, ms", of(LatencyMetric.P50_MS), digits=2),
        _Row("  latency p99, ms", of(LatencyMetric.P99_MS), digits=2),
        _Row("  added to the direct call, p50, ms", of(LatencyMetric.ADDED_P50_MS), digits=2),
        _Row("  added to the direct call, p99, ms", of(LatencyMetric.ADDED_P99_MS), digits=2),
    ]


def _line(row: _Row, columns: Sequence[str]) -> str:
    cells = "".join(f"{_cell(row, column):>{_WIDTH}}" for column in columns)
    ratio = "" if row.ratio is None else f"   {_spread(row.ratio, 2)}"
    return f"{row.label:{_LABEL_WIDTH}}{cells}{ratio}".rstrip()


def _cell(row: _Row, column: str) -> str:
    if row.only not in (None, column):
        return ""
    try:
        return f"{row.figures(column).median:.{row.digits}f}"
    except KeyError:
        return ""


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} ({spread.least:.{digits}f}–{spread.most:.{digits}f})"


def _memory(report: Report) -> list[str]:
    memory = report.memory
    step, *_, calls = memory.after_calls
    sizes = " ".join(f"{size / MEGABYTE:.1f}" for size in memory.after_calls.values())
    return [
        f"Memory of the worker, MB: idle {memory.idle / MEGABYTE:.1f}; after the rounds {memory.warm / MEGABYTE:.1f};",
        f"  after each {step} of {calls} calls more {sizes}",
        f"  by their trend {memory.growth / MEGABYTE:+.2f} from the first to the last",
    ]


def _starts(report: Report) -> list[str]:
    starts = report.starts
    second = _spread(starts.second_s, 2)
    return [
        f"Start to first answer, s: first {starts.first_s:.2f}, which makes the database; second {second};",
        f"  with this run's calls in the database {starts.full_s:.2f}",
    ]


def _admission(report: Report) -> list[str]:
    return [
        "Admission, CPU a call, with a budget and limits of requests, tokens and calls in each:",
        *told(report.admission),
    ]


def _books(report: Report) -> list[str]:
    books = report.books
    repeated = f"{books.duplicate} duplicate, {books.unbilled} not billed"
    lines = [
        f"Ledger beside bill: {books.answered} calls answered, {books.billed} billed, {books.booked} booked;",
        f"  {books.missing} missing, {repeated}, {books.apart_nano_usd} nano-dollars apart",
    ]
    return lines + [f"  WRONG: {problem}" for problem in (*books.other, *books.examples)]


def _gates(report: Report) -> list[str]:
    if not report.sizes.gated:
        return ["A quick run applies no gates: it is too short for that."]
    return ["Gates", *(line_of(gate) for gate in report.gates)]


def line_of(gate: Gate) -> str:
    """One bound, and the verdict on it."""
    verdict = "ok" if gate.passed else "FAILED"
    return (
        f"  {gate.name:{_LABEL_WIDTH - 2}}{gate.value:{_WIDTH}.2f} of at most {gate.limit:.3g} {gate.unit:8} {verdict}"
    )
