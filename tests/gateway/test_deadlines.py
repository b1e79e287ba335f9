"""Limits that behave as `asyncio.timeout` does."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bursar.gateway.deadlines import Deadlines

SOON, LONG = 0.01, 60.0


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    made = Deadlines()
    yield made
    made.close()


def unmarked() -> bool:
    """Nothing of the expiry is left on the task: it can wait, and be cancelled, as before."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling() == 0


async def test_who_is_in_time_notices_nothing(deadlines: Deadlines) -> None:
    with deadlines.limit(LONG):
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)  # beyond a look at all limits
    assert unmarked()


async def test_who_is_late_is_stopped(deadlines: Deadlines) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(TimeoutError), deadlines.limit(SOON):
        await asyncio.sleep(LONG)
    assert SOON <= loop.time() - start < LONG
    assert unmarked()
    await asyncio.sleep(0)


async def test_a_limit_of_nothing(deadlines: Deadlines) -> None:
    with pytest.raises(TimeoutError), deadlines.limit(0):
        await asyncio.sleep(LONG)


async def test_work_that_does_not_wait_is_never_late(deadlines: Deadlines) -> None:
    with deadlines.limit(-1) as limit:
        pass
    assert limit.deadline_s < asyncio.get_running_loop().time()
    await asyncio.sleep(0.3)
    assert unmarked()


async def test_a_limit_is_shortened_and_never_lengthened(deadlines: Deadlines) -> None:
    limit = deadlines.limit(LONG)
    before = limit.deadline_s
    limit.shorten(LONG * 2)
    assert limit.deadline_s == before
    limit.shorten(SOON)
    assert limit.deadline_s < before
    limit.shorten(LONG)
    with pytest.raises(TimeoutError), limit:
        await asyncio.sleep(LONG)


async def test_the_inner_limit_passes_first(deadlines: Deadlines) -> None:
    with deadlines.limit(LONG):
        with pytest.raises(TimeoutError), deadlines.limit(SOON):
            await asyncio.sleep(LONG)
        await asyncio.sleep(0)
    assert unmarked()


async def test_the_outer_limit_passes_through_the_inner(deadlines: Deadlines) -> None:
    async def work() -> None:
        try:
            with deadlines.limit(LONG):
                await asyncio.sleep(LONG)
        except TimeoutError:
            pytest.fail("the inner limit had not passed")

    with pytest.raises(TimeoutError), deadlines.limit(SOON):
        await work()
    assert unmarked()


async def test_errors_pass(deadlines: Deadlines) -> None:
    with pytest.raises(ValueError, match="mine"), deadlines.limit(LONG):
        raise ValueError("mine")


async def test_an_error_on_the_way_out_passes_too(deadlines: Deadlines) -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), deadlines.limit(SOON):
        await work()
    assert unmarked()


async def test_another_s_cancellation_passes(deadlines: Deadlines) -> None:
    reached = asyncio.Event()

    async def work() -> None:
        with deadlines.limit(LONG):
            reached.set()
            await asyncio.sleep(LONG)

    task = asyncio.create_task(work())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_moment_wins(deadlines: Deadlines) -> None:
    """Late and cancelled: the task ends, as whoever cancelled it expects."""
    reached = asyncio.Event()

    async def work() -> None:
        with deadlines.limit(LONG) as limit:
            limits.append(limit)
            reached.set()
            await asyncio.sleep(LONG)

    limits: list[object] = []
    task = asyncio.create_task(work())
    await reached.wait()
    limits[0].expire()  # type: ignore[attr-defined]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_swallows_the_cancellation_goes_on(deadlines: Deadlines) -> None:
    stopped = False
    with deadlines.limit(SOON):
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            stopped = True
    assert stopped
    assert unmarked()


async def test_many_at_once(deadlines: Deadlines) -> None:
    async def work(number: int) -> bool:
        try:
            with deadlines.limit(SOON if number % 2 else LONG):
                await asyncio.sleep(LONG if number % 2 else SOON)
        except TimeoutError:
            return True
        return False

    late = await asyncio.gather(*(work(number) for number in range(200)))
    assert late == [bool(number % 2) for number in range(200)]


async def test_after_the_end_nothing_passes() -> None:
    deadlines = Deadlines()
    deadlines.close()
    with deadlines.limit(0):
        await asyncio.sleep(0.3)
