"""Taking over a LiteLLM proxy's database in place (docs/decisions/0013-adopting.md).

What is LiteLLM's stays as it is, to the byte: its tables are used, none is altered. Added are our own schema, tables of
LiteLLM's that are missing, and what its counters said at this moment (`bursar.openings`). It is one transaction: killed
at any point, it has not happened.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg

from bursar.domain.errors import InvalidRequest, StoreError
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.periods import checked_duration
from bursar.store.adopt_report import BudgetLine, BudgetsOfKind, Inspection, KeyCounts, TableRows
from bursar.store.budgets import in_force, spent_in_period
from bursar.store.database import describe
from bursar.store.limits import nano_of
from bursar.store.litellm_schema import Table, litellm_tables, litellm_views, sql_helpers
from bursar.store.migrate import Migration, apply_migration, is_adopted, known_migrations, pending_migrations
from bursar.store.named_sql import load_named_sql

_SQL = {
    **load_named_sql("migrations"),
    **load_named_sql("scope_windows"),
    **load_named_sql("adopt"),
    **load_named_sql("totals"),
}
_COUNTS = load_named_sql("adopt_counts")
_SHOWN = 20
"""Budgets of a kind, and oddities of a kind, that are listed."""
_RECENT_S = 300.0
_OPENINGS = (
    ("keys", "open_keys"),
    ("days of users", "open_users"),
    ("days of teams", "open_teams"),
    ("days of organizations", "open_organizations"),
    ("days of end users", "open_end_users"),
    ("days of tags", "open_tags"),
)
_NEEDED = frozenset(
    {
        "LiteLLM_BudgetTable",
        "LiteLLM_DailyEndUserSpend",
        "LiteLLM_DailyOrganizationSpend",
        "LiteLLM_DailyTagSpend",
        "LiteLLM_DailyTeamSpend",
        "LiteLLM_DailyUserSpend",
        "LiteLLM_DeletedVerificationToken",
        "LiteLLM_EndUserTable",
        "LiteLLM_OrganizationTable",
        "LiteLLM_SpendLogs",
        "LiteLLM_TagTable",
        "LiteLLM_TeamMembership",
        "LiteLLM_TeamTable",
        "LiteLLM_UserTable",
    }
)
"""Every LiteLLM of the release whose contract we follow has them, and there is nothing to take over without."""

Progress = Callable[[int, int, str], None]
"""Steps done, steps in all, what comes now."""


async def adopted_at(connection: Any) -> datetime | None:  # noqa: ANN401  # asyncpg
    """When this database was taken over; None: it is LiteLLM's alone.

    Raises StoreError: it is neither.
    """
    if await connection.fetchval(_SQL["has_our_table"]):
        if not await is_adopted(connection):
            raise StoreError("this database is Bursar's own: there is nothing to adopt, `bursar serve` works on it.")
        at = await connection.fetchval(_SQL["adopted_at"])
        assert isinstance(at, datetime)
        return at
    if await connection.fetchval(_SQL["has_our_schema"]):
        raise StoreError("the database has a schema called bursar that bursar did not make. Rename it first.")
    if not await connection.fetchval(_SQL["has_litellm_tables"]):
        raise StoreError(
            'this is no database of a LiteLLM proxy: it has no table "LiteLLM_VerificationToken". If that is in a '
            "schema of its own, add ?schema=NAME to DATABASE_URL. An empty database needs no adopting."
        )
    return None


async def inspect(connection: Any) -> Inspection:  # noqa: ANN401  # asyncpg
    """Look at a LiteLLM proxy's database, as of one moment, and change nothing.

    Raises StoreError: it cannot be taken over, with the reason and the cure.
    """
    with _explained():
        return await _inspect(connection)


async def _inspect(connection: Any) -> Inspection:  # noqa: ANN401  # asyncpg
    async with connection.transaction():
        await connection.execute(_SQL["read_only"])
        found, unknown = await _tables(connection)
        place = await connection.fetchrow(_SQL["place"])
        expected = _expected()
        rows = [
            TableRows(name, count["rows"], spend_nano_usd=_nano(count["spend"]))
            for name in sorted(expected)
            if name in found
            for count in [await _count(connection, name)]
        ]
        rows += [
            TableRows(name, max(0, about), exact=False) for name, about in sorted(found.items()) if name not in expected
        ]
        return Inspection(
            database=place["database"],
            schema=place["schema"],
            server=place["server"],
            litellm_migration=await _litellm_migration(connection, has=place["has_migrations"]),
            tables=rows,
            missing_tables=sorted(set(expected) - set(found)),
            unknown_columns=unknown,
            has_helpers=place["has_helpers"],
            missing_views=await _missing_views(connection),
            keys=KeyCounts(**dict(await connection.fetchrow(_SQL["keys"]))),
            budgets=_budgets(await connection.fetch(_SQL["budgets"], _SHOWN, await _ours_of_gateway(connection))),
            attention=await _attention(connection),
            in_use=await _in_use(connection),
        )


async def adopt(
    connection: Any,  # noqa: ANN401  # asyncpg
    progress: Progress,
    *,
    again: bool = False,
    helpers: bool = False,
) -> bool:
    """Take it over; whether anything was changed. On one that was taken over before, nothing is, unless `again`.

    `again`: LiteLLM has served on it since, and what it counted is to count here as well.
    `helpers`: also make the functions that published queries need, and LiteLLM's views that are missing, in its schema.
    Raises StoreError: it cannot be, and nothing was changed.
    """
    with _explained():
        async with connection.transaction():
            await connection.execute(_SQL["lock"])
            first = await adopted_at(connection) is None
            if first or again:
                await _adopt(connection, progress, first=first)
            made = helpers and await _make_helpers(connection)
            return first or again or made


@contextmanager
def _explained() -> Iterator[None]:
    """What the database refuses, in words of ours: all of it was rolled back."""
    try:
        yield
    except asyncpg.LockNotAvailableError as error:
        raise StoreError(
            "somebody else works on this database's tables: another adoption, or a program with a lock on one of them. "
            "Nothing was changed; try again."
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreError(f"the database does not allow it: {describe(error)}. Nothing was changed.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StoreError(f"the database failed: {describe(error)}. Nothing was changed.") from error


async def _adopt(connection: Any, progress: Progress, *, first: bool) -> None:  # noqa: ANN401  # asyncpg
    await connection.execute(_SQL["be_beside_litellm"])
    await _tables(connection)
    place = await connection.fetchrow(_SQL["place"])
    last = await _litellm_migration(connection, has=place["has_migrations"])
    missing = await _pending(connection, first=first)
    steps = len(missing) + len(_OPENINGS)
    for done, migration in enumerate(missing):
        progress(done, steps, migration.name.replace("_", " "))
        await apply_migration(connection, migration, adopted=True)
    if not first:
        await _count_again(connection)
    await connection.execute(load_named_sql("audit")["plan"])
    await connection.execute(load_named_sql("audit")["fold"])
    await connection.execute(_SQL["adopt"], last)
    for done, (name, opening) in enumerate(_OPENINGS, len(missing)):
        progress(done, steps, name)
        statement = _SQL[opening]
        await connection.execute(statement)
    await connection.execute(_SQL["analyze"])
    progress(steps, steps, "")


async def _pending(connection: Any, *, first: bool) -> list[Migration]:  # noqa: ANN401  # asyncpg
    known = known_migrations()
    return known if first else await pending_migrations(connection, known)


async def _count_again(connection: Any) -> None:  # noqa: ANN401  # asyncpg
    """Forget what LiteLLM had counted at an earlier adoption, and have running budgets be where its tables are now.

    What it has spent since counts, and what it has set back is free again.
    """
    await connection.execute(_SQL["lock_totals"])  # nobody may book anything between two looks
    await connection.execute(_SQL["close_openings"])
    windows = await connection.fetch(_SQL["running_windows"])
    scopes = [Scope(ScopeKind(row["scope_kind"]), row["scope_id"]) for row in windows]
    found = await in_force(connection, scopes)
    moves = {
        row["window_id"]: amount
        for row, scope in zip(windows, scopes, strict=True)
        if (spent := spent_in_period(found.get(scope), row["ends_at_s"])) is not None
        and (amount := spent + row["ours_nano_usd"] - row["spent_nano_usd"])
    }
    await connection.execute(_SQL["move_windows"], list(moves), list(moves.values()))
    await connection.execute(_SQL["tell_spent"], list(moves))


async def _make_helpers(connection: Any) -> bool:  # noqa: ANN401  # asyncpg
    await connection.execute(_SQL["be_beside_litellm"])
    migrations = [migration.sql for migration in known_migrations()]
    made = await _missing_views(connection)
    statements = [statement for name, statement in litellm_views(migrations).items() if name in made]
    if not (await connection.fetchrow(_SQL["place"]))["has_helpers"]:
        statements.append(sql_helpers(migrations))
    for statement in statements:
        await connection.execute(statement)
    return bool(statements)


async def _missing_views(connection: Any) -> list[str]:  # noqa: ANN401  # asyncpg
    there = await connection.fetchval(_SQL["beside_litellm_tables"])
    return sorted(set(litellm_views(migration.sql for migration in known_migrations())) - set(there))


def _expected() -> Mapping[str, Table]:
    return litellm_tables(migration.sql for migration in known_migrations())


async def _tables(connection: Any) -> tuple[dict[str, int], dict[str, list[str]]]:  # noqa: ANN401  # asyncpg
    """LiteLLM's tables with about how many rows, and of those we know the columns that we do not.

    Raises StoreError: what we need is not there, not ours to use, or no number.
    """
    expected = _expected()
    rows = await connection.fetch(_SQL["columns"])
    found = {row["table_name"]: int(row["about"]) for row in rows}
    creates = bool(set(expected) - set(found))
    grants = await connection.fetch(_SQL["grants_missing"], sorted(set(expected) & set(found)), creates)
    if grants:
        statements = "\n".join(f"  {row['statement']}" for row in grants)
        raise StoreError(f"the role lacks privileges. Have the owner of the database say:\n{statements}")
    lacks = sorted(_NEEDED - set(found))
    unknown: dict[str, list[str]] = {}
    for row in rows:
        if (table := expected.get(row["table_name"])) is not None:
            lacks += [f"{row['table_name']}.{column}" for column in sorted(table.columns - set(row["columns"]))]
            if more := [column for column in row["columns"] if column not in table.columns]:
                unknown[row["table_name"]] = more
    unique = {(row["table_name"], frozenset(row["columns"])) for row in await connection.fetch(_SQL["unique_columns"])}
    lacks += [
        f"a unique index on {name} ({', '.join(sorted(columns))})"
        for name, table in sorted(expected.items())
        if name in found
        for columns in sorted(table.unique, key=sorted)
        if (name, columns) not in unique and columns <= table.columns
    ]
    if lacks:
        raise StoreError(
            f"the tables are those of an older LiteLLM. They lack: {_some(lacks)}. Start LiteLLM 1.106 or newer "
            "on this database once, so that it brings them up to date, then try again."
        )
    if unusable := [row["what"] for row in await connection.fetch(_SQL["unusable"])]:
        raise StoreError(f"{_some(unusable)}: nothing can be counted on from there. Set it to what was spent, or 0.")
    return found, unknown


async def _count(connection: Any, name: str) -> Any:  # noqa: ANN401  # asyncpg
    statement = _COUNTS[name]
    return await connection.fetchrow(statement)


async def _litellm_migration(connection: Any, *, has: bool) -> str | None:  # noqa: ANN401  # asyncpg
    if not has:
        return None
    found = await connection.fetchval(_SQL["litellm_migration"])
    return None if found is None else str(found)


async def _attention(connection: Any) -> list[str]:  # noqa: ANN401  # asyncpg
    found = [row["what"] for row in await connection.fetch(_SQL["oddities"], _SHOWN)]
    for row in await connection.fetch(_SQL["durations"]):
        try:
            checked_duration(row["duration"])
        except InvalidRequest:
            found.append(
                f"{row['rows']} {row['where_from']} have the budget_duration {row['duration']!r}, which is none: "
                "write a number and one of s, m, h, d, w, mo"
            )
    not_hashed = (await connection.fetchrow(_SQL["keys"]))["not_hashed"]
    if not_hashed:
        found.append(f"{not_hashed} keys are not stored as SHA-256 hashes: calls with them are refused")
    return found


async def _in_use(connection: Any) -> list[str]:  # noqa: ANN401  # asyncpg
    """Signs that the proxy, or somebody else, works on it."""
    found = [
        f"{row['sessions']} open sessions of {row['program']}, role {row['role']}, from {row['host']}"
        for row in await connection.fetch(_SQL["sessions"])
    ]
    silent_s = await connection.fetchval(_SQL["last_written"])
    if silent_s is not None and silent_s < _RECENT_S:
        found.append(f"LiteLLM booked a call {max(0.0, silent_s):.0f} s ago")
    return found


async def _ours_of_gateway(connection: Any) -> int:  # noqa: ANN401  # asyncpg
    """What we have booked in the running period of the whole gateway's budget: LiteLLM's row has none of it."""
    if not await connection.fetchval(_SQL["has_our_table"]):
        return 0
    return int(await connection.fetchval(_SQL["ours_of_gateway"]))


def _budgets(rows: Sequence[Any]) -> list[BudgetsOfKind]:
    kinds: dict[str, BudgetsOfKind] = {}
    for row in rows:
        of_kind = kinds.setdefault(
            row["kind"],
            BudgetsOfKind(
                kind=row["kind"],
                count=row["of_kind"],
                spend_nano_usd=_nano(row["spend_of_kind"]) or 0,
                used_up=row["used_up"],
                begin_anew=row["begins"],
                most_used=[],
            ),
        )
        of_kind.most_used.append(
            BudgetLine(
                name=row["name"] or "",
                limit_nano_usd=nano_of(row["max_budget"]),
                spend_nano_usd=_nano(row["spend"]) or 0,
                duration=row["duration"],
                resets_at=None if row["reset_at"] is None or row["ended"] else row["reset_at"].replace(tzinfo=UTC),
            )
        )
    return list(kinds.values())


def _nano(usd: float | None) -> int | None:
    return None if usd is None or not math.isfinite(usd) else round(usd * 1e9)


def _some(words: Sequence[str]) -> str:
    more = len(words) - _SHOWN
    return "; ".join(words[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
