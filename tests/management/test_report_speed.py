"""Reports on three million calls: each within 300 ms, and calls do not wait for them."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from bursar.oracle.serving import RunningOracle
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.migrate import migrate
from tests.gateway.running import Gateway, config_text, running_gateway
from tests.management.many_logs import DAYS, make_logs

ROWS = 3_000_000
MOST_S = 0.3
CALLS = 3000
TRIES = 5
"""The machine has other things to do: the best of them counts."""

TODAY = datetime.now(UTC).date()
SPAN = f"start_date={TODAY - timedelta(days=DAYS)}&end_date={TODAY + timedelta(days=1)}"
KEY = "7".rjust(64, "a")
REPORTS = f"""
/spend/logs
/spend/logs?{SPAN}
/spend/logs?api_key={KEY}
/spend/logs?user_id=user-7
/spend/logs?request_id=chatcmpl-777
/spend/logs/v2?{SPAN}
/spend/logs/v2?{SPAN}&page=100&page_size=100
/spend/logs/v2?{SPAN}&api_key={KEY}
/spend/logs/v2?{SPAN}&user_id=user-7
/spend/logs/v2?{SPAN}&team_id=team-7
/spend/logs/v2?{SPAN}&end_user=customer-7
/spend/logs/v2?{SPAN}&session_id=session-777
/spend/logs/v2?{SPAN}&status_filter=failure
/spend/logs/v2?{SPAN}&model=gpt-3
/spend/logs/v2?{SPAN}&model=no-such-model
/spend/logs/v2?{SPAN}&error_code=500&error_message=number+777
/spend/logs/v2?{SPAN}&sort_by=spend&min_spend=0.0009
/spend/logs/session/ui?session_id=session-777
/spend/logs/ui/chatcmpl-777
/spend/keys
/spend/users
/spend/tags?{SPAN}
/tag/summary?{SPAN}
/tag/dau
/tag/wau
/tag/mau
/global/spend
/global/spend/logs
/global/spend/keys
/global/spend/models
/global/spend/teams
/global/spend/tags?{SPAN}
/global/spend/all_tag_names
/global/spend/provider?{SPAN}
/global/spend/report?{SPAN}
/global/spend/report?{SPAN}&group_by=customer
/global/spend/report?{SPAN}&group_by=api_key
/global/activity?{SPAN}
/global/activity/model?{SPAN}
/user/daily/activity?{SPAN}&page_size=1000
/user/daily/activity?{SPAN}&page=20&page_size=1000
/user/daily/activity?{SPAN}&user_id=user-7
/user/daily/activity/aggregated?{SPAN}
/team/daily/activity?{SPAN}&page_size=1000
/tag/daily/activity?{SPAN}&page_size=1000
/organization/daily/activity?{SPAN}&page_size=1000
/customer/daily/activity?{SPAN}&page_size=1000
""".split()


@pytest.fixture
async def full(postgres_server: EmbeddedPostgres, oracle: RunningOracle, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose database holds so many rows."""
    name = f"many{uuid4().hex}"
    admin = await asyncpg.connect(postgres_server.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(postgres_server.url(name))
    await migrate(connection, lambda _: None)
    await make_logs(connection, ROWS)
    await connection.close()
    config = config_text(oracle.base_url, settings="bursar_settings: {audit_interval_s: 0}")
    async with running_gateway(config, database_url=postgres_server.url(name), directory=tmp_path) as gateway:
        yield gateway
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.mark.long
async def test_reports_are_fast_and_calls_do_not_wait_for_them(full: Gateway) -> None:
    slow: dict[str, float] = {}
    for path in REPORTS:
        tries = []
        for _ in range(TRIES):
            began = time.perf_counter()
            answer = await full.request("GET", path)
            tries.append(time.perf_counter() - began)
            assert answer.status == 200, (path, answer.body)
        print(f"{min(tries) * 1000:6.0f} ms  {path}")
        if min(tries) > MOST_S:
            slow[path] = min(tries)
    assert slow == {}

    async def calls(number: int) -> list[float]:
        found = []
        for _ in range(number):
            began = time.perf_counter()
            assert (await full.chat("at/tokens=1")).status == 200
            found.append(time.perf_counter() - began)
        return sorted(found)

    alone = await calls(CALLS)
    ended, made = asyncio.Event(), 0

    async def reports() -> None:
        nonlocal made
        while not ended.is_set():
            made += 1
            await full.request("GET", f"/spend/logs/v2?{SPAN}&team_id=team-7")

    reading = [asyncio.create_task(reports()) for _ in range(4)]
    beside = await calls(CALLS)
    ended.set()
    await asyncio.gather(*reading)
    print(f"a call: {alone[CALLS // 2] * 1000:.1f} ms alone, {beside[CALLS // 2] * 1000:.1f} ms beside {made} reports")
    # The median: the test's own client shares the process, and has the reports' answers to read.
    assert made > 10
    assert beside[CALLS // 2] < alone[CALLS // 2] + 0.005
