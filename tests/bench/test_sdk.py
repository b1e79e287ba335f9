"""What the SDK's callback costs an app: the gates, the report, and the measurement itself, made small."""

import msgspec
import pytest

from bench.sdk import QUICK, SdkReport, SdkSizes, measure_here, render_sdk
from bench.spread import spread_of

REPORT = SdkReport(
    sizes=QUICK,
    others_share=0.01,
    alone_us=30.0,
    cold_us=150.0,
    paced_us=160.0,
    burst_per_s=5000.0,
    sustained_per_s=4000.0,
    resident=[80_000_000, 90_000_000, 91_000_000, 92_000_000, 93_000_000, 94_000_000],
    call_us=spread_of([1800.0]),
    app_share=spread_of([0.985]),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"cold_us": 500.0, "paced_us": 500.0}, []),
        ({"alone_us": 41.0}, ["an event on the caller's thread"]),
        ({"burst_per_s": 2900.0}, ["an event of a burst, posted"]),
        ({"sustained_per_s": 2900.0}, ["an event for long, posted"]),
        ({"resident": [80_000_000, 90_000_000, 115_000_000]}, ["memory, growth"]),
        ({"app_share": spread_of([0.97])}, ["an app's time with the callback"]),
    ],
)
def test_each_bound(change: dict[str, object], expected: list[str]) -> None:
    report = msgspec.structs.replace(REPORT, **change)
    assert [gate.name for gate in report.gates if not gate.passed] == expected
    assert report.passed is (not expected)
    assert ("FAILED" in render_sdk(report)) is bool(expected)
    assert "Gates" not in render_sdk(report, gated=False)


def test_it_is_measured() -> None:
    sizes = SdkSizes(burst=200, paced=20, sustained=500, app_calls=5, app_rounds=2)
    said: list[str] = []
    report = measure_here(sizes, said.append)
    assert len(said) == 3
    assert min(report.alone_us, report.cold_us, report.paced_us, report.burst_per_s, report.sustained_per_s) > 0
    assert len(report.resident) == 6
    assert len(report.app_share.rounds) == 2
    assert msgspec.json.decode(msgspec.json.encode(report), type=SdkReport) == report
