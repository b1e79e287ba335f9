"""The promises of the journal, kept by a whole gateway: on a full disk, without its database, after kill -9."""

import asyncio
import http.client
import json
import re
import sys
from pathlib import Path

import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.ledger.journals import fill, mounted
from tests.process.books import books_when
from tests.process.caller import Received, call_all, load
from tests.process.calls import PACED, PLAIN, STREAM, Kind
from tests.process.checks import check_after_deaths, check_books, until_served
from tests.process.gateway import EVERYTHING, MakeGateway, Oracle
from tests.process.program import PATIENCE_S

CLIENTS: list[list[Kind]] = [*([[PLAIN]] * 8), *([[STREAM]] * 4), *([[PACED]] * 8)]


def with_durability(durability: str) -> str:
    return f"{EVERYTHING}bursar_settings: {{durability: {durability}}}\n"


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_full_disk_refuses_and_loses_nothing(workers: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    """Killed while it is full: what was answered is on record, and whatever else was sent is booked at an estimate."""
    gateway = make_gateway("--workers", str(workers), oracle=oracle)
    with mounted(gateway.data / "journal", "-o", "size=6m,mode=0700") as disk:
        gateway.start()
        async with load(gateway.port, gateway.key, CLIENTS) as clients:
            await clients.until(answered=300)
            filler = fill(disk)
            await until_refused(clients.received, 100)
            async with asyncio.timeout(PATIENCE_S):
                while await asyncio.to_thread(readiness, gateway.port) != 503:
                    await asyncio.sleep(0.01)
            fill(disk)
            await until_refused(clients.received, 100)
            filler.unlink()
            await clients.until(answered=300)
            fill(disk)
            await until_refused(clients.received, 100)
            gateway.program.kill_all()
            await clients.ended()
        (disk / "filler").unlink()
        refused = [call for call in clients.received if call.status == 503]
        assert all(json.loads(call.body)["error"]["type"] == "service_unavailable" for call in refused)
        gateway.start()
        await check_after_deaths(gateway, oracle, clients.received)
        billed = {line.attempt for line in oracle.bill()}
        assert not billed & {call.mark for call in refused}, "what was refused was not sent"
        assert gateway.stop() == 0


def readiness(port: int) -> int:
    """The status of whichever worker answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health/readiness")
        return connection.getresponse().status
    finally:
        connection.close()


async def until_refused(received: list[Received], count: int) -> None:
    """So many more calls."""
    before = sum(call.status == 503 for call in received)
    async with asyncio.timeout(PATIENCE_S):
        while sum(call.status == 503 for call in received) < before + count:
            await asyncio.sleep(0.01)


async def test_in_the_database_before_it_is_sent(
    oracle: Oracle, make_gateway: MakeGateway, database: EmbeddedPostgres, place: Path
) -> None:
    """The disk of the journal is lost together with its process: the database knows of every call that was sent."""
    gateway = make_gateway(
        oracle=oracle, config=with_durability("database"), environ={"DATABASE_URL": database.url("postgres")}
    )
    gateway.start()
    assert "in the database before it is sent" in gateway.program.output
    async with load(gateway.port, gateway.key, CLIENTS) as clients:
        await clients.until(answered=200)
        await asyncio.to_thread(database.stop)
        await until_refused(clients.received, 50)
        await asyncio.to_thread(database.start, print)
        await clients.until(answered=200)
        gateway.program.kill_all()
        await clients.ended()
    sent = {line.attempt for line in oracle.bill()}
    (gateway.data / "journal").rename(place / "lost")
    opened = await books_when(database.url("postgres"), lambda books: books.attempts >= len(sent))
    assert opened.attempts >= len(sent)
    (place / "lost").rename(gateway.data / "journal")
    gateway.start()
    await check_after_deaths(gateway, oracle, clients.received)
    assert gateway.stop() == 0


async def test_on_the_disk_before_it_is_sent(oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway(oracle=oracle, config=with_durability("power"))
    gateway.start()
    assert "survives a power cut" in gateway.program.output
    async with load(gateway.port, gateway.key, CLIENTS) as clients:
        await clients.until(answered=300)
        gateway.program.kill_all()
        await clients.ended()
    gateway.start()
    await check_after_deaths(gateway, oracle, clients.received)
    assert gateway.stop() == 0


async def test_a_journal_that_is_deleted_is_made_anew(oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway(oracle=oracle)
    gateway.start()
    await until_served(gateway, PLAIN)
    await books_when(gateway.database_url(), lambda books: len(books.rows) == 1 and books.unended == 0)
    [journal] = (gateway.data / "journal").iterdir()
    for path in journal.iterdir():
        path.unlink()
    journal.rmdir()
    async with asyncio.timeout(PATIENCE_S):
        while not journal.is_dir():
            await until_served(gateway, PLAIN)
    received = await call_all(gateway.port, gateway.key, [PLAIN] * 20, concurrency=4)
    gateway.program.kill_all()
    gateway.start()
    await check_books(gateway, oracle, received)
    assert all(call.answered for call in received)
    assert gateway.stop() == 0


def test_a_network_disk_is_refused_at_the_start(make_gateway: MakeGateway) -> None:
    """A file system of a network's kind cannot be had in a test; the name of one in the kernel's table can."""
    gateway = make_gateway()
    table = Path("/proc/self/mounts").read_text()
    kind = re.findall(r"^\S+ / (\S+) ", table, re.MULTILINE)[-1]
    patch = (
        "import bursar.ledger.file_system as f; "
        f"f._NETWORK = frozenset({{{kind!r}, 'tmpfs', 'ext4', 'xfs', 'btrfs', 'overlay'}}); "
        "from bursar.cli import main; main()"
    )
    program = gateway.launch(command=(sys.executable, "-c", patch))
    assert program.wait() != 0
    assert "is on a network file system" in program.output
    assert "--data-dir" in program.output
    assert not (gateway.data / "pg").exists()
