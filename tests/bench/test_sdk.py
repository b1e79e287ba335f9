"""What the SDK's callback costs an app: the gates, the report, and the measurement itself, made small."""

import msgspec
import pytest

from bench.sdk import QUICK, AppCost, SdkReport, SdkSizes, measure_here, render_sdk
from bench.spread import spread_of


def app_cost(share: float) -> AppCost:
    figure = spread_of([100.0])
    return AppCost(call_us=figure, added_us=figure, idle_us=figure, posting_us=20.0, share=spread_of([share]))


REPORT = SdkReport(
    sizes=QUICK,
    others_share=0.01,
    alone_us=30.0,
    cold_us=150.0,
    paced_us=160.0,
    burst_per_s=5000.0,
    sustained_per_s=4000.0,
    resident=[80_000_000, 90_000_000, 91_000_000, 92_000_000, 93_000_000, 94_000_000],
    provider=app_cost(0.985),
    mocked=app_cost(0.9),
    one_by_one=app_cost(0.9),
    waiting_share=spread_of([0.999]),
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
        ({"waiting_share": spread_of([0.97])}, ["an app's time for its calls"]),
        ({"provider": app_cost(0.95)}, []),
    ],
)
def test_each_bound(change: dict[str, object], expected: list[str]) -> None:
    report = msgspec.structs.replace(REPORT, **change)
    assert [gate.name for gate in report.gates if not gate.passed] == expected
    assert report.passed is (not expected)
    assert ("FAILED" in render_sdk(report)) is bool(expected)
    assert ("missed" in render_sdk(report)) is (report.provider.share.median < 0.98)
    assert "Gates" not in render_sdk(report, gated=False)


def test_it_is_measured() -> None:
    sizes = SdkSizes(burst=200, paced=20, sustained=500, app_rounds=2, app_blocks=1, app_calls=5)
    said: list[str] = []
    report = measure_here(sizes, said.append)
    assert len(said) == 6
    assert min(report.alone_us, report.cold_us, report.paced_us, report.burst_per_s, report.sustained_per_s) > 0
    assert len(report.resident) == 6
    for app in (report.provider, report.mocked, report.one_by_one):
        assert len(app.share.rounds) == 2
        assert min(app.call_us.median, app.posting_us) > 0
    assert msgspec.json.decode(msgspec.json.encode(report), type=SdkReport) == report
