"""Migrations: once, in order, and not on a database that is not ours."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bursar.domain.errors import StoreError
from bursar.store.migrate import Migration, known_migrations, migrate, pending_migrations


async def test_a_second_run_changes_nothing(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    said: list[str] = []
    applied = await migrate(connection, said.append)
    numbers = [m.number for m in known_migrations()]
    assert [m.number for m in applied] == numbers == sorted(set(numbers))
    assert len(said) == len(numbers)
    assert await migrate(connection, said.append) == []
    assert await pending_migrations(connection, known_migrations()) == []
    await connection.close()


async def test_only_our_tables_are_in_our_schema(empty_database: str) -> None:
    """Also when the user is called as the schema is, which the search path then begins with."""
    connection = await asyncpg.connect(empty_database)
    assert await connection.fetchval("SELECT current_user::text") == "bursar"
    await migrate(connection, lambda _: None)
    tables = await connection.fetch(
        "SELECT schemaname, tablename LIKE 'LiteLLM%' AS litellm, count(*) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1, 2"
    )
    assert {(row["schemaname"], row["litellm"]) for row in tables} == {("bursar", False), ("public", True)}
    assert (
        await connection.fetchval(
            "SELECT pronamespace::regnamespace::text FROM pg_proc WHERE oid = $1::regprocedure",
            "round(double precision, integer)",
        )
        == "public"
    )
    await connection.close()


async def test_several_at_once_wait_for_each_other(empty_database: str) -> None:
    async def run() -> int:
        connection = await asyncpg.connect(empty_database)
        applied = await migrate(connection, lambda _: None)
        await connection.close()
        return len(applied)

    assert sum(await asyncio.gather(*[run() for _ in range(4)])) == len(known_migrations())


async def test_a_failing_migration_is_rolled_back_whole(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    number = known_migrations()[-1].number + 1
    bad = [*known_migrations(), Migration(number, "bad", "CREATE TABLE bursar.half (); SELECT 1/0;")]
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, lambda _: None, known=bad)
    assert await connection.fetchval("SELECT to_regclass('bursar.half')") is None
    assert [m.number for m in await pending_migrations(connection, bad)] == [number]
    await connection.close()


async def refusal(url: str, prepare: str, known: list[Migration] | None = None) -> str:
    connection: Any = await asyncpg.connect(url)
    await connection.execute(prepare)
    with pytest.raises(StoreError) as caught:
        await migrate(connection, lambda _: None, known=known)
    await connection.close()
    return str(caught.value)


async def test_a_newer_database_is_refused(database_url: str) -> None:
    said = await refusal(database_url, "INSERT INTO bursar.migrations VALUES (99, 'future', 'x')")
    assert "newer" in said
    assert "0099 (future)" in said
    assert "Upgrade bursar" in said


async def test_a_database_of_another_build_is_refused(database_url: str) -> None:
    said = await refusal(database_url, "UPDATE bursar.migrations SET checksum = 'x' WHERE number = 2")
    assert "0002 (litellm_tables)" in said
    assert "different build" in said


async def test_a_litellm_database_is_refused(empty_database: str) -> None:
    said = await refusal(empty_database, 'CREATE TABLE "LiteLLM_VerificationToken" (token text)')
    assert "LiteLLM proxy" in said
    assert "adopt" in said


async def test_a_foreign_schema_of_our_name_is_refused(empty_database: str) -> None:
    assert "did not make" in await refusal(empty_database, "CREATE SCHEMA bursar; CREATE TABLE bursar.t ()")


def test_checksums_are_of_the_files() -> None:
    for migration in known_migrations():
        path = Path(f"src/bursar/store/migrations/{migration.number:04d}_{migration.name}.sql")
        assert migration.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
