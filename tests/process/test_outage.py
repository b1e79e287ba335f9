"""The database away under load: calls go on, the journal keeps what they cost, and the ledger catches up."""

import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.process.books import books_when
from tests.process.caller import call_all, load
from tests.process.calls import PACED, PLAIN, STREAM, Kind
from tests.process.checks import check_books
from tests.process.gateway import Gateway, MakeGateway, Oracle
from tests.process.process_table import signal_all

CLIENTS: list[list[Kind]] = [*([[PLAIN]] * 6), *([[STREAM]] * 4), *([[PACED]] * 4)]
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
