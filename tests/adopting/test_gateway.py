"""The gateway on a database that it took over: keys work, budgets hold where LiteLLM left them, counters go on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bursar.oracle.serving import RunningOracle
from bursar.store.adopt import adopt, inspect
from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.adopting.litellm import KEYS, fingerprint, hash_of
from tests.gateway.conftest import oracle
from tests.gateway.running import Books, Gateway, config_text, running_gateway

__all__ = ["oracle"]

DOLLAR = """
- model_name: dollar
  litellm_params:
    model: openai/oracle?tokens=100
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.01
"""
"""A call costs a dollar, and is known to: two fit into what is left of 10 USD after 7.50."""


@pytest.fixture
async def adopted_url(litellm_url: str) -> str:
    """URL of a database that was taken over."""
    connection = await asyncpg.connect(litellm_url)
    assert await adopt(connection, lambda _done, _steps, _name: None)
    await connection.close()
    return litellm_url


@pytest.fixture
async def books(adopted_url: str, tmp_path: Path) -> AsyncIterator[Books]:
    looking = Books(adopted_url, tmp_path / "journal")
    yield looking
    await looking.close()


@pytest.fixture
async def gateway(oracle: RunningOracle, adopted_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    config = config_text(oracle.base_url, models=DOLLAR)
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as running:
        yield running


async def spend(gateway: Gateway, key: str, **members: Any) -> list[int]:
    """Statuses of four calls, one after the other."""
    return [(await gateway.chat("dollar", key=KEYS[key], max_tokens=100, **members)).status for _ in range(4)]


@pytest.mark.parametrize(
    ("key", "members", "spent"),
    [
        ("own", {}, "SELECT spend FROM \"LiteLLM_VerificationToken\" WHERE key_alias = 'own'"),
        ("shared", {}, "SELECT spend FROM \"LiteLLM_VerificationToken\" WHERE key_alias = 'shared'"),
        ("ever", {}, "SELECT spend FROM \"LiteLLM_VerificationToken\" WHERE key_alias = 'ever'"),
        ("user", {}, "SELECT spend FROM \"LiteLLM_UserTable\" WHERE user_id = 'alice'"),
        ("team", {}, "SELECT spend FROM \"LiteLLM_TeamTable\" WHERE team_id = 'red'"),
        ("member", {}, "SELECT spend FROM \"LiteLLM_TeamMembership\" WHERE user_id = 'bob'"),
        ("organization", {}, "SELECT spend FROM \"LiteLLM_OrganizationTable\" WHERE organization_id = 'acme'"),
        ("free", {"user": "customer"}, "SELECT spend FROM \"LiteLLM_EndUserTable\" WHERE user_id = 'customer'"),
        (
            "free",
            {"metadata": {"tags": ["production"]}},
            "SELECT spend FROM \"LiteLLM_TagTable\" WHERE tag_name = 'production'",
        ),
    ],
)
async def test_what_litellm_had_spent_is_spent(
    key: str, members: dict[str, object], spent: str, gateway: Gateway, books: Books, adopted_url: str
) -> None:
    assert await spend(gateway, key, **members) == [200, 200, 422, 422]
    await books.posted()
    assert (await books.fetch(spent))[0]["spend"] == 9.5
    await check_closes(adopted_url)


async def check_closes(url: str) -> None:
    database = Database(DatabaseOptions({"dsn": url}))
    found = await audit(database)
    await database.close()
    assert found.closes, found.as_text()


async def test_the_refusal_says_what_was_spent(gateway: Gateway) -> None:
    answer = await gateway.chat("dollar", key=KEYS["own"], max_tokens=300)
    assert answer.status == 422
    assert "Current cost: 7.5, Max budget: 10" in answer.json["error"]["message"]


async def test_a_period_that_ended_under_litellm_begins_anew(gateway: Gateway, books: Books) -> None:
    assert await spend(gateway, "stale") == [200] * 4
    await books.posted()
    query = (
        'SELECT spend, total_spend, budget_reset_at > now() AS runs FROM "LiteLLM_VerificationToken" WHERE token = $1'
    )
    async with asyncio.timeout(30):  # the sweeper comes by
        while not (row := (await books.fetch(query, hash_of("stale")))[0])["runs"]:
            await asyncio.sleep(0.1)
    assert (row["spend"], row["total_spend"]) == (4, 11.5)


async def test_the_budget_of_everything_goes_on(oracle: RunningOracle, adopted_url: str, tmp_path: Path) -> None:
    settings = "litellm_settings: {max_budget: 10, budget_duration: 30d}"
    config = config_text(oracle.base_url, models=DOLLAR, settings=settings)
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as gateway:
        assert await spend(gateway, "free") == [200, 200, 422, 422]


async def test_blocked_and_expired_keys_stay_so(gateway: Gateway) -> None:
    assert await spend(gateway, "blocked") == [401] * 4
    assert await spend(gateway, "expired") == [401] * 4


async def test_counters_days_and_rows_go_on(gateway: Gateway, books: Books, adopted_url: str) -> None:
    connection = await asyncpg.connect(adopted_url)
    objects = await fingerprint(connection, rows=False)
    before = (await books.fetch(_TOTALS))[0]
    assert await spend(gateway, "team") == [200, 200, 422, 422]
    assert await spend(gateway, "free") == [200] * 4
    await books.posted()
    after = (await books.fetch(_TOTALS))[0]
    grown = {name: after[name] - before[name] for name in before}
    assert grown == {"keys": 6, "users": 6, "teams": 6, "logged": 6, "rows": 8, "requests": 8}
    assert await fingerprint(connection, rows=False) == objects
    assert await connection.fetchval('SELECT sum(spend) FROM "MonthlyGlobalSpend"') == after["logged"]
    await connection.close()
    await check_closes(adopted_url)


_TOTALS = """
SELECT (SELECT round(sum(total_spend)::numeric, 6) FROM "LiteLLM_VerificationToken") AS keys,
    (SELECT sum(spend) FROM "LiteLLM_DailyUserSpend") AS users,
    (SELECT sum(spend) FROM "LiteLLM_DailyTeamSpend") AS teams,
    (SELECT sum(spend) FROM "LiteLLM_SpendLogs") AS logged, (SELECT count(*) FROM "LiteLLM_SpendLogs") AS rows,
    (SELECT sum(api_requests) FROM "LiteLLM_DailyUserSpend") AS requests
"""


_LITELLM_SERVES = """
UPDATE "LiteLLM_VerificationToken" SET spend = spend + 1, total_spend = total_spend + 1
WHERE key_alias IN ('own', 'ever');
UPDATE "LiteLLM_DailyUserSpend" SET spend = spend + 2 WHERE id = (
    SELECT min(id) FROM "LiteLLM_DailyUserSpend" WHERE user_id = '' AND date = to_char(now(), 'YYYY-MM-DD')
);
"""


async def test_switched_back_and_forth(oracle: RunningOracle, adopted_url: str, tmp_path: Path) -> None:
    """LiteLLM serves for a while on books that are ours as well: what it spends is taken over by adopting again."""
    config = config_text(oracle.base_url, models=DOLLAR)
    connection = await asyncpg.connect(adopted_url)
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as gateway:
        for key in ("own", "shared"):
            assert (await gateway.chat("dollar", key=KEYS[key], max_tokens=100)).status == 200
    await connection.execute(_LITELLM_SERVES)
    before = await fingerprint(connection)
    database = Database(DatabaseOptions({"dsn": adopted_url}))
    assert {d.check for d in (await audit(database)).differences} == {"keys", "days of users"}
    for _ in range(2):
        assert await adopt(connection, lambda _done, _steps, _name: None, again=True)
        await check_closes(adopted_url)
    await database.close()
    assert await fingerprint(connection) == before
    assert await connection.fetchval("SELECT count(*) FROM bursar.adoptions") == 3
    await connection.close()
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as gateway:
        assert await spend(gateway, "own") == [422] * 4  # 7.5 of old, 1 of ours, 1 of LiteLLM's
        assert await spend(gateway, "shared") == [200, 422, 422, 422]
        assert await spend(gateway, "ever") == [200, 422, 422, 422]
    await check_closes(adopted_url)


_LITELLM_SETS_BACK = """
UPDATE "LiteLLM_VerificationToken" SET spend = 1 WHERE key_alias IN ('own', 'ever');
UPDATE "LiteLLM_VerificationToken" SET spend = 0 WHERE key_alias = 'shared';
UPDATE "LiteLLM_UserTable" SET spend = 9 WHERE user_id = 'alice';
UPDATE "LiteLLM_TeamTable" SET spend = 0;
UPDATE "LiteLLM_TeamMembership" SET spend = 0.5;
UPDATE "LiteLLM_OrganizationTable" SET spend = 0.5;
UPDATE "LiteLLM_EndUserTable" SET spend = 0.5;
UPDATE "LiteLLM_TagTable" SET spend = 0.5;
"""


async def test_what_litellm_sets_back_is_free_again(oracle: RunningOracle, adopted_url: str, tmp_path: Path) -> None:
    """As its `/global/spend/reset` and its like do, with budgets used up: they end where the report says they are."""
    config = config_text(oracle.base_url, models=DOLLAR)
    connection = await asyncpg.connect(adopted_url)
    customer: dict[str, Any] = {"user": "customer"}
    tag: dict[str, Any] = {"metadata": {"tags": ["production"]}}
    spenders: list[tuple[str, dict[str, Any], int]] = [
        ("own", {}, 9),
        ("shared", {}, 10),
        ("ever", {}, 9),
        ("user", {}, 1),
        ("team", {}, 10),
        ("member", {}, 9),
        ("organization", {}, 9),
        ("free", customer, 9),
        ("free", tag, 9),
    ]
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as gateway:
        for key, members, _ in spenders:
            assert await spend(gateway, key, **members) == [200, 200, 422, 422]
    await connection.execute(_LITELLM_SETS_BACK)
    reported = await inspect(connection)
    for _ in range(2):
        assert await adopt(connection, lambda _done, _steps, _name: None, again=True)
        await check_closes(adopted_url)
        windows = await connection.fetch(
            "SELECT scope_kind, sum(spent_nano_usd)::bigint AS spent FROM bursar.windows WHERE ends_at > now() "
            "AND scope_kind <> 'gateway' GROUP BY 1"
        )
        told = {kind.kind: kind.spend_nano_usd for kind in reported.budgets if kind.kind != "gateway"}
        assert {row["scope_kind"]: row["spent"] for row in windows} == told
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as gateway:
        for key, members, left in spenders:
            calls = [await gateway.chat("dollar", key=KEYS[key], max_tokens=100, **members) for _ in range(left + 1)]
            assert [answer.status for answer in calls] == [200] * left + [422], (key, members)
    await connection.close()
    await check_closes(adopted_url)


async def test_the_budget_of_everything_has_what_both_spent(
    oracle: RunningOracle, adopted_url: str, tmp_path: Path
) -> None:
    """LiteLLM's row has only its own part."""
    settings = "litellm_settings: {max_budget: 10, budget_duration: 30d}"
    config = config_text(oracle.base_url, models=DOLLAR, settings=settings)
    connection = await asyncpg.connect(adopted_url)
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as gateway:
        assert (await gateway.chat("dollar", key=KEYS["free"], max_tokens=100)).status == 200
    litellms = "UPDATE \"LiteLLM_UserTable\" SET spend = $1 WHERE user_id = 'litellm-proxy-budget'"
    window = "SELECT spent_nano_usd FROM bursar.windows WHERE scope_kind = 'gateway' AND ends_at > now()"
    for theirs, both in ((8.0, 9), (0.0, 1), (7.5, 8.5)):
        await connection.execute(litellms, theirs)
        [told] = [kind for kind in (await inspect(connection)).budgets if kind.kind == "gateway"]
        assert await adopt(connection, lambda _done, _steps, _name: None, again=True)
        assert await connection.fetchval(window) == both * 1e9 == told.spend_nano_usd
        await check_closes(adopted_url)
    async with running_gateway(config, database_url=adopted_url, directory=tmp_path) as gateway:
        assert await spend(gateway, "free") == [200, 422, 422, 422]
    await connection.close()
