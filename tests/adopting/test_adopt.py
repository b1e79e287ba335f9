"""Taking over a LiteLLM proxy's database: what is told, what is made, and that nothing of LiteLLM's is touched."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from bursar.domain.errors import StoreError
from bursar.store.adopt import adopt, adopted_at, inspect
from bursar.store.adopt_report import BudgetsOfKind, Inspection
from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.litellm_schema import beside_litellm, litellm_tables, litellm_views
from bursar.store.migrate import Migration, known_migrations, migrate, pending_migrations
from tests.adopting.litellm import fingerprint, make_litellm_database


def quiet(_done: int, _steps: int, _name: str) -> None:
    """No progress bar."""


async def look(connection: Any) -> Inspection:
    """As the command does, on one that was not taken over yet."""
    assert await adopted_at(connection) is None
    return await inspect(connection)


async def refusal(connection: Any) -> str:
    """Why it cannot be taken over, whether it is looked at or tried; and nothing is left of the attempt."""
    with pytest.raises(StoreError) as looked:
        await look(connection)
    with pytest.raises(StoreError) as tried:
        await adopt(connection, quiet)
    assert await connection.fetchval("SELECT to_regclass('bursar.openings')") is None
    assert str(looked.value) == str(tried.value)
    return str(tried.value)


def of_kind(found: Inspection, kind: str) -> BudgetsOfKind:
    [budgets] = [budgets for budgets in found.budgets if budgets.kind == kind]
    return budgets


async def test_looking_tells_what_is_there_and_changes_nothing(connection: Any) -> None:
    before = await fingerprint(connection)
    found = await inspect(connection)
    assert await fingerprint(connection) == before
    assert not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'bursar')")
    assert (found.schema, found.litellm_migration) == ("public", "20261101000000_total_spend")
    counted = {table.name: (table.rows, table.spend_nano_usd) for table in found.tables if table.exact}
    assert counted["LiteLLM_SpendLogs"] == (154, 19_250_000_000)
    assert counted["LiteLLM_DailyTagSpend"] == (154, 38_500_000_000)
    assert counted["LiteLLM_AuditLog"] == (0, None)
    assert counted["LiteLLM_ProxyModelTable"] == (1, None)
    assert "LiteLLM_CronJob" in {table.name for table in found.tables if not table.exact}
    assert (found.keys.total, found.keys.usable, found.keys.blocked, found.keys.expired) == (11, 9, 1, 1)
    kinds = {budgets.kind: (budgets.count, budgets.spend_nano_usd / 1e9) for budgets in found.budgets}
    alone = dict.fromkeys(("user", "team", "team_member", "organization", "end_user", "tag", "gateway"), (1, 7.5))
    assert kinds == {"key": (4, 22.5), **alone}
    lines = {line.name: line for line in of_kind(found, "key").most_used}
    own = lines["own"]
    assert (own.limit_nano_usd, own.spend_nano_usd, own.duration) == (10_000_000_000, 7_500_000_000, "30d")
    assert own.resets_at == await connection.fetchval("SELECT date_trunc('month', now(), 'UTC') + interval '1 month'")
    assert (lines["stale"].spend_nano_usd, lines["stale"].resets_at) == (0, None)
    assert of_kind(found, "key").begin_anew == 1
    assert found.missing_tables == []
    assert found.unknown_columns == {}


async def test_oddities_are_pointed_at(connection: Any) -> None:
    await connection.execute("""
        UPDATE "LiteLLM_VerificationToken" SET key_alias = 'twin' WHERE key_alias IN ('free', 'user');
        UPDATE "LiteLLM_VerificationToken" SET team_id = 'gone', user_id = 'gone' WHERE key_alias = 'own';
        UPDATE "LiteLLM_VerificationToken" SET budget_limits = '[{"budget_duration": "1d", "max_budget": 1}]'
        WHERE key_alias = 'own';
        UPDATE "LiteLLM_TeamTable" SET budget_duration = '1 fortnight' WHERE team_id = 'red';
        UPDATE "LiteLLM_UserTable" SET spend = 12 WHERE user_id = 'alice';
        INSERT INTO "LiteLLM_VerificationToken" (token) VALUES ('sk-in-plain-text');
        UPDATE "LiteLLM_ProxyModelTable" SET model_id = 'of-red', model_info = '{"team_id": "red"}';
        ALTER TABLE "LiteLLM_TeamTable" ADD COLUMN color text;
    """)
    found = await inspect(connection)
    attention = "\n".join(found.attention)
    for part in (
        "2 keys have the alias 'twin'",
        "1 keys name a team that is not there",
        "1 keys name an owner that is not there",
        "2 rows of LiteLLM_DailyUserSpend have NULL in their key",
        "1 keys have budget_limits",
        "1 teams have the budget_duration '1 fortnight'",
        "1 rows have a budget_reset_at that has passed",
        "1 keys are not stored as SHA-256 hashes",
        "the model of-red is for the team red alone",
    ):
        assert part in attention
    assert "sk-in-plain-text" not in "\n".join(found.lines()) + str(found.as_json_object())
    assert of_kind(found, "user").used_up == 1
    assert found.unknown_columns == {"LiteLLM_TeamTable": ["color"]}


async def test_whoever_works_on_it_is_named(connection: Any, litellm_url: str) -> None:
    other = await asyncpg.connect(litellm_url, server_settings={"application_name": "litellm proxy"})
    await connection.execute("""
        UPDATE "LiteLLM_VerificationToken" SET last_active = now() AT TIME ZONE 'UTC' WHERE key_alias = 'own'
    """)
    found = await inspect(connection)
    await other.close()
    assert "1 open sessions of litellm proxy, role bursar, from this host" in found.in_use
    assert any(line.startswith("LiteLLM booked a call") for line in found.in_use)
    assert any("Stop LiteLLM before --apply" in line for line in found.lines())


async def test_nothing_of_litellm_s_is_touched_and_a_second_run_changes_nothing(
    connection: Any, litellm_url: str
) -> None:
    before = await fingerprint(connection)
    assert await adopt(connection, quiet)
    assert await fingerprint(connection) == before
    ours = await connection.fetch("SELECT * FROM bursar.openings ORDER BY kind, id, date")
    at = await adopted_at(connection)
    assert at is not None
    assert await pending_migrations(connection, known_migrations()) == []
    assert not await adopt(connection, quiet)
    assert await migrate(connection, lambda _: None) == []
    assert await fingerprint(connection) == before
    assert await connection.fetch("SELECT * FROM bursar.openings ORDER BY kind, id, date") == ours
    assert await adopted_at(connection) == at
    books = Database(DatabaseOptions({"dsn": litellm_url}))
    found = await audit(books)
    assert found.closes, found.as_text()
    assert "a LiteLLM proxy was adopted" in found.as_text()
    await connection.execute("""UPDATE "LiteLLM_DailyTeamSpend" SET spend = spend + 1 WHERE team_id = 'red'""")
    await connection.execute("""UPDATE "LiteLLM_VerificationToken" SET total_spend = 58 WHERE key_alias = 'own'""")
    differing = await audit(books)
    await books.close()
    assert {d.check for d in differing.differences} == {"keys", "days of teams"}
    [key] = [d for d in differing.differences if d.check == "keys"]
    assert (key.expected, key.found) == (57_500_000_000, 58_000_000_000)


async def test_the_helpers_are_made_when_asked_for(connection: Any) -> None:
    rounded = "SELECT round(0.125::double precision, 2)::text"
    await adopt(connection, quiet)
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await connection.fetchval(rounded)
    assert await adopt(connection, quiet, helpers=True)
    assert await connection.fetchval(rounded) == "0.13"
    assert not await adopt(connection, quiet, helpers=True)


async def test_views_stay_litellm_s_and_missing_ones_are_made_when_asked_for(connection: Any) -> None:
    views = litellm_views(migration.sql for migration in known_migrations())
    assert len(views) == 8
    missing = sorted(set(views) - {"MonthlyGlobalSpend", "Last30dKeysBySpend"})
    assert (await inspect(connection)).missing_views == missing
    before = await fingerprint(connection, rows=False)
    await adopt(connection, quiet)
    assert await fingerprint(connection, rows=False) == before
    kept = await connection.fetchval("SELECT pg_get_viewdef('\"MonthlyGlobalSpend\"'::regclass)")
    assert await adopt(connection, quiet, helpers=True)
    assert (await inspect(connection)).missing_views == []
    assert await connection.fetchval("SELECT pg_get_viewdef('\"MonthlyGlobalSpend\"'::regclass)") == kept
    assert await connection.fetchval('SELECT sum(spend) FROM "MonthlyGlobalSpendPerKey"') == await connection.fetchval(
        'SELECT sum(spend) FROM "MonthlyGlobalSpend"'
    )
    assert not await adopt(connection, quiet, helpers=True)


async def test_views_of_other_columns_are_no_hindrance(connection: Any) -> None:
    """Nor a table where we would have a view."""
    await connection.execute("""
        DROP VIEW "MonthlyGlobalSpend";
        CREATE TABLE "MonthlyGlobalSpend" (id serial, month varchar(7), spend numeric(15, 2));
        CREATE VIEW "DailyTagSpend" AS SELECT 1::numeric AS total_spend, now() AS spend_date;
        CREATE MATERIALIZED VIEW "Last30dModelsBySpend" AS SELECT model AS model_name FROM "LiteLLM_SpendLogs";
    """)
    before = await fingerprint(connection, rows=False)
    await adopt(connection, quiet)
    assert await fingerprint(connection, rows=False) == before
    assert await adopt(connection, quiet, helpers=True)
    assert await connection.fetchval('SELECT total_spend FROM "DailyTagSpend"') == 1
    assert await connection.fetchval('SELECT count(month) FROM "MonthlyGlobalSpend"') == 0


async def test_tables_that_are_missing_are_made(connection: Any, litellm_url: str) -> None:
    await connection.execute('DROP TABLE "LiteLLM_BudgetWindowSpend", "LiteLLM_ErrorLogs"')
    found = await inspect(connection)
    assert found.missing_tables == ["LiteLLM_BudgetWindowSpend", "LiteLLM_ErrorLogs"]
    assert await adopt(connection, quiet)
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_ErrorLogs"') == 0


async def test_indexes_that_litellm_does_not_have_are_not_made(connection: Any) -> None:
    await connection.execute('DROP INDEX "LiteLLM_DailyTagSpend_date_idx"')
    before = await fingerprint(connection, rows=False)
    await adopt(connection, quiet)
    assert await fingerprint(connection, rows=False) == before


async def test_a_later_migration_leaves_litellm_s_tables_alone_as_well(connection: Any) -> None:
    await adopt(connection, quiet)
    before = await fingerprint(connection, rows=False)
    later = Migration(
        known_migrations()[-1].number + 1,
        "later",
        'CREATE TABLE IF NOT EXISTS "LiteLLM_CronJob" (id text);\n'
        'CREATE INDEX IF NOT EXISTS "x" ON "LiteLLM_CronJob" (pod_id);\n'
        "CREATE TABLE bursar.later ();",
    )
    assert await migrate(connection, lambda _: None, known=[*known_migrations(), later]) == [later]
    assert await fingerprint(connection, rows=False) == before
    assert await connection.fetchval("SELECT to_regclass('bursar.later') IS NOT NULL")


async def test_a_schema_of_its_own(empty_database: str) -> None:
    """Prisma's ?schema=, with more on the search path before it."""
    connection = await asyncpg.connect(empty_database)
    await connection.execute("CREATE SCHEMA mine; CREATE SCHEMA llm; SET search_path = llm")
    await make_litellm_database(connection)
    await connection.execute('SET search_path = mine, llm; DROP TABLE "LiteLLM_ErrorLogs"')
    assert (await inspect(connection)).schema == "llm"
    assert await adopt(connection, quiet, helpers=True)
    assert await connection.fetchval("SELECT to_regclass('llm.\"LiteLLM_ErrorLogs\"') IS NOT NULL")
    assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'mine'::regnamespace") == 0
    assert await connection.fetchval("SELECT to_regprocedure('llm.round(double precision, integer)') IS NOT NULL")
    assert await connection.fetchval("SELECT current_setting('search_path')") == "mine, llm"
    await connection.close()


async def test_several_at_once_wait_for_each_other(litellm_url: str) -> None:
    async def run() -> bool:
        connection = await asyncpg.connect(litellm_url)
        try:
            return await adopt(connection, quiet)
        finally:
            await connection.close()

    assert sorted(await asyncio.gather(*[run() for _ in range(4)])) == [False, False, False, True]


_KILLED = """
import asyncio, os, signal, sys, asyncpg
from bursar.store.adopt import adopt
def progress(done, steps, name):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
async def main():
    await adopt(await asyncpg.connect(sys.argv[1]), progress)
asyncio.run(main())
"""


@pytest.mark.parametrize("step", [1, 8, 11, 15])
def test_killed_half_way_it_has_not_happened(step: int, litellm_url: str) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, litellm_url, str(step)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL

    async def again() -> None:
        connection = await asyncpg.connect(litellm_url)
        assert await adopted_at(connection) is None
        before = await fingerprint(connection)
        assert await adopt(connection, quiet)
        assert await fingerprint(connection) == before
        await connection.close()

    asyncio.run(again())


async def test_an_empty_database_is_refused(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    assert "no database of a LiteLLM proxy" in await refusal(connection)
    await connection.close()


async def test_our_own_is_refused(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for run in (adopted_at(connection), adopt(connection, quiet)):
        with pytest.raises(StoreError, match="Bursar's own"):
            await run
    await connection.close()


async def test_a_foreign_schema_of_our_name_is_refused(connection: Any) -> None:
    await connection.execute("CREATE SCHEMA bursar")
    assert "did not make" in await refusal(connection)


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ('ALTER TABLE "LiteLLM_VerificationToken" DROP COLUMN total_spend', "LiteLLM_VerificationToken.total_spend"),
        ('DROP TABLE "LiteLLM_TagTable"', "LiteLLM_TagTable"),
        (
            'DROP INDEX "LiteLLM_DailyTagSpend_tag_date_api_key_model_custom_llm_pro_key"',
            "a unique index on LiteLLM_DailyTagSpend (api_key, custom_llm_provider, date, endpoint",
        ),
    ],
)
async def test_an_older_litellm_is_refused(connection: Any, change: str, lacking: str) -> None:
    await connection.execute(change)
    said = await refusal(connection)
    assert f"They lack: {lacking}" in said
    assert "1.106" in said


async def test_a_sum_that_is_no_number_is_refused(connection: Any) -> None:
    await connection.execute("""UPDATE "LiteLLM_TeamTable" SET spend = 'NaN' WHERE team_id = 'red'""")
    assert "1 rows of LiteLLM_TeamTable have a spend that is no number" in await refusal(connection)


async def test_a_table_that_somebody_locks_is_waited_for(connection: Any, litellm_url: str) -> None:
    other = await asyncpg.connect(litellm_url)
    await other.execute('BEGIN; LOCK TABLE "LiteLLM_DailyTagSpend" IN ACCESS EXCLUSIVE MODE')
    adoption = asyncio.create_task(adopt(connection, quiet))
    await asyncio.sleep(0.5)
    assert not adoption.done()
    await other.close()
    assert await adoption


async def test_a_connection_that_breaks_is_told(connection: Any, litellm_url: str) -> None:
    other = await asyncpg.connect(litellm_url)

    def cut(done: int, _steps: int, _name: str) -> None:
        if done == 10:
            connection.terminate()

    with pytest.raises(StoreError, match="Nothing was changed"):
        await adopt(connection, cut)
    assert await adopt(other, quiet)
    await other.close()


@pytest.fixture
async def stranger(postgres_server: EmbeddedPostgres, litellm_url: str) -> AsyncIterator[str]:
    """URL for a role that may only look at the database's name."""
    role = f"r{uuid4().hex}"
    admin = await asyncpg.connect(postgres_server.url("postgres"))
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    parts = urlsplit(litellm_url)
    _, _, host = parts.netloc.rpartition("@")
    yield urlunsplit(parts._replace(netloc=f"{role}:x@{host}"))
    owner = await asyncpg.connect(litellm_url)
    await owner.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
    await owner.close()
    await admin.close()


async def test_privileges_that_lack_are_named_so_that_they_can_be_given(
    stranger: str, connection: Any, litellm_url: str
) -> None:
    there = await asyncpg.connect(stranger)
    await connection.execute('DROP TABLE "LiteLLM_ErrorLogs"')
    said = await refusal(there)
    statements = [line.strip() for line in said.splitlines() if line.startswith("  GRANT")]
    assert [s.split(" ON ")[0] for s in statements] == [
        "GRANT CREATE",
        "GRANT CREATE",
        "GRANT SELECT, INSERT, UPDATE, DELETE",
        "GRANT SELECT",
    ]
    for statement in statements:
        await connection.execute(statement)
    assert await adopt(there, quiet)
    await there.close()


def test_migrations_touch_litellm_s_tables_in_ways_that_can_be_left_out() -> None:
    """On a database that was taken over nothing of LiteLLM's may change, whatever migrations are still to come."""
    expected = litellm_tables(migration.sql for migration in known_migrations())
    assert len(expected) >= 22
    for migration in known_migrations():
        left = beside_litellm(migration.sql, set(expected))
        code = "\n".join(line for line in left.splitlines() if not line.lstrip().startswith("--"))
        for statement in code.split(";\n"):
            if "LiteLLM_" in statement and "FUNCTION bursar." not in statement:
                assert statement.lstrip().startswith('CREATE TABLE IF NOT EXISTS "LiteLLM_'), statement
        assert "ALTER DATABASE" not in left
        assert "FUNCTION round" not in left
