"""What must not happen, and does: a process that is frozen until it is declared lost, and wakes up; a database that is
restored to an earlier state under load."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.process.caller import call_all, load
from tests.process.calls import PACED, PLAIN, STREAM, Kind
from tests.process.checks import check_after_deaths, until_served
from tests.process.gateway import Gateway, MakeGateway, Oracle
from tests.process.process_table import Process
from tests.process.program import BURSAR, clean_environment
from tests.process.test_budgets import new_key

BOUNDED = Kind("bounded", "oracle?tokens=100", members={"max_tokens": 100})
NANO = 10**9
_SILENT_S = 120.0
"""Who has shown no life for so long may be declared lost without insisting."""


def bursar(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on the gateway's books."""
    return subprocess.run(
        [*BURSAR, *arguments],
        env=clean_environment() | {"DATABASE_URL": gateway.database_url()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def instance_of(worker: Process) -> UUID:
    """Whose journal it holds."""
    for link in Path(f"/proc/{worker.pid}/fd").iterdir():
        target = Path(os.readlink(link))
        if target.parent.parent.name == "journal":
            return UUID(target.parent.name)
    raise AssertionError(f"{worker} has no journal open")


async def busiest(gateway: Gateway) -> Process:
    """The worker that has booked most, as soon as one has. The kernel may give all connections to one, and another has
    then nothing to inherit."""
    connection = await asyncpg.connect(gateway.database_url())
    try:
        async with asyncio.timeout(30):
            while not (rows := await connection.fetch("SELECT * FROM bursar.journals WHERE posted_sequence > 0")):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()
    booked = {row["journal_id"]: row["posted_sequence"] for row in rows}
    return max(gateway.workers(), key=lambda worker: booked.get(instance_of(worker), 0))


async def test_a_frozen_worker_is_declared_lost_and_wakes_up(oracle: Oracle, make_gateway: MakeGateway) -> None:
    await frozen_for(3.0, oracle, make_gateway)  # longer than a call waits for budget


@pytest.mark.long
async def test_a_worker_frozen_for_long_is_declared_lost_and_wakes_up(
    oracle: Oracle, make_gateway: MakeGateway
) -> None:
    await frozen_for(130.0, oracle, make_gateway)  # longer than every deadline


async def frozen_for(seconds: float, oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway("--workers", "2", oracle=oracle, environ={"LITELLM_LOG": "INFO"})
    gateway.start()
    key = await new_key(gateway, 5.0)
    async with load(gateway.port, key, [[PLAIN], [STREAM], [PACED]] * 6) as clients:
        await clients.until(answered=100)
        frozen = await busiest(gateway)
        lost = instance_of(frozen)
        frozen.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        said = await asyncio.to_thread(bursar, gateway, "ledger", "declare-lost", str(lost), "--yes")
        if seconds < _SILENT_S:
            assert said.returncode == 1
            assert "it seems to live" in said.stderr
            said = await asyncio.to_thread(bursar, gateway, "ledger", "declare-lost", str(lost), "--yes", "--force")
        assert said.returncode == 0, said.stderr
        assert f"{lost} is declared lost: " in said.stdout
        frozen.signal(signal.SIGCONT)
        await asyncio.to_thread(gateway.program.wait_for, "journal.adopted")
        await clients.until(answered=100)
    await until_served(gateway, PLAIN)
    assert len(gateway.workers()) == 2
    await check_after_deaths(gateway, oracle, clients.received)
    verified = await asyncio.to_thread(bursar, gateway, "ledger", "verify")
    assert verified.returncode == 0, verified.stdout
    assert f"instance {lost} on " in verified.stdout
    assert gateway.stop() == 0
    await check_nothing_is_stranded(gateway)


async def check_nothing_is_stranded(gateway: Gateway) -> None:
    """When everybody has ended, what is leased of budgets is what is spent."""
    gateway.start()
    try:
        connection = await asyncpg.connect(gateway.database_url())
        try:
            async with asyncio.timeout(30):
                while await connection.fetchval("SELECT sum(leased_nano_usd - spent_nano_usd) FROM bursar.windows"):
                    await asyncio.sleep(0.1)
        finally:
            await connection.close()
    finally:
        assert gateway.stop() == 0


async def leased(url: str, limit: float) -> int:
    """Of the only budget with this limit."""
    connection = await asyncpg.connect(url)
    try:
        [row] = await connection.fetch(
            "SELECT leased_nano_usd FROM bursar.windows WHERE limit_nano_usd = $1", int(limit * NANO)
        )
        return int(row["leased_nano_usd"])
    finally:
        await connection.close()


async def test_a_database_is_restored_to_a_moment_ago(oracle: Oracle, make_gateway: MakeGateway, place: Path) -> None:
    await restored_to(1.0, oracle, make_gateway, place)


@pytest.mark.long
async def test_a_database_is_restored_to_a_minute_ago(oracle: Oracle, make_gateway: MakeGateway, place: Path) -> None:
    await restored_to(60.0, oracle, make_gateway, place)


async def restored_to(seconds: float, oracle: Oracle, make_gateway: MakeGateway, place: Path) -> None:
    """Under load. What was leased since may be spent twice, no more; what was booked since is booked again, once."""
    directory = place / "server"
    directory.mkdir()
    directory.chmod(0o711)
    server = EmbeddedPostgres(directory)
    server.start(lambda _: None)
    url = server.url("postgres")
    gateway = make_gateway("--workers", "2", oracle=oracle, environ={"DATABASE_URL": url, "LITELLM_LOG": "INFO"})
    try:
        gateway.start()
        limit = 0.2  # about 450 calls
        key, plain = await new_key(gateway, limit), await new_key(gateway, 1000.0)
        await asyncio.sleep(0.5)
        first = await call_all(gateway.port, key, [BOUNDED] * 50, concurrency=4)
        assert all(call.answered for call in first)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.stop)
        shutil.copytree(directory / "pg", directory / "backup")
        await asyncio.to_thread(server.start, print)
        before = await leased(url, limit)
        async with load(gateway.port, plain, [[PLAIN], [STREAM]]) as others:
            await asyncio.sleep(seconds / 2)
            more = await call_all(gateway.port, key, [BOUNDED] * 150, concurrency=4)
            await others.until(answered=100)
            await asyncio.sleep(seconds / 2)
            forgotten = await leased(url, limit) - before
            await asyncio.to_thread(server.stop)
            shutil.rmtree(directory / "pg")
            (directory / "backup").rename(directory / "pg")
            await asyncio.to_thread(server.start, print)
            rest = await call_all(gateway.port, key, [BOUNDED] * 600, concurrency=8)
            await others.until(answered=20)
        assert sum(call.status == 422 for call in rest) > 50, "the budget is used up in the end"
        received = [*first, *more, *rest, *others.received]
        await check_after_deaths(gateway, oracle, received)
        ours = {call.mark for call in (*first, *more, *rest)}
        spent = sum(line.cost_nano_usd for line in oracle.bill() if line.attempt in ours)
        assert spent <= limit * NANO + forgotten
        verified = await asyncio.to_thread(bursar, gateway, "ledger", "verify", "--json")
        found = json.loads(verified.stdout)
        assert found["closes"], found
        assert any("it was restored to an earlier state" in note for note in found["notes"]), found["notes"]
        print(f"spent {spent / NANO} of {limit}; {forgotten / NANO} leased since")
        assert gateway.stop() == 0
    finally:
        server.stop()
