"""Taking over a database of some size: 100,000 keys, a million log rows."""

import time
from pathlib import Path
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from bursar.store.adopt import adopt, inspect
from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.adopting.test_gateway import DOLLAR
from tests.gateway.conftest import oracle
from tests.gateway.running import config_text, running_gateway

__all__ = ["oracle"]

pytestmark = pytest.mark.long

KEYS = 100_000
MOST_S = 60.0
_ROWS = (Path(__file__).parent / "large_rows.sql").read_text(encoding="utf-8")
_TOTALS = """
SELECT (SELECT round(sum(total_spend)::numeric, 3) FROM "LiteLLM_VerificationToken") AS keys,
    (SELECT sum(spend) FROM "LiteLLM_SpendLogs") AS logged,
    (SELECT sum(spend) FROM "LiteLLM_DailyUserSpend") AS users,
    (SELECT sum(spend) FROM "LiteLLM_DailyTeamSpend") AS teams
"""


async def test_a_large_database(connection: Any, litellm_url: str, oracle: RunningOracle, tmp_path: Path) -> None:
    await connection.execute(_ROWS.replace("<keys>", str(KEYS)))
    before = await connection.fetchrow(_TOTALS)
    began = time.monotonic()
    found = await inspect(connection)
    looked_s = time.monotonic() - began
    assert await adopt(connection, lambda _done, _steps, _name: None)
    took_s = time.monotonic() - began
    print(f"looked at in {looked_s:.1f} s, taken over in {took_s - looked_s:.1f} s")
    assert found.keys.total == KEYS + 11
    assert next(table.rows for table in found.tables if table.name == "LiteLLM_SpendLogs") == 10 * KEYS + 154
    assert took_s <= MOST_S
    assert not await adopt(connection, lambda _done, _steps, _name: None)
    assert await connection.fetchrow(_TOTALS) == before
    config = config_text(oracle.base_url, models=DOLLAR)
    async with running_gateway(config, database_url=litellm_url, directory=tmp_path) as gateway:
        for key in ("sk-large-1", f"sk-large-{KEYS}"):
            statuses = [(await gateway.chat("dollar", key=key, max_tokens=100)).status for _ in range(3)]
            assert statuses == [200, 200, 422]
    database = Database(DatabaseOptions({"dsn": litellm_url}))
    began = time.monotonic()
    books = await audit(database)
    print(f"audited in {time.monotonic() - began:.1f} s")
    await database.close()
    assert books.closes, books.as_text()
    after = await connection.fetchrow(_TOTALS)
    assert [after[n] - before[n] for n in range(4)] == [4] * 4
