"""The load generator must not take a broken answer for a whole one, nor hide how long an answer took."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from bench.load import Closed, Open, Plan, Result, run_load
from bursar.oracle.serving import RunningOracle, running_oracle


@pytest.fixture
async def oracle() -> AsyncIterator[RunningOracle]:
    async with running_oracle() as running:
        yield running


def plan(
    oracle: RunningOracle, scenario: str, *, events: int = 0, pace: Closed | Open | None = None, timeout_s: float = 20.0
) -> Plan:
    """`events` above 0 asks for a stream."""
    body: dict[str, object] = {
        "model": f"oracle?{scenario}",
        "messages": [{"role": "user", "content": "What do the books say?"}],
    }
    if events:
        body["stream"] = True
    return Plan(
        port=oracle.port,
        body=msgspec.json.encode(body).decode(),
        headers=[("authorization", "Bearer sk-load")],
        pace=pace or Closed(connections=2, calls=6),
        streamed=events > 0,
        events=events,
        timeout_s=timeout_s,
    )


async def run(oracle: RunningOracle, scenario: str, *, events: int = 0, timeout_s: float = 20.0) -> Result:
    return await run_load(plan(oracle, scenario, events=events, timeout_s=timeout_s))


async def test_whole_answers(oracle: RunningOracle) -> None:
    result = await run(oracle, "tokens=5")
    assert (result.calls, result.failures) == (6, {})
    assert len(oracle.bill()) == 6
    assert {request.header(b"authorization") for request in oracle.requests} == {b"Bearer sk-load"}


async def test_whole_streams(oracle: RunningOracle) -> None:
    result = await run(oracle, "tokens=5&burst=1", events=7)
    assert (result.calls, result.events, result.failures) == (6, 42, {})


async def test_streams_in_any_pieces(oracle: RunningOracle) -> None:
    result = await run(oracle, "tokens=5&split=1", events=7)
    assert (result.calls, result.events, result.failures) == (6, 42, {})


@pytest.mark.parametrize(
    ("scenario", "complaint"),
    [
        ("tokens=5&done=0", "no [DONE]"),
        ("tokens=5&fault=truncate:3", "no [DONE]"),
        ("tokens=5&fault=cut:3c", "cut off"),
        ("tokens=5&fault=reset:3c", "cut off"),
        ("tokens=4", "6 events"),
        ("tokens=6", "8 events"),
        ("fault=status:503", "status 503"),
        ("fault=close", "cut off"),
    ],
)
async def test_broken_streams_are_failures(oracle: RunningOracle, scenario: str, complaint: str) -> None:
    result = await run(oracle, scenario, events=7)
    assert (result.calls, result.failures) == (0, {complaint: 6})


@pytest.mark.parametrize(
    ("scenario", "complaint"),
    [
        ("tokens=5&fault=wrong_json", "not an answer"),
        ("fault=wrong_shape", "not an answer"),
        ("fault=error_event:1", "not an answer"),
        ("fault=status:429", "status 429"),
        ("tokens=5&fault=cut:50%", "cut off"),
        ("fault=cut_head:12", "cut off"),
    ],
)
async def test_broken_answers_are_failures(oracle: RunningOracle, scenario: str, complaint: str) -> None:
    result = await run(oracle, scenario)
    assert (result.calls, result.failures) == (0, {complaint: 6})


async def test_one_broken_answer_among_good_ones_is_found(oracle: RunningOracle) -> None:
    result = await run(oracle, "tokens=5&fault=cut:3c&every=6", events=7)
    assert (result.calls, result.failures) == (5, {"cut off": 1})


async def test_what_never_comes_is_a_failure(oracle: RunningOracle) -> None:
    result = await run(oracle, "fault=stall", timeout_s=0.3)
    assert (result.calls, result.failures) == (0, {"not answered in 0.3 s": 6})


async def test_it_does_not_go_on_when_everything_fails(oracle: RunningOracle) -> None:
    result = await run_load(plan(oracle, "fault=status:500", pace=Closed(connections=4, calls=100_000)))
    assert result.failures == {"status 500": 20}


async def test_a_loop_waits_for_its_answers(oracle: RunningOracle) -> None:
    result = await run_load(plan(oracle, "tokens=1&head_ms=30", pace=Closed(connections=1, calls=3)))
    assert result.calls == 3
    assert result.p50_ms >= 30
    assert result.seconds >= 0.09


async def test_latency_counts_from_when_a_call_was_due(oracle: RunningOracle) -> None:
    """One connection, and calls that come faster than it is served: each waits for all before it."""
    pace = Open(connections=1, rate_per_s=200.0, duration_s=0.25, seed=1)
    result = await run_load(plan(oracle, "tokens=1&head_ms=10", pace=pace))
    assert result.failures == {}
    assert result.offered_per_s == 200.0
    assert result.calls > 30
    # Measured from its sending each would take some 10 ms.
    assert result.p99_ms > 10 * result.calls - 250 - 50
    assert result.p50_ms > 50
    assert result.late_p99_ms < result.p50_ms


async def test_arrivals_do_not_wait_for_each_other(oracle: RunningOracle) -> None:
    pace = Open(connections=64, rate_per_s=100.0, duration_s=0.4, seed=1)
    async with asyncio.timeout(20):
        result = await run_load(plan(oracle, "tokens=1&head_ms=100", pace=pace))
    assert result.failures == {}
    assert 100 <= result.p50_ms < 1000  # one after the other they would take some 2000
