"""LiteLLM's table of budgets: implements `management.stores.BudgetRows`; and the budgets that one row has to itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from msgspec import UnsetType

from bursar.domain.audit import Action, Actor
from bursar.domain.edits import BudgetedEdit
from bursar.domain.errors import InvalidRequest
from bursar.domain.limit_terms import BUDGET_COLUMNS, terms_after
from bursar.domain.periods import Calendar
from bursar.domain.preconditions import check_unchanged
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql
from bursar.store.rows import Row, change, json_of, looking, record_of, records_of, writing
from bursar.store.scope_windows import count_in_all, lock_totals

_SQL = {**load_named_sql("budget_table"), **load_named_sql("tell_limits")}
_TABLE = "LiteLLM_BudgetTable"
OWN = "own-budget-"
"""How ids of budgets begin that belong to one row alone: they come with its first limit, and go with the row."""
OF_MEMBERS = "team-members-"
"""The same of those that a team has for its members."""


class PostgresBudgetRows:
    """The table itself."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    async def insert(self, budget_id: str, values: Mapping[str, object], *, actor: Actor) -> Row | None:
        """See `management.stores.BudgetRows.insert`."""
        async with writing(self._database) as connection:
            terms = terms_after({}, values, now=datetime.now(UTC), calendar=self._calendar)
            made = await connection.fetchrow(_SQL["insert"], [budget_id], json_of(terms), actor.name)
            if made is None:
                return None
            row = record_of(made)
            await record(connection, change(Action.CREATED, _TABLE, budget_id, actor, after=row))
            await _tell(connection, budget_id)
        return row

    async def update(
        self, budget_id: str, changes: Mapping[str, object], *, expected: datetime | None, actor: Actor
    ) -> Row | None:
        """See `management.stores.BudgetRows.update`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            found = await connection.fetchrow(_SQL["lock"], budget_id)
            if found is None:
                return None
            before = record_of(found)
            check_unchanged(expected, found["updated_at"])
            return await _update(connection, before, changes, self._calendar, actor)

    async def find(self, budget_ids: Sequence[str]) -> list[Row]:
        """See `management.stores.BudgetRows.find`."""
        async with looking(self._database) as connection:
            return records_of(await connection.fetch(_SQL["find"], list(budget_ids)))

    async def all(self) -> list[Row]:
        """See `management.stores.BudgetRows.all`."""
        async with self._database.connection() as connection:
            return records_of(await connection.fetch(_SQL["all"]))

    async def delete(self, budget_id: str, *, actor: Actor) -> Row | None:
        """See `management.stores.BudgetRows.delete`."""
        async with writing(self._database) as connection:
            if await connection.fetchrow(_SQL["lock"], budget_id) is None:
                return None
            if uses := await connection.fetch(_SQL["uses"], budget_id):
                by = ", ".join(f"{use['n']} {use['kind']}" for use in uses)
                raise InvalidRequest(
                    f"Budget {budget_id!r} is in use ({by}): without it they would have no limit. "
                    "Give them another one first.",
                    param="id",
                )
            row = record_of(await connection.fetchrow(_SQL["delete"], budget_id))
            await record(connection, change(Action.DELETED, _TABLE, budget_id, actor, before=row))
            await _tell(connection, budget_id)
        return row


async def budget_with(
    connection: Any,  # noqa: ANN401  # asyncpg
    budget_id: str | None,
    changes: Mapping[str, object],
    *,
    calendar: Calendar,
    actor: Actor,
    check: Callable[[Row, Row], None] | None = None,
    prefix: str = OWN,
) -> Row | None:
    """The budget of a row that has `budget_id` so far, with `changes`: none, the same, or one that is the row's alone.

    A budget that others may share is not changed for one of them: the row gets a copy. `check` sees it before and
    after, and raises what speaks against it. Raises InvalidRequest.
    """
    before: Row = {}
    if budget_id is not None and (found := await connection.fetchrow(_SQL["lock"], budget_id)) is not None:
        before = record_of(found)
    if not changes:
        return before or None
    if check is not None:
        check(before, {**before, **changes})
    if str(before.get("budget_id", "")).startswith(prefix):
        return await _update(connection, before, changes, calendar, actor)
    copied = {name: before[name] for name in BUDGET_COLUMNS if before.get(name) is not None}
    terms = terms_after(copied, changes, now=datetime.now(UTC), calendar=calendar)
    made = await connection.fetchrow(_SQL["insert"], [f"{prefix}{uuid4()}"], json_of({**copied, **terms}), actor.name)
    row = record_of(made)
    await record(connection, change(Action.CREATED, _TABLE, row["budget_id"], actor, after=row))
    return row


async def budget_after(
    connection: Any,  # noqa: ANN401  # asyncpg
    current: str | None,
    edit: BudgetedEdit,
    *,
    calendar: Calendar,
    actor: Actor,
    check: Callable[[Row, Row], None] | None = None,
) -> str | None:
    """The budget that a row names after `edit`, which named `current`; see `budget_with`.

    One that was the row's alone, and is not named any more, is to be dropped once the row is stored.

    Raises InvalidRequest: there is no such budget, or its limits do not fit together.
    """
    if not isinstance(edit.budget_id, UnsetType):
        current = edit.budget_id
        if current is not None and not await connection.fetch(_SQL["find"], [current]):
            raise InvalidRequest(f"Budget {current!r} does not exist.", param="budget_id")
    if not edit.terms:
        return current
    row = await budget_with(connection, current, edit.terms, calendar=calendar, actor=actor, check=check)
    return None if row is None else str(row["budget_id"])


async def empty_budget(connection: Any, *, actor: Actor) -> str:  # noqa: ANN401  # asyncpg
    """A budget without limits, for a row that has to name one."""
    row = record_of(await connection.fetchrow(_SQL["insert"], [f"{OWN}{uuid4()}"], "{}", actor.name))
    await record(connection, change(Action.CREATED, _TABLE, row["budget_id"], actor, after=row))
    return str(row["budget_id"])


async def with_budgets(connection: Any, rows: Iterable[Row]) -> list[Row]:  # noqa: ANN401  # asyncpg
    """Rows with the budget that each names, as `litellm_budget_table`."""
    rows = list(rows)
    ids = [row["budget_id"] for row in rows if row.get("budget_id") is not None]
    found = records_of(await connection.fetch(_SQL["find"], ids)) if ids else []
    by_id = {budget["budget_id"]: budget for budget in found}
    return [{**row, "litellm_budget_table": by_id.get(row.get("budget_id"))} for row in rows]


async def drop_own(connection: Any, budget_ids: Sequence[object], *, actor: Actor) -> None:  # noqa: ANN401  # asyncpg
    """Delete those of `budget_ids` that belonged to one row alone, which is gone."""
    for budget_id in {str(found) for found in budget_ids if str(found).startswith((OWN, OF_MEMBERS))}:
        if not await connection.fetch(_SQL["uses"], budget_id):
            gone = await connection.fetchrow(_SQL["delete"], budget_id)
            if gone is not None:
                await record(connection, change(Action.DELETED, _TABLE, budget_id, actor, before=record_of(gone)))


async def _update(
    connection: Any,  # noqa: ANN401  # asyncpg
    before: Row,
    changes: Mapping[str, object],
    calendar: Calendar,
    actor: Actor,
) -> Row:
    """Change a row that is locked. Only after `lock_totals`, where anybody's calls spend of it."""
    budget_id = str(before["budget_id"])
    terms = terms_after(before, changes, now=datetime.now(UTC), calendar=calendar)
    row = record_of(await connection.fetchrow(_SQL["update"], budget_id, json_of(terms), actor.name))
    if row["budget_duration"] != before["budget_duration"]:
        await count_in_all(connection, budget_id)
    await record(connection, change(Action.UPDATED, _TABLE, budget_id, actor, before=before, after=row))
    await _tell(connection, budget_id)
    return row


async def _tell(connection: Any, budget_id: str) -> None:  # noqa: ANN401  # asyncpg
    """Of end users and tags all: it may be the one of those who have none of their own."""
    await connection.execute(_SQL["keys_of_budget"], budget_id)
    await connection.execute(_SQL["limits"], [""])
