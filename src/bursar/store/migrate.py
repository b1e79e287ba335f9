"""Migrations: numbered plain SQL, each applied once, in order, under a lock, in a transaction of its own.

A database that was taken over from a LiteLLM proxy (`store/adopt.py`) gets what
`litellm_schema.beside_litellm` makes of them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bursar.domain.errors import StoreError
from bursar.store.litellm_schema import beside_litellm, without_views
from bursar.store.named_sql import load_named_sql

_DIRECTORY = Path(__file__).parent / "migrations"
_SQL = load_named_sql("migrations")


@dataclass(slots=True, frozen=True)
class Migration:
    """One file `NNNN_name.sql`."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 hex of the statement text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known_migrations(directory: Path = _DIRECTORY) -> list[Migration]:
    """What this release brings, in order."""
    found = []
    for path in sorted(directory.glob("[0-9]*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Migration(int(number), name, path.read_text(encoding="utf-8")))
    return found


async def pending_migrations(connection: Any, known: list[Migration]) -> list[Migration]:  # noqa: ANN401  # asyncpg
    """What the database behind `connection` (asyncpg) still lacks.

    Raises StoreError: the database is newer than this release, was changed under us, or is not ours.
    """
    if not await connection.fetchval(_SQL["has_our_table"]):
        await _refuse_foreign(connection)
        return known
    rows = await connection.fetch(_SQL["applied"])
    applied = {row["number"]: row for row in rows}
    by_number = {migration.number: migration for migration in known}
    if newer := sorted(set(applied) - set(by_number)):
        raise StoreError(
            f"the database is newer than this bursar: it has migration {newer[-1]:04d} ({applied[newer[-1]]['name']}), "
            f"this release knows up to {max(by_number, default=0):04d}. Upgrade bursar, or use another database."
        )
    for number, row in applied.items():
        if row["checksum"] != by_number[number].checksum:
            raise StoreError(
                f"migration {number:04d} ({row['name']}) in the database is not the one this release has: the database "
                "was made by a different build. Use the bursar that made it, or another database."
            )
    return [migration for migration in known if migration.number not in applied]


async def _refuse_foreign(connection: Any) -> None:  # noqa: ANN401  # asyncpg
    if await connection.fetchval(_SQL["has_our_schema"]):
        raise StoreError(
            "the database has a schema called bursar that bursar did not make. Rename it, or use another database."
        )
    if await connection.fetchval(_SQL["has_litellm_tables"]):
        raise StoreError(
            "this is the database of a LiteLLM proxy. Bursar does not touch one by starting on it: `bursar db adopt` "
            "tells what taking it over would do, and `bursar db adopt --apply` does it "
            "(docs/switch-from-litellm.md). Or point DATABASE_URL at an empty database."
        )


async def migrate(
    connection: Any,  # noqa: ANN401  # asyncpg
    progress: Callable[[str], None],
    *,
    known: list[Migration] | None = None,
) -> list[Migration]:
    """Bring the database up to date; what was applied. Several starting at once wait for each other.

    Raises StoreError as `pending_migrations` does, and when a migration fails (it is rolled back).
    """
    known = known_migrations() if known is None else known
    applied = []
    for migration in await pending_migrations(connection, known):
        async with connection.transaction():
            await connection.execute(_SQL["lock"])
            if migration.number not in {m.number for m in await pending_migrations(connection, known)}:
                continue
            progress(f"Database: applying migration {migration.number:04d} ({migration.name.replace('_', ' ')}) …")
            await apply_migration(connection, migration, adopted=await is_adopted(connection))
            applied.append(migration)
    return applied


async def apply_migration(connection: Any, migration: Migration, *, adopted: bool) -> None:  # noqa: ANN401  # asyncpg
    """Apply one, within the caller's transaction and lock. `adopted`: LiteLLM's tables are there, to be left alone."""
    await connection.execute(_SQL["leave_our_schema"])
    sql = migration.sql
    if adopted:
        await connection.execute(_SQL["be_beside_litellm"])
        there = {row["name"] for row in await connection.fetch(_SQL["litellm_tables"])}
        sql = beside_litellm(sql, there)
    sql = without_views(sql, await connection.fetchval(_SQL["beside_litellm_tables"]))
    if any(line and not line.startswith("--") for line in sql.splitlines()):  # else there is nothing left of it to do
        await connection.execute(sql)
    await connection.execute(_SQL["make_our_table"])
    await connection.execute(_SQL["record"], migration.number, migration.name, migration.checksum)


async def is_adopted(connection: Any) -> bool:  # noqa: ANN401  # asyncpg
    """Whether the database was a LiteLLM proxy's before it was ours."""
    if not await connection.fetchval(_SQL["has_adoptions"]):
        return False
    return bool(await connection.fetchval(_SQL["is_adopted"]))
