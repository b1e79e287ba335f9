"""Tasks with an owner."""

import asyncio
import gc
import logging

import pytest

from bursar.tasks import TaskOwner
from tests.patience import PATIENCE_S


async def test_a_task_runs_and_is_let_go() -> None:
    owner, done = TaskOwner("o"), asyncio.Event()

    async def work() -> None:
        done.set()

    task = owner.start(work())
    assert len(owner) == 1
    await task
    await asyncio.sleep(0)
    assert done.is_set()
    assert len(owner) == 0


async def test_nobody_else_need_keep_a_task() -> None:
    owner, go, done = TaskOwner("o"), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    owner.start(work())
    await asyncio.sleep(0)
    gc.collect()
    go.set()
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()


async def test_a_failure_is_logged_once_and_hurts_no_neighbour(caplog: pytest.LogCaptureFixture) -> None:
    owner, go = TaskOwner("calls"), asyncio.Event()

    async def fail() -> None:
        raise ValueError("mine")

    async def work() -> None:
        await go.wait()

    neighbour = owner.start(work())
    owner.start(fail(), "the-one")
    assert not await owner.finish(0.01)
    go.set()
    assert await owner.finish(1)
    assert neighbour.exception() is None
    [record] = [record for record in caplog.records if record.name == "bursar.tasks"]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "task.failed owner=calls task=the-one"
    assert record.exc_info is not None


async def test_cancelling_waits_for_the_last_words(caplog: pytest.LogCaptureFixture) -> None:
    owner, said = TaskOwner("o"), []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            said.append(number)

    for number in range(3):
        owner.start(work(number))
    await asyncio.sleep(0)
    await owner.cancel()
    assert sorted(said) == [0, 1, 2]
    assert len(owner) == 0
    assert not caplog.records, "being cancelled is no failure"


async def test_cancelling_survives_a_task_that_fails_at_it() -> None:
    owner = TaskOwner("o")

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("mine")

    owner.start(work())
    await asyncio.sleep(0)
    await owner.cancel()
    assert len(owner) == 0


async def test_an_owner_of_nothing_is_finished() -> None:
    owner = TaskOwner("o")
    assert await owner.finish(0)
    await owner.cancel()
