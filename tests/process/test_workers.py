"""Workers, the demo's upstream and the embedded database, killed one by one: replaced, and nothing lost."""

import re
import signal

import pytest

from tests.process.caller import load
from tests.process.calls import PACED, PLAIN, STREAM
from tests.process.checks import check_after_deaths, check_books, until_served
from tests.process.gateway import MakeGateway, Oracle


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_killed_worker_is_replaced(workers: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway("--workers", str(workers), oracle=oracle, environ={"LITELLM_LOG": "INFO"})
    gateway.start()
    async with load(gateway.port, gateway.key, [[PLAIN], [STREAM], [PACED]] * 6) as clients:
        await clients.until(answered=100)
        gateway.workers()[0].signal(signal.SIGKILL)
        gateway.program.wait_for("worker.died name=worker")
        gateway.program.wait_for("journal.adopted")
        if workers == 2:
            await clients.until(answered=100)  # the other one never stopped
    await until_served(gateway, PLAIN)
    assert len(gateway.workers()) == workers
    await check_after_deaths(gateway, oracle, clients.received)
    assert gateway.stop() == 0


async def test_a_worker_that_cannot_start_is_not_started_without_pause(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.start()
    journals = gateway.data / "journal"
    journals.rename(gateway.data / "elsewhere")
    journals.touch()
    gateway.workers()[0].signal(signal.SIGKILL)
    gateway.program.wait_for("worker.died name=worker", times=4)
    pauses = [float(pause) for pause in re.findall(r"worker\.died .* next_in_s=([\d.]+)", gateway.program.output)]
    assert pauses == sorted(pauses)
    assert pauses[3] >= 1
    journals.unlink()
    (gateway.data / "elsewhere").rename(journals)
    await until_served(gateway)
    assert gateway.stop() == 0


async def test_a_killed_demo_is_replaced(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.start()
    await until_served(gateway)
    gateway.workers()[-1].signal(signal.SIGKILL)
    gateway.program.wait_for("worker.died name=demo upstream")
    await until_served(gateway)
    assert gateway.stop() == 0


@pytest.mark.parametrize("whole", [True, False], ids=["server", "connection"])
async def test_a_killed_database_is_started_again(whole: bool, oracle: Oracle, make_gateway: MakeGateway) -> None:
    """The server itself, or one of its processes, after which it recovers by itself."""
    gateway = make_gateway(oracle=oracle)
    gateway.start()
    async with load(gateway.port, gateway.key, [[PLAIN], [STREAM], [PACED]] * 4) as clients:
        await clients.until(answered=100)
        server = gateway.database()
        children = [process for process in gateway.program.family() if process.parent == server.pid]
        victim = server if whole else next(process for process in children if "bursar bursar" in process.command)
        victim.signal(signal.SIGKILL)
        if whole:
            gateway.program.wait_for("The embedded database has ended; starting it again.")
        await clients.until(answered=200)
        gateway.program.wait_for("ledger.store_back")
    assert all(call.answered for call in clients.received[:-12])  # the last ones were broken off by the test
    await check_books(gateway, oracle, clients.received)
    assert gateway.stop() == 0
