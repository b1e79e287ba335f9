"""Steps at intervals."""

import asyncio
import time

import pytest

from bursar.oracle.pacing import Pacer
from bursar.oracle.serving import RunningOracle
from tests.oracle.raw_client import ask, ask_stream

A_TICK_S = 0.002
"""How early a timer of the event loop may come: its clock counts milliseconds."""


async def test_steps_keep_their_intervals_side_by_side() -> None:
    pacer = Pacer()
    loop = asyncio.get_running_loop()
    began = loop.time()
    times: dict[int, list[float]] = {}

    async def run(interval_ms: int, steps: int) -> None:
        seen = times.setdefault(interval_ms, [])

        def step() -> bool:
            seen.append(loop.time() - began)
            return len(seen) < steps

        await pacer.run(step, interval_ms / 1000)

    async with asyncio.TaskGroup() as group:
        for interval_ms, steps in ((5, 20), (7, 10), (50, 2)):
            group.create_task(run(interval_ms, steps))
    assert {interval: len(seen) for interval, seen in times.items()} == {5: 20, 7: 10, 50: 2}
    for interval_ms, seen in times.items():
        for number, at_s in enumerate(seen, start=1):
            assert at_s >= number * interval_ms / 1000 - A_TICK_S, "a step came early"


async def test_a_step_that_fails_fails_the_one_that_waits() -> None:
    def step() -> bool:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Pacer().run(step, 0.001)


async def test_a_cancelled_run_steps_no_more() -> None:
    pacer = Pacer()
    steps: list[int] = []

    def step() -> bool:
        steps.append(1)
        return True

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await pacer.run(step, 0.001)
    seen = len(steps)
    assert seen > 0
    await pacer.run(lambda: False, 0.01)
    assert len(steps) == seen


async def test_how_long_an_answer_takes(oracle: RunningOracle) -> None:
    began = time.perf_counter()
    await ask(oracle.port, "oracle?head_ms=30&first_ms=20&delay_ms=1000")
    assert time.perf_counter() - began >= 0.05 - A_TICK_S
    began = time.perf_counter()
    await ask_stream(oracle.port, "oracle?tokens=11&head_ms=30&first_ms=20&delay_ms=5")
    assert 0.1 - 2 * A_TICK_S <= time.perf_counter() - began < 5
