"""The database away under load: calls go on, the journal keeps what they cost, and the ledger catches up."""

import asyncio
import json
import signal
import time
from pathlib import Path
from statistics import median

import asyncpg
import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.process.books import books_when
from tests.process.caller import call_all, load
from tests.process.calls import PACED, PLAIN, STREAM, Kind
from tests.process.checks import check_after_deaths, check_books
from tests.process.gateway import Gateway, MakeGateway, Oracle
from tests.process.process_table import signal_all
from tests.process.test_budgets import new_key as new_budget_key

CLIENTS: list[list[Kind]] = [*([[PLAIN]] * 6), *([[STREAM]] * 4), *([[PACED]] * 4)]
CALM: list[list[Kind]] = [[PACED]] * 6
"""What comes in five minutes is booked, and compared, in less than one."""
GROWTH_MAX_MB = 24.0
"""What waits for the database waits on disk. Buffers and a few retries may cost something."""


def memory_mb(gateway: Gateway) -> float:
    """Resident memory of the worker."""
    [worker] = gateway.workers()
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


async def new_key(gateway: Gateway) -> int:
    """The answer to somebody whose key has not been seen before."""
    kind = Kind("stranger", "oracle?tokens=1")
    [received] = await call_all(gateway.port, "sk-never-seen-before", [kind], concurrency=1)
    return received.status


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_calls_go_on_and_the_ledger_catches_up(
    how: str, oracle: Oracle, make_gateway: MakeGateway, database: EmbeddedPostgres, place: Path
) -> None:
    gateway = make_gateway(oracle=oracle, environ={"DATABASE_URL": database.url("postgres")})
    gateway.start()
    async with load(gateway.port, gateway.key, CLIENTS) as clients:
        await clients.until(answered=400)
        before_mb = memory_mb(gateway)
        if how == "stopped":
            await asyncio.to_thread(database.stop)
            gateway.program.wait_for("ledger.store_away")
        else:
            for _ in range(2):  # again for those that were born meanwhile
                signal_all(place / "server", signal.SIGSTOP)
        await clients.until(answered=2000)
        assert await new_key(gateway) == 503
        after_mb = memory_mb(gateway)
        if how == "stopped":
            await asyncio.to_thread(database.start, print)
            gateway.program.wait_for("ledger.store_back")
        else:
            signal_all(place / "server", signal.SIGCONT)
        await clients.until(answered=100)
        assert await new_key(gateway) == 401
    assert [call for call in clients.received if not call.answered] == []
    await check_books(gateway, oracle, clients.received)
    assert after_mb - before_mb < GROWTH_MAX_MB
    assert gateway.stop() == 0


async def test_an_end_without_the_database_loses_nothing(
    oracle: Oracle, make_gateway: MakeGateway, database: EmbeddedPostgres
) -> None:
    """What it could not post, the next one does."""
    gateway = make_gateway(oracle=oracle, environ={"DATABASE_URL": database.url("postgres")})
    gateway.start()
    kinds = [PLAIN, STREAM] * 20
    received = await call_all(gateway.port, gateway.key, kinds, concurrency=4)
    await asyncio.to_thread(database.stop)
    received += await call_all(gateway.port, gateway.key, kinds, concurrency=4)
    gateway.program.wait_for("ledger.store_away")
    assert gateway.stop() == 0
    assert "ledger.not_drained" in gateway.program.output
    await asyncio.to_thread(database.start, print)
    gateway.start()
    await check_books(gateway, oracle, received)
    assert all(call.answered for call in received)
    assert gateway.stop() == 0


async def test_a_database_that_was_changed_under_us_is_posted_to_when_it_is_mended(
    oracle: Oracle, make_gateway: MakeGateway, database_url: str
) -> None:
    gateway = make_gateway(oracle=oracle, environ={"DATABASE_URL": database_url})
    gateway.start()
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE bursar.entries RENAME TO elsewhere")
    received = await call_all(gateway.port, gateway.key, [PLAIN] * 20, concurrency=4)
    gateway.program.wait_for("ledger.posting_failed")
    await connection.execute("ALTER TABLE bursar.elsewhere RENAME TO entries")
    await connection.close()
    books = await books_when(database_url, lambda books: len(books.rows) == 20)
    assert books.quarantined == 0
    await check_books(gateway, oracle, received)
    assert gateway.stop() == 0


STEADY = Kind("steady", "oracle?tokens=12&head_ms=40")
RATE_MARGIN = 3.0
LATENCY_MARGIN_MS = 5.0
"""Of the machine, where eighteen processes take turns."""


async def rows(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"'))
    finally:
        await connection.close()


async def until_rows(url: str, count: int) -> float:
    """How long it takes until so many calls are in the database."""
    begun = time.monotonic()
    async with asyncio.timeout(120):
        while await rows(url) < count:
            await asyncio.sleep(0.1)
    return time.monotonic() - begun


@pytest.mark.long
async def test_a_minute_without_the_database(
    oracle: Oracle, make_gateway: MakeGateway, database: EmbeddedPostgres
) -> None:
    """No call fails for keys without budgets, nor for those that have been granted enough; the others are told what is
    missing. Calls take as long as before, and what they left is posted at three times the rate they come at."""
    url = database.url("postgres")
    gateway = make_gateway(oracle=oracle, environ={"DATABASE_URL": url})
    gateway.start()
    granted, unused = await new_budget_key(gateway, 1000.0), await new_budget_key(gateway, 1.0)
    [known] = await call_all(gateway.port, unused, [Kind("unknown", "")], concurrency=1)
    assert known.status == 400, "the key is known, and nothing is granted to it"
    async with (
        load(gateway.port, gateway.key, [[STEADY]] * 14) as clients,
        load(gateway.port, granted, [[STEADY]] * 2) as limited,
    ):
        await asyncio.sleep(60)  # what was used in a minute is granted for the next one
        calls_before = clients.answered + limited.answered
        await asyncio.to_thread(database.stop)
        await asyncio.to_thread(gateway.program.wait_for, "ledger.store_away")
        begun = time.monotonic()
        first_without = len(clients.received)
        refused = await call_all(gateway.port, unused, [STEADY] * 3, concurrency=1)
        await asyncio.sleep(60 - (time.monotonic() - begun))
        without = clients.received[first_without:]
        rate = (clients.answered + limited.answered - calls_before) / (time.monotonic() - begun)
        await asyncio.to_thread(database.start, print)
        await asyncio.to_thread(gateway.program.wait_for, "ledger.store_back")
        posted, backlog_of = await rows(url), clients.answered + limited.answered
        drained_s = await until_rows(url, backlog_of)
    assert {(call.status, json.loads(call.body)["error"]["type"]) for call in refused} == {(503, "store_unavailable")}
    assert [call for call in clients.received if not call.answered] == []
    spent_out = [call for call in limited.received if not call.answered]
    assert {call.status for call in spent_out} <= {503}
    assert len([call for call in limited.received if call.answered]) > 100
    drained = (backlog_of - posted) / drained_s
    before_s, without_s = (
        median(call.took_s for call in calls) for calls in (clients.received[:first_without], without)
    )
    slower_ms = (without_s - before_s) * 1e3
    print(
        f"{rate:.0f} calls a second; {backlog_of - posted} posted at {drained:.0f} a second "
        f"({drained / rate:.1f} times as fast as they came); calls took {slower_ms:.1f} ms longer meanwhile; "
        f"{len(spent_out)} of {len(limited.received)} calls found their grant used up"
    )
    assert drained >= RATE_MARGIN * rate
    assert slower_ms <= LATENCY_MARGIN_MS
    await check_books(gateway, oracle, [*clients.received, *(call for call in limited.received if call.answered)])
    assert gateway.stop() == 0


@pytest.mark.long
async def test_frozen_for_half_a_minute_ten_times(
    oracle: Oracle, make_gateway: MakeGateway, database: EmbeddedPostgres, place: Path
) -> None:
    """Workers are killed while the database is frozen; nothing is lost, and nothing is there twice."""
    gateway = make_gateway("--workers", "2", oracle=oracle, environ={"DATABASE_URL": database.url("postgres")})
    gateway.start()
    async with load(gateway.port, gateway.key, CALM) as clients:
        for killed in range(1, 11):
            await clients.until(answered=100)
            for _ in range(2):
                signal_all(place / "server", signal.SIGSTOP)
            await asyncio.sleep(15)
            gateway.workers()[0].signal(signal.SIGKILL)
            await asyncio.to_thread(gateway.program.wait_for, "worker.died name=worker", times=killed)
            await asyncio.sleep(15)
            signal_all(place / "server", signal.SIGCONT)
    books = await check_after_deaths(gateway, oracle, clients.received)
    print(f"{clients.answered} answers, {len(books.rows)} rows")
    assert gateway.stop() == 0
