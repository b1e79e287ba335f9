"""Tags in PostgreSQL: implements `management.stores.Tags`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from bursar.domain.audit import Action, Actor
from bursar.domain.edits import BudgetedEdit
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.periods import Calendar
from bursar.domain.preconditions import check_unchanged
from bursar.store.audit_log import record
from bursar.store.budget_table import budget_after, drop_own, with_budgets
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql
from bursar.store.rows import Row, change, json_of, looking, record_of, records_of, writing
from bursar.store.scope_windows import count_in, lock_totals, set_spent

_SQL = {**load_named_sql("tags"), **load_named_sql("tell_limits")}
_TABLE = "LiteLLM_TagTable"


class PostgresTags:
    """The table `LiteLLM_TagTable`."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    async def create(self, name: str, edit: BudgetedEdit, *, actor: Actor) -> Row | None:
        """See `management.stores.Tags.create`."""
        async with writing(self._database) as connection:
            found = await connection.fetchrow(_SQL["lock"], name)
            if found is not None and (found["created_by"] is not None or found["budget_id"] is not None):
                return None
            budget_id = await budget_after(connection, None, edit, calendar=self._calendar, actor=actor)
            values = {**edit.changes, "budget_id": budget_id}
            made = await connection.fetchrow(_SQL["insert"], name, json_of(values), actor.name)
            if made is None:
                raise asyncpg.UniqueViolationError  # somebody else was faster: the budget goes with the transaction
            row = record_of(made)
            await record(connection, change(Action.CREATED, _TABLE, name, actor, after=row))
            await _tell(connection, name)
            [shown] = await with_budgets(connection, [row])
        return shown

    async def update(self, name: str, edit: BudgetedEdit, *, expected: datetime | None, actor: Actor) -> Row | None:
        """See `management.stores.Tags.update`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            found = await connection.fetchrow(_SQL["lock"], name)
            if found is None:
                return None
            before = record_of(found)
            check_unchanged(expected, found["updated_at"])
            named = before["budget_id"]
            current = None if named is None else str(named)
            budget_id = await budget_after(connection, current, edit, calendar=self._calendar, actor=actor)
            values = {**edit.changes, "budget_id": budget_id}
            row = record_of(await connection.fetchrow(_SQL["update"], name, json_of(values)))
            if budget_id != current:
                await count_in(connection, [Scope(ScopeKind.TAG, name)])
            await drop_own(connection, [current], actor=actor)
            await record(connection, change(Action.UPDATED, _TABLE, name, actor, before=before, after=row))
            await _tell(connection, name)
            [shown] = await with_budgets(connection, [row])
        return shown

    async def find(self, names: Sequence[str]) -> list[Row]:
        """See `management.stores.Tags.find`."""
        async with looking(self._database) as connection:
            return await with_budgets(connection, records_of(await connection.fetch(_SQL["find"], list(names))))

    async def all(self) -> list[Row]:
        """See `management.stores.Tags.all`."""
        async with self._database.connection() as connection:
            return await with_budgets(connection, records_of(await connection.fetch(_SQL["all"])))

    async def only_spent(self) -> list[str]:
        """See `management.stores.Tags.only_spent`."""
        async with self._database.connection() as connection:
            return [row["tag_name"] for row in await connection.fetch(_SQL["only_spent"])]

    async def delete(self, name: str, *, actor: Actor) -> Row | None:
        """See `management.stores.Tags.delete`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            found = await connection.fetchrow(_SQL["lock"], name)
            if found is None:
                return None
            row = record_of(found)
            await connection.execute(_SQL["delete"], name)
            await drop_own(connection, [row["budget_id"]], actor=actor)
            await set_spent(connection, [Scope(ScopeKind.TAG, name)])
            await record(connection, change(Action.DELETED, _TABLE, name, actor, before=row))
            await _tell(connection, name)
        return row


async def _tell(connection: Any, name: str) -> None:  # noqa: ANN401  # asyncpg
    await connection.execute(_SQL["limits"], [f"{ScopeKind.TAG}:{name}"])
