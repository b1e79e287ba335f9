"""What posting costs: the gates, the report, and, where there is time, the measurement itself."""

import msgspec
import pytest

from bench.appending import Appending
from bench.machine import Machine
from bench.nginx import find_nginx
from bench.posting import FULL_MAX, LONG, PostingReport, PostingSizes, measure_posting, render_posting
from bench.spread import spread_of

MACHINE = Machine(
    at="2026-01-02T03:04:05+00:00",
    cpu="a CPU",
    cores=2,
    memory_mb=8000,
    kernel="Linux",
    python="CPython 3.11.2",
    nginx="1.22.1",
    packages={"bursar": "0.1.0"},
)


def report_of(
    *, served: float = 200.0, posted: float = 60.0, copied: float = 30.0, full: float = 66.0
) -> PostingReport:
    return PostingReport(
        machine=MACHINE,
        others_share=0.01,
        sizes=LONG,
        served_us=spread_of([served]),
        posted_us=spread_of([posted]),
        copied_us=spread_of([copied]),
        served_ratio=spread_of([posted / served]),
        copy_ratio=spread_of([posted / copied]),
        posted_full_us=spread_of([full]),
        full_ratio=spread_of([full / posted]),
        appending=Appending(spread_of([3.4]), spread_of([1.4]), 32),
    )


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (report_of(), []),
        (report_of(served=170.0), ["posting a call"]),
        (report_of(copied=15.0), []),
        (report_of(full=80.0), ["posting after 1,000,000 entries"]),
    ],
)
def test_each_bound(report: PostingReport, expected: list[str]) -> None:
    assert [gate.name for gate in report.gates if not gate.passed] == expected
    assert report.passed is (not expected)
    assert len(report.gates) == 3


def test_without_a_past_there_is_no_gate_on_it() -> None:
    report = msgspec.structs.replace(report_of(), posted_full_us=None, full_ratio=None)
    assert len(report.gates) == 2
    assert "entries" not in render_posting(report)


def test_the_report_shows_the_verdict() -> None:
    text = render_posting(report_of(served=170.0))
    assert "keeps 2.83 times a worker's pace, and 50% of COPY's (aim: 50%)" in text
    assert text.count("FAILED") == 1
    assert "FAILED" not in render_posting(report_of(served=170.0), gated=False)
    again = msgspec.json.decode(msgspec.json.encode(report_of()), type=PostingReport)
    assert again == report_of()


@pytest.mark.long
def test_the_measurement() -> None:
    """Small, for that it works at all, from serving to COPY."""
    nginx = find_nginx(None, lambda _: None)
    sizes = PostingSizes(rounds=2, calls=1000, past_entries=10_000)
    report = measure_posting(sizes, nginx=nginx, say=lambda _: None)
    figures = [report.served_us, report.posted_us, report.copied_us, report.posted_full_us, report.appending.alone_us]
    assert all(figure is not None and 0 < figure.least < 100_000 for figure in figures)


@pytest.mark.long
def test_a_million_entries_make_posting_hardly_slower() -> None:
    nginx = find_nginx(None, lambda _: None)
    report = measure_posting(LONG, nginx=nginx, say=lambda _: None)
    assert report.full_ratio is not None
    assert report.full_ratio.median <= FULL_MAX, render_posting(report)
