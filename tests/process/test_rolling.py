"""Workers replaced under load (SIGUSR2): no call fails, nothing is lost, no money stays leased to nobody."""

import asyncio
import signal

import asyncpg
import pytest

from tests.process.caller import load
from tests.process.calls import PACED, PLAIN, STREAM
from tests.process.checks import check_books
from tests.process.gateway import EVERYTHING, Gateway, MakeGateway, Oracle

BUDGET = EVERYTHING + "litellm_settings: {max_budget: 1000}\n"
"""Every call is in a budget: the whole gateway's."""


async def roll(rounds: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway("--workers", "4", oracle=oracle, config=BUDGET)
    gateway.start()
    async with load(gateway.port, gateway.key, [*([[PLAIN]] * 6), *([[STREAM]] * 4), *([[PACED]] * 4)]) as clients:
        for number in range(1, rounds + 1):
            before = {worker.pid for worker in gateway.workers()}
            await clients.until(answered=50)
            gateway.program.signal(signal.SIGUSR2)
            await asyncio.to_thread(gateway.program.wait_for, "workers.rolled", times=number)
            after = {worker.pid for worker in gateway.workers()}
            assert len(after - before) == 4
        await clients.until(answered=50)
    assert [call for call in clients.received if not call.answered] == []
    await check_books(gateway, oracle, clients.received)
    url = gateway.database_url()
    await until_nothing_is_stranded(gateway, url)
    assert gateway.stop() == 0


async def until_nothing_is_stranded(gateway: Gateway, url: str) -> None:
    """Of those that are gone, everything that was granted is spent or given back."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(20):
            while await connection.fetchval(
                "SELECT EXISTS (SELECT FROM bursar.grants AS g JOIN bursar.instances AS i USING (instance_id)"
                " LEFT JOIN bursar.heartbeats AS h USING (instance_id)"
                " WHERE h.instance_id IS NULL AND (i.ended_at IS NULL OR g.leased_nano_usd <> g.spent_nano_usd))"
            ):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def test_once(oracle: Oracle, make_gateway: MakeGateway) -> None:
    await roll(1, oracle, make_gateway)


@pytest.mark.long
async def test_ten_times(oracle: Oracle, make_gateway: MakeGateway) -> None:
    await roll(10, oracle, make_gateway)
