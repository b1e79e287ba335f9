"""Gates and the verdict of a run."""

import msgspec
import pytest

from bench.admission import Cost
from bench.books import Agreement
from bench.cores import Cores
from bench.figures import Figures, LatencyMetric, Load, Metric
from bench.gates import Gate, gates_of
from bench.load import Result
from bench.machine import Machine
from bench.measure import Latency, Measured
from bench.memory import Memory
from bench.report import render
from bench.run import Report, Starts
from bench.sizes import FULL, QUICK, Sizes
from bench.spread import spread_of
from bench.subjects import CpuSeconds

RESULT = Result(
    calls=1000,
    failures={},
    events=0,
    seconds=2.0,
    offered_per_s=None,
    p50_ms=1.0,
    p90_ms=2.0,
    p99_ms=3.0,
    late_p99_ms=0.1,
    cpu_s=0.02,
)
STREAMED = msgspec.structs.replace(RESULT, calls=10, events=1000)
GOOD_BOOKS = Agreement(
    answered=9, billed=9, booked=9, missing=0, unbilled=0, duplicate=0, apart=0, apart_nano_usd=0, other=[], examples=[]
)
MEMORY = Memory(idle=40_000_000, warm=50_000_000, after_calls={20: 51_000_000, 100: 52_000_000})
ADMISSION = Cost(taken=spread_of([15.0]), given_back=spread_of([9.0]), unlimited=spread_of([1.0]))
SLOW_ADMISSION = msgspec.structs.replace(ADMISSION, taken=spread_of([9.0, 15.1, 16.0]))


def measured(cpu_s: float, result: Result = RESULT) -> Measured:
    return Measured(result, CpuSeconds(cpu_s, supervisor=0.001, database=0.1), upstream_cpu_s=0.03, settle_s=0.5)


def figures_of(rounds: list[tuple[float, float]], *, added_ms: float = 1.5) -> Figures:
    """From the CPU seconds of (nginx, Bursar) in each round, the same for all loads."""
    figures = Figures()
    for nginx_s, bursar_s in rounds:
        for subject, cpu_s in (("nginx", nginx_s), ("bursar", bursar_s)):
            for load in Load:
                figures.add_load(subject, load, measured(cpu_s, STREAMED if load is Load.STREAMS else RESULT))
            through = msgspec.structs.replace(RESULT, p50_ms=RESULT.p50_ms + added_ms)
            figures.add_latency(subject, Latency(250.0, through, RESULT))
    return figures


def report_of(
    figures: Figures, *, sizes: Sizes = FULL, books: Agreement = GOOD_BOOKS, memory: Memory = MEMORY
) -> Report:
    return Report(
        machine=Machine(
            at="2026-01-02T03:04:05+00:00",
            cpu="a CPU",
            cores=2,
            memory_mb=8000,
            kernel="Linux",
            python="CPython 3.11.2",
            nginx="1.22.1",
            packages={"bursar": "0.1.0"},
        ),
        others_share=0.01,
        sizes=sizes,
        upstream_workers=1,
        cores=Cores(frozenset([1]), frozenset([0])),
        figures=figures.all(),
        ratios=figures.ratios("bursar", "nginx"),
        memory=memory,
        starts=Starts(2.0, spread_of([0.5]), 0.6),
        admission=ADMISSION,
        books=books,
        gates=gates_of(figures, memory, spread_of([0.5]), ADMISSION),
    )


def failed(gates: list[Gate]) -> list[str]:
    return [gate.name for gate in gates if not gate.passed]


def test_cpu_is_per_call_and_per_chunk() -> None:
    figures = figures_of([(0.03, 0.2)])
    assert figures.of("bursar", Load.ALONE, Metric.CPU_US).median == pytest.approx(200.0)
    assert figures.of("bursar", Load.STREAMS, Metric.CPU_US).median == pytest.approx(200.0)
    assert figures.of("bursar", Load.STREAMS, Metric.CALL_CPU_US).median == pytest.approx(20_000.0)
    assert figures.of("bursar", Load.TOGETHER, Metric.DATABASE_US).median == pytest.approx(100.0)
    assert figures.of("nginx", Load.TOGETHER, Metric.PER_S).median == 500.0
    assert figures.of("nginx", Load.TOGETHER, Metric.SUSTAINED_PER_S).median == 400.0
    assert figures.latency_of("bursar", LatencyMetric.ADDED_P50_MS).median == 1.5


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is slow for a round slows both sides of it."""
    figures = figures_of([(0.01, 0.06), (0.05, 0.30), (0.02, 0.12)])
    assert figures.ratio("bursar", "nginx", Load.TOGETHER).rounds == pytest.approx([6.0, 6.0, 6.0])


def test_what_was_not_measured_is_not_zero() -> None:
    with pytest.raises(KeyError):
        figures_of([(0.01, 0.06)]).of("floor", Load.ALONE, Metric.CPU_US)


def test_a_limit_itself_is_allowed() -> None:
    assert Gate("any", 7.0, 7.0, "").passed
    assert not Gate("any", 7.001, 7.0, "").passed


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        (gates_of(figures_of([(0.01, 0.03)]), MEMORY, spread_of([1.5]), ADMISSION), []),
        (gates_of(figures_of([(0.01, 0.036)]), MEMORY, spread_of([0.5]), ADMISSION), ["CPU per chunk, 200 streams"]),
        (
            gates_of(figures_of([(0.01, 0.071)]), MEMORY, spread_of([0.5]), ADMISSION),
            [
                "CPU per call, one connection",
                "CPU per call, random arrivals",
                "CPU per call, 64 connections",
                "CPU per chunk, 200 streams",
            ],
        ),
        (
            gates_of(figures_of([(0.01, 0.03)], added_ms=2.1), MEMORY, spread_of([0.5]), ADMISSION),
            ["latency added, p50"],
        ),
        (gates_of(figures_of([(0.01, 0.03)]), MEMORY, spread_of([1.6]), ADMISSION), ["second start"]),
        (
            gates_of(
                figures_of([(0.01, 0.03)]), Memory(40, 131_000_000, {20: 50, 100: 50}), spread_of([0.5]), ADMISSION
            ),
            ["memory of a worker, at most"],
        ),
        (
            gates_of(
                figures_of([(0.01, 0.03)]),
                Memory(40, 50, {20: 50, 60: 1_000_051, 100: 2_000_051}),
                spread_of([0.5]),
                ADMISSION,
            ),
            ["memory of a worker, growth"],
        ),
        (
            gates_of(figures_of([(0.01, 0.03)]), MEMORY, spread_of([0.5]), SLOW_ADMISSION),
            ["admission over 8 scopes"],
        ),
    ],
)
def test_each_bound(gates: list[Gate], expected: list[str]) -> None:
    assert len(gates) == 9
    assert failed(gates) == expected


@pytest.mark.parametrize(
    ("sizes", "growth"),
    [
        ([70, 70, 70, 70, 70], 0),
        ([70, 71, 72, 73, 74], 4),
        ([70, 71, 99, 73, 74], 4),  # one reading is off
        ([60, 70, 70, 70, 70, 70, 70, 70, 70, 70], 0),  # it was not warm yet
        ([70, 72, 70, 72, 70, 72, 70, 72], 0),
    ],
)
def test_growth_is_a_trend(sizes: list[int], growth: int) -> None:
    after = {(number + 1) * 100: size for number, size in enumerate(sizes)}
    assert Memory(idle=0, warm=0, after_calls=after).growth == growth


def test_the_verdict() -> None:
    good, slow = figures_of([(0.01, 0.03)]), figures_of([(0.01, 0.2)])
    wrong = msgspec.structs.replace(GOOD_BOOKS, missing=1)
    assert report_of(good).passed
    assert not report_of(slow).passed
    assert not report_of(good, books=wrong).passed
    assert report_of(slow, sizes=QUICK).passed
    assert not report_of(slow, sizes=QUICK, books=wrong).passed


def test_the_report_shows_the_verdict() -> None:
    slow = figures_of([(0.01, 0.2), (0.01, 0.3), (0.01, 0.4)])
    text = render(report_of(slow), slow)
    assert "30.00 (20.00–40.00)" in text
    assert text.count("FAILED") == 4
    assert "0 missing" in text
    wrong = msgspec.structs.replace(GOOD_BOOKS, missing=1, examples=["missing: chatcmpl-7"])
    text = render(report_of(slow, sizes=QUICK, books=wrong), slow)
    assert "applies no gates" in text
    assert "FAILED" not in text
    assert "WRONG: missing: chatcmpl-7" in text


def test_a_subject_that_was_measured_once_has_its_column() -> None:
    figures = figures_of([(0.01, 0.03), (0.01, 0.05)])
    assert "litellm" not in render(report_of(figures), figures)
    for load in Load:
        figures.add_load("litellm", load, measured(1.0, STREAMED if load is Load.STREAMS else RESULT))
    text = render(report_of(figures), figures)
    assert "25 × per call alone, 25 × with 64 connections, 25 × per chunk" in text
    assert "1000.0" in text


def test_a_busy_machine_is_told() -> None:
    figures = figures_of([(0.01, 0.03)])
    quiet = report_of(figures)
    assert "run it again" not in render(quiet, figures)
    assert "run it again" in render(msgspec.structs.replace(quiet, others_share=0.4), figures)


def test_the_report_is_json() -> None:
    report = report_of(figures_of([(0.01, 0.03), (0.01, 0.04)]))
    again = msgspec.json.decode(msgspec.json.encode(report), type=Report)
    assert again == report
    assert again.figures["bursar"]["together.cpu_us"].rounds == pytest.approx([30.0, 40.0])
