"""Without its database the gateway goes on: calls are made and kept in the journal, and posted when it is back."""

import asyncio
import socket
from pathlib import Path

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.running import Books, Gateway, config_text, running_gateway
from tests.patience import PATIENCE_S


async def test_from_the_start(oracle: RunningOracle, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"postgresql://bursar@127.0.0.1:{sock.getsockname()[1]}/bursar"
    async with running_gateway(config_text(oracle.base_url), database_url=url, directory=tmp_path) as gateway:
        assert (await gateway.chat()).status == 200
        readiness = await gateway.request("GET", "/health/readiness", key=None)
        assert (readiness.status, readiness.json) == (200, {"status": "healthy", "db": "Not connected"})
        unseen = await gateway.chat(key="sk-never-seen-00000000")
        assert (unseen.status, unseen.json["error"]["type"]) == (503, "no_db_connection")
        assert int(unseen.headers["retry-after"]) >= 1
        for path in ("/key/generate", "/key/delete"):
            answer = await gateway.request("POST", path, {"keys": ["sk-x"]})
            assert (answer.status, answer.json["error"]["type"]) == (503, "no_db_connection")


async def test_in_between(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """Its connections are cut again and again: everything is posted, once."""
    key = await gateway.new_key()
    for _ in range(5):
        assert (await gateway.chat("at/tokens=1", key=key)).status == 200
        await books.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        assert (await gateway.chat("at/tokens=2", key=key)).status == 200
    rows = await books.rows()
    assert len(rows) == 10
    assert await books.cost_nano_usd() == sum(line.cost_nano_usd for line in oracle.bill())
    assert not await books.fetch("SELECT FROM bursar.quarantine")


async def test_a_database_that_is_not_as_it_should_be(
    gateway: Gateway, books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    """A table is missing: said in the log, kept in the journal, and posted once somebody has mended it."""
    await books.fetch('ALTER TABLE "LiteLLM_SpendLogs" RENAME TO gone')
    try:
        assert (await gateway.chat()).status == 200
        async with asyncio.timeout(PATIENCE_S):
            while "ledger.posting_failed" not in caplog.text:
                await asyncio.sleep(0.02)
    finally:
        await books.fetch('ALTER TABLE gone RENAME TO "LiteLLM_SpendLogs"')
    assert (await books.row())["status"] == "success"
