"""Ending in order: what is under way gets its time, nothing new begins, and all of it is booked."""

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

import pytest

from tests.process.books import Differences, compare, read_books
from tests.process.caller import Caller, Received, call_all
from tests.process.calls import Booked, Kind, Leave
from tests.process.gateway import EVERYTHING, Gateway, MakeGateway, Oracle
from tests.process.process_table import survivors

QUICK = Kind("quick", "oracle?tokens=25&delay_ms=40", stream=True)
"""A second."""
UNHURRIED = Kind("unhurried", "oracle?tokens=50&delay_ms=60", stream=True)
"""Three seconds: longer than a slow machine takes to begin fifty of them."""
SLOW = Kind("slow", "oracle?tokens=9&first_ms=20&delay_ms=30000", Booked.ESTIMATED, stream=True)
LATE = Kind("late", "oracle?tokens=9&head_ms=3000")


@asynccontextmanager
async def under_way(gateway: Gateway, kinds: Sequence[Kind]) -> AsyncIterator[list[asyncio.Task[Received]]]:
    """One client for each kind, all of them with their answer begun, if it is a stream."""
    begun: list[asyncio.Event] = []

    async def call(kind: Kind, first_content: asyncio.Event) -> Received:
        with closing(Caller(gateway.port, gateway.key)) as caller:
            return await caller.call(kind, first_content=first_content)

    tasks = []
    for kind in kinds:
        begun.append(asyncio.Event())
        tasks.append(asyncio.ensure_future(call(kind, begun[-1])))
    try:
        async with asyncio.timeout(30):
            for kind, event in zip(kinds, begun, strict=True):
                if kind.stream:
                    await event.wait()
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_refused(port: int) -> None:
    """Until nobody listens any more."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("workers", [1, 2])
async def test_fifty_streams_end_in_their_time(
    workers: int, oracle: Oracle, make_gateway: MakeGateway, database_url: str
) -> None:
    gateway = make_gateway("--workers", str(workers), oracle=oracle, environ={"DATABASE_URL": database_url})
    gateway.start()
    async with under_way(gateway, [UNHURRIED] * 50 + [LATE] * 5) as calls:
        gateway.program.signal(signal.SIGTERM)
        await until_refused(gateway.port)
        assert not any(call.done() for call in calls)
        received = await asyncio.gather(*calls)
    assert gateway.program.wait() == 0
    assert all(call.answered for call in received)
    books = await read_books(database_url)
    assert compare(books, oracle.bill(), received) == Differences()
    assert (len(books.rows), books.unended) == (55, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
async def test_what_does_not_end_is_cancelled_and_booked(
    number: signal.Signals, oracle: Oracle, make_gateway: MakeGateway, database_url: str
) -> None:
    """SIGTERM, Ctrl-C, and a terminal that is closed are the same."""
    config = f"{EVERYTHING}\nbursar_settings: {{grace_s: 3}}\n"
    gateway = make_gateway(oracle=oracle, config=config, environ={"DATABASE_URL": database_url})
    gateway.start()
    async with under_way(gateway, [SLOW] * 20 + [QUICK] * 20) as calls:
        everything = gateway.program.family()
        gateway.program.interrupt() if number is signal.SIGINT else gateway.program.signal(number)
        received = await asyncio.gather(*calls)
    assert gateway.program.wait() == 0
    assert survivors(everything, 5.0) == []
    assert [call.kind.name for call in received if call.answered] == ["quick"] * 20
    assert all(b"The gateway is shutting down." in call.body for call in received if call.kind is SLOW)
    # Those whose own upstream was cut by us are billed for less than was estimated, and the bill is not exact for them.
    books = await read_books(database_url)
    assert compare(books, oracle.bill(), received) == Differences()
    assert (len(books.rows), books.unended) == (40, 0)


async def test_a_second_signal_ends_at_once(oracle: Oracle, make_gateway: MakeGateway, database_url: str) -> None:
    gateway = make_gateway(oracle=oracle, environ={"DATABASE_URL": database_url})
    gateway.start()
    async with under_way(gateway, [SLOW] * 10) as calls:
        gateway.program.signal(signal.SIGTERM)
        await until_refused(gateway.port)
        assert gateway.program.running
        gateway.program.signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.program.wait, 15) == 0  # half the grace time
        received = await asyncio.gather(*calls)
    books = await read_books(database_url)
    assert compare(books, oracle.bill(), received) == Differences()
    assert (len(books.rows), books.unended) == (10, 0)


async def test_clients_that_left_are_waited_for(oracle: Oracle, make_gateway: MakeGateway, database_url: str) -> None:
    """The provider's answer is read to its end, also when nobody waits for it and we are ending."""
    gateway = make_gateway(oracle=oracle, environ={"DATABASE_URL": database_url})
    gateway.start()
    left = dataclasses.replace(QUICK, leave=Leave.IN_THE_MIDDLE)
    received = await call_all(gateway.port, gateway.key, [left] * 10, concurrency=10)
    assert gateway.stop() == 0
    books = await read_books(database_url)
    assert compare(books, oracle.bill(), received) == Differences()
    assert {row.evidence for row in books.rows} == {"drained"}


async def test_the_demo_answers_to_the_end(make_gateway: MakeGateway, database_url: str) -> None:
    """The demo's upstream is a process of ours: it may not be ended before those who call it."""
    gateway = make_gateway(environ={"DATABASE_URL": database_url})
    gateway.start()
    greeting = Kind("greeting", "demo", stream=True)
    async with under_way(gateway, [greeting] * 10) as calls:
        gateway.program.signal(signal.SIGTERM)
        await until_refused(gateway.port)
        assert not any(call.done() for call in calls)
        received = await asyncio.gather(*calls)
    assert gateway.program.wait() == 0
    assert all(call.answered for call in received)
    assert (await read_books(database_url)).unended == 0
