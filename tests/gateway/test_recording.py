"""What cannot be recorded as safely as is configured is not sent; and it passes by itself."""

import asyncio
import socket
from pathlib import Path

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway, config_text, running_gateway
from tests.ledger.journals import fill, mounted
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S

BEFORE_DATABASE = "bursar_settings: {durability: database}"


def assert_refused(answer: Answer) -> None:
    """In the envelope that clients know, who try again by themselves."""
    assert answer.status == 503
    assert answer.json["error"]["type"] == "service_unavailable"
    assert "cannot record calls" in answer.json["error"]["message"]
    assert int(answer.headers["retry-after"]) >= 1


async def until_served(gateway: Gateway) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.chat()).status != 200:
            await asyncio.sleep(0.02)


async def test_a_full_disk(start_gateway: StartGateway, oracle: RunningOracle, books: Books, tmp_path: Path) -> None:
    with mounted(tmp_path / "journal", "-o", "size=2m") as disk:
        gateway = await start_gateway()
        assert (await gateway.chat()).status == 200
        running = asyncio.ensure_future(gateway.stream("at/tokens=40&delay_ms=20&burst=1"))
        async with asyncio.timeout(PATIENCE_S):
            while not await books.fetch("SELECT FROM bursar.entries WHERE kind = 'open'"):
                await asyncio.sleep(0.01)
        filler = fill(disk)
        answers = [await gateway.chat() for _ in range(200)]
        served = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status != 200]
        for answer in refused:
            assert_refused(answer)
        assert len(refused) > 20, "the room that was set aside before lets some pass"
        assert (await running).body.endswith(b"data: [DONE]\n\n")
        assert len(oracle.bill()) == 2 + len(served)
        filler.unlink()
        await until_served(gateway)
        await books.posted()
        assert await books.cost_nano_usd() == sum(line.cost_nano_usd for line in oracle.bill())
        assert await books.fetch(UNENDED) == []


UNENDED = (
    "SELECT attempt_id FROM bursar.entries AS o WHERE kind = 'open' AND NOT EXISTS (SELECT FROM bursar.entries AS e"
    " WHERE e.attempt_id = o.attempt_id AND e.kind IN ('settle', 'void'))"
)


async def test_in_the_database_before_it_is_sent(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books
) -> None:
    gateway = await start_gateway(settings=BEFORE_DATABASE)
    running = asyncio.ensure_future(gateway.stream("at/tokens=40&delay_ms=20&burst=1"))
    async with asyncio.timeout(PATIENCE_S):
        while not oracle.requests:
            await asyncio.sleep(0)
    assert len(await books.fetch("SELECT FROM bursar.entries WHERE kind = 'open'")) == 1
    assert (await running).status == 200
    answers = await asyncio.gather(*[gateway.chat("at/tokens=3") for _ in range(40)])
    assert {answer.status for answer in answers} == {200}
    assert len(await books.rows()) == 41


async def test_without_the_database_nothing_is_sent(oracle: RunningOracle, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"postgresql://bursar@127.0.0.1:{sock.getsockname()[1]}/bursar"
    config = config_text(oracle.base_url, settings=BEFORE_DATABASE)
    async with running_gateway(config, database_url=url, directory=tmp_path) as gateway:
        for _ in range(3):
            assert_refused(await gateway.chat())
        readiness = await gateway.request("GET", "/health/readiness", key=None)
        assert readiness.status == 200
    assert not oracle.requests


async def test_what_was_promised_in_vain_is_void(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books
) -> None:
    """The database is mended: what was on record, and not in it in time, is posted together with its end."""
    gateway = await start_gateway(settings=BEFORE_DATABASE)
    await books.fetch("ALTER TABLE bursar.entries RENAME TO gone")
    try:
        assert_refused(await gateway.chat())
    finally:
        await books.fetch("ALTER TABLE bursar.gone RENAME TO entries")
    await until_served(gateway)
    assert len(oracle.bill()) == 1
    await books.posted()
    assert await books.fetch(UNENDED) == []
    assert (await books.kinds()).count("void") >= 1


@pytest.mark.parametrize("calls", [1, 50])
async def test_on_the_disk_before_it_is_sent(start_gateway: StartGateway, books: Books, calls: int) -> None:
    gateway = await start_gateway(settings="bursar_settings: {durability: power}")
    answers = await asyncio.gather(*[gateway.chat("at/tokens=3") for _ in range(calls)])
    streams = await asyncio.gather(*[gateway.stream("at/tokens=3") for _ in range(calls)])
    assert {answer.status for answer in (*answers, *streams)} == {200}
    assert len(await books.rows()) == 2 * calls
