"""kill -9 of a worker at every step of a call, whatever the database and the disk are doing: nothing is lost or booked
twice.

One gateway for each number of workers and state of the database; its workers die one after the other at every point.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.ledger.journals import fill, mounted
from tests.process.caller import load
from tests.process.calls import PACED, PLAIN, STREAM, Kind
from tests.process.checks import check_after_deaths
from tests.process.crashing import POINTS, Trap
from tests.process.gateway import EVERYTHING, Gateway, MakeGateway, Oracle
from tests.process.process_table import signal_all

BUDGET = EVERYTHING + "litellm_settings: {max_budget: 100000}\n"
"""Every call holds something: of the whole gateway's budget."""
CRASHING = (sys.executable, "-m", "tests.process.crashing")
ROOT = Path(__file__).parent.parent.parent
NEEDS_THE_DATABASE = {"in the transaction", "before its acknowledgement"}
STATES = ("up", "stopped", "restarting", "read-only", "frozen", "disk full")
ENDS = {"mid stream", "after the last byte", "before the end", "after the end"}
REACHABLE = {"up": set(POINTS), "restarting": set(POINTS), "disk full": {"before open", *ENDS}}
"""In the other states, everything that does not need the database. On a full disk calls are refused before anything is
sent; those that were under way end as ever, for which `SLOW` ones are there."""
SLOW = Kind("slow", "oracle?tokens=10&delay_ms=80", stream=True, members=PACED.members)
_FROZEN_S = 2.0
_DISK = "size=32m,mode=0700"


async def set_read_only(server: EmbeddedPostgres, on: bool) -> None:
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


@asynccontextmanager
async def in_state(state: str, server: EmbeddedPostgres, directory: Path, disk: Path | None) -> AsyncIterator[None]:
    """The database and the journals' disk as `state` says for as long as the block lasts, and well again after it."""
    filler: Path | None = None
    restart: asyncio.Task[None] | None = None
    began_s = asyncio.get_running_loop().time()
    match state:
        case "disk full":
            assert disk is not None
            filler = await asyncio.to_thread(fill, disk)
        case "stopped":
            await asyncio.to_thread(server.stop)
        case "read-only":
            await set_read_only(server, True)
        case "frozen":
            for _ in range(2):
                signal_all(directory, signal.SIGSTOP)
        case "restarting":
            restart = asyncio.create_task(asyncio.to_thread(restarted, server))
            await until(lambda: not server.running, 10.0)
    try:
        yield
    finally:
        match state:
            case "disk full":
                assert filler is not None
                filler.unlink()
            case "stopped":
                await asyncio.to_thread(server.start, print)
            case "read-only":
                await set_read_only(server, False)
            case "frozen":
                await asyncio.sleep(began_s + _FROZEN_S - asyncio.get_running_loop().time())
                signal_all(directory, signal.SIGCONT)
            case "restarting":
                assert restart is not None
                await restart


def restarted(server: EmbeddedPostgres) -> None:
    server.stop()
    server.start(print)


async def until(happened: Callable[[], bool], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            while not happened():
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False
    return True


async def survive(
    rounds: int,
    workers: int,
    state: str,
    oracle: Oracle,
    make_gateway: MakeGateway,
    server: EmbeddedPostgres,
    place: Path,
) -> None:
    trap = Trap(place / "trap")
    environ = {"DATABASE_URL": server.url("postgres"), "CRASH_POINT": str(trap.path), "PYTHONPATH": str(ROOT)}
    gateway = make_gateway("--workers", str(workers), oracle=oracle, config=BUDGET, environ=environ)
    with ExitStack() as stack:
        disk = None
        if state == "disk full":
            disk = stack.enter_context(mounted(gateway.data / "journal", "-o", _DISK))
        gateway.start(command=CRASHING)
        deaths = await kill_at_every_point(rounds, state, gateway, trap, oracle, server, place, disk)
        assert gateway.stop() == 0
    print(f"{deaths} kills, {workers} workers, {state}")


async def kill_at_every_point(
    rounds: int,
    state: str,
    gateway: Gateway,
    trap: Trap,
    oracle: Oracle,
    server: EmbeddedPostgres,
    place: Path,
    disk: Path | None,
) -> int:
    """How many died."""
    deaths = 0
    async with load(
        gateway.port, gateway.key, [*([[PLAIN]] * 3), *([[STREAM]] * 2), *([[PACED]] * 3), *([[SLOW]] * 3)]
    ) as clients:
        await clients.until(answered=30)
        for _ in range(rounds):
            for point in POINTS:
                async with in_state(state, server, place / "server", disk):
                    trap.arm(point)
                    reachable = point in REACHABLE.get(state, set(POINTS) - NEEDS_THE_DATABASE)
                    sprung = await until(lambda: trap.sprung, 10.0 if reachable else 0.3)
                assert sprung or not reachable, f"nobody got to the point {point!r}: {state}"
                sprung = sprung or await until(lambda: trap.sprung, 10.0)
                assert sprung, f"nobody got to the point {point!r} after: {state}"
                deaths += 1
                await asyncio.to_thread(gateway.program.wait_for, "worker.died name=worker", times=deaths)
                await clients.until(answered=30)  # so that enough is granted for a while without the database
    books = await check_after_deaths(gateway, oracle, clients.received)
    assert [row for row in books.rows if row.evidence == "estimated" and row.hold_nano_usd is None] == []
    return deaths


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("workers", [1, 2])
async def test_at_every_point(
    workers: int, state: str, oracle: Oracle, make_gateway: MakeGateway, database: EmbeddedPostgres, place: Path
) -> None:
    await survive(2, workers, state, oracle, make_gateway, database, place)


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_hundred_times_each(
    workers: int, state: str, oracle: Oracle, make_gateway: MakeGateway, database: EmbeddedPostgres, place: Path
) -> None:
    await survive(12, workers, state, oracle, make_gateway, database, place)
