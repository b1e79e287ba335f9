"""Setting back all that was spent: the windows still add up, whatever happens to earlier charges afterwards."""

from typing import Any
from uuid import uuid4

import pytest

from bursar.domain.audit import Actor
from bursar.store.audit import audit
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql
from bursar.store.spend_reset import PostgresSpendReset

ACTOR = Actor(api_key="litellm_proxy_master_key", user_id="default_user_id")
WINDOW, INSTANCE = uuid4(), uuid4()


async def execute(database: Database, *statements: tuple[Any, ...]) -> None:
    async with database.connection() as connection:
        for statement in statements:
            await connection.execute(*statement)


async def window(database: Database) -> dict[str, int]:
    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM bursar.windows")
        return {name: row[f"{name}_nano_usd"] for name in ("opening", "forced", "leased", "spent")}


@pytest.fixture
async def spent(database: Database) -> None:
    """A key that has spent 60 of a grant of 100, 5 before its window began and 7 without a grant."""
    await execute(
        database,
        ("INSERT INTO bursar.instances (instance_id) VALUES ($1)", INSTANCE),
        (
            """INSERT INTO bursar.windows (window_id, scope_kind, scope_id, limit_nano_usd, opening_nano_usd,
                forced_nano_usd, leased_nano_usd, spent_nano_usd) VALUES ($1, 'key', 'k', 1000, 5, 7, 112, 72)""",
            WINDOW,
        ),
        (
            """INSERT INTO bursar.grants (window_id, instance_id, leased_nano_usd, spent_nano_usd)
                VALUES ($1, $2, 100, 60)""",
            WINDOW,
            INSTANCE,
        ),
        ("""INSERT INTO "LiteLLM_VerificationToken" (token, spend, total_spend) VALUES ('k', 72e-9, 72e-9)""",),
        ("""INSERT INTO "LiteLLM_UserTable" (user_id, models, spend) VALUES ('u', '{}', 3)""",),
    )


async def windows_close(database: Database) -> bool:
    found = await audit(database)
    return not [difference for difference in found.differences if difference.check == "budget windows"]


@pytest.mark.usefixtures("spent")
async def test_what_is_held_stays_held(database: Database) -> None:
    await PostgresSpendReset(database).reset(ACTOR)
    assert await window(database) == {"opening": 5, "forced": -65, "leased": 40, "spent": 0}
    assert await windows_close(database)
    async with database.connection() as connection:
        key = await connection.fetchrow('SELECT spend, total_spend FROM "LiteLLM_VerificationToken"')
        assert tuple(key) == (0.0, 72e-9)
        assert await connection.fetchval('SELECT spend FROM "LiteLLM_UserTable"') == 3.0
    await PostgresSpendReset(database).reset(ACTOR)
    assert await window(database) == {"opening": 5, "forced": -65, "leased": 40, "spent": 0}


@pytest.mark.usefixtures("spent")
async def test_a_charge_of_before_may_be_taken_back_afterwards(database: Database) -> None:
    """It is a credit in the window, and stops no poster."""
    await execute(
        database,
        ("UPDATE bursar.instances SET ended_at = now()",),
        ("UPDATE bursar.grants SET leased_nano_usd = 60",),
        ("UPDATE bursar.windows SET leased_nano_usd = 72",),
    )
    await PostgresSpendReset(database).reset(ACTOR)
    book = load_named_sql("ledger")["book_grants"]
    await execute(database, (book, [WINDOW], [INSTANCE], [-50], [0], [], []))
    assert await window(database) == {"opening": 5, "forced": -65, "leased": -50, "spent": -50}
    assert await windows_close(database)


@pytest.mark.usefixtures("spent")
async def test_those_who_wait_are_told(database: Database) -> None:
    told: list[tuple[str, str]] = []
    async with database.connection() as connection:
        for channel in ("bursar_keys", "bursar_windows"):
            await connection.add_listener(channel, lambda _c, _p, name, payload: told.append((name, payload)))
        await PostgresSpendReset(database).reset(ACTOR)
        await connection.fetchval("SELECT 1")
        await connection.reset()  # ends listening
    assert set(told) == {("bursar_keys", "k"), ("bursar_windows", f"freed:{WINDOW}")}
