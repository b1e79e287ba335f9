"""Customers (end users) in PostgreSQL: implements `management.stores.Customers`."""

from collections.abc import Callable, Sequence
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
from bursar.store.scope_windows import begin_anew, count_in, lock_totals

_SQL = {**load_named_sql("customers"), **load_named_sql("tell_limits")}
_TABLE = "LiteLLM_EndUserTable"


class PostgresCustomers:
    """The table `LiteLLM_EndUserTable`."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    async def create(self, user_id: str, edit: BudgetedEdit, *, actor: Actor) -> Row | None:
        """See `management.stores.Customers.create`."""
        async with writing(self._database) as connection:
            if await connection.fetch(_SQL["find"], [user_id]):
                return None
            budget_id = await budget_after(connection, None, edit, calendar=self._calendar, actor=actor)
            values = {**edit.changes, "budget_id": budget_id}
            if await connection.fetchval(_SQL["insert"], user_id, json_of(values)) is None:
                raise asyncpg.UniqueViolationError  # somebody else was faster: the budget goes with the transaction
            [row] = await _changed(connection, [user_id])
            await record(connection, change(Action.CREATED, _TABLE, user_id, actor, after=row))
            await _tell(connection, [user_id])
            [shown] = await with_budgets(connection, [row])
        return shown

    async def update(
        self, user_id: str, decide: Callable[[Row], BudgetedEdit], *, expected: datetime | None, actor: Actor
    ) -> Row | None:
        """See `management.stores.Customers.update`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            found = await connection.fetch(_SQL["lock"], [user_id])
            if not found:
                return None
            before = record_of(found[0])
            check_unchanged(expected, found[0]["updated_at"])
            edit = decide(before)
            named = before["budget_id"]
            current = None if named is None else str(named)
            budget_id = await budget_after(connection, current, edit, calendar=self._calendar, actor=actor)
            values = {**edit.changes, "budget_id": budget_id}
            await connection.execute(_SQL["update"], user_id, json_of(values))
            if budget_id != current:
                await count_in(connection, [Scope(ScopeKind.END_USER, user_id)])
            [row] = await _changed(connection, [user_id])
            await drop_own(connection, [current], actor=actor)
            await record(connection, change(Action.UPDATED, _TABLE, user_id, actor, before=before, after=row))
            await _tell(connection, [user_id])
            [shown] = await with_budgets(connection, [row])
        return shown

    async def find(self, user_id: str) -> Row | None:
        """See `management.stores.Customers.find`."""
        async with looking(self._database) as connection:
            found = await with_budgets(connection, records_of(await connection.fetch(_SQL["find"], [user_id])))
        return found[0] if found else None

    async def all(self) -> list[Row]:
        """See `management.stores.Customers.all`."""
        async with self._database.connection() as connection:
            return await with_budgets(connection, records_of(await connection.fetch(_SQL["all"])))

    async def delete(self, user_ids: Sequence[str], *, check: Callable[[set[str]], None], actor: Actor) -> int:
        """See `management.stores.Customers.delete`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            gone = records_of(await connection.fetch(_SQL["lock"], list(user_ids)))
            ids = [str(row["user_id"]) for row in gone]
            check(set(user_ids) - set(ids))
            await connection.execute(_SQL["delete"], ids)
            await drop_own(connection, [row["budget_id"] for row in gone], actor=actor)
            await begin_anew(connection, [Scope(ScopeKind.END_USER, user_id) for user_id in ids])
            changes = [change(Action.DELETED, _TABLE, row["user_id"], actor, before=row) for row in gone]
            await record(connection, *changes)
            await _tell(connection, ids)
        return len(gone)

    async def block(self, user_ids: Sequence[str], *, expected: datetime | None, actor: Actor) -> list[Row]:
        """See `management.stores.Customers.block`."""
        return await self._switch(Action.BLOCKED, user_ids, expected, actor)

    async def unblock(self, user_ids: Sequence[str], *, expected: datetime | None, actor: Actor) -> list[Row]:
        """See `management.stores.Customers.unblock`."""
        return await self._switch(Action.UNBLOCKED, user_ids, expected, actor)

    async def _switch(
        self, action: Action, user_ids: Sequence[str], expected: datetime | None, actor: Actor
    ) -> list[Row]:
        ids = sorted(set(user_ids))
        blocked = action is Action.BLOCKED
        async with writing(self._database) as connection:
            if expected is not None:
                found = {row["user_id"]: row["updated_at"] for row in await connection.fetch(_SQL["lock"], ids)}
                for user_id in ids:
                    check_unchanged(expected, found.get(user_id))
            switched = await (
                connection.fetch(_SQL["block"], ids) if blocked else connection.fetch(_SQL["unblock"], ids)
            )
            changed = await _changed(connection, [row["user_id"] for row in switched])
            told = [
                change(action, _TABLE, row["user_id"], actor, before={**row, "blocked": not blocked}, after=row)
                for row in changed
            ]
            await record(connection, *told)
            await _tell(connection, [str(row["user_id"]) for row in changed])
            return await with_budgets(connection, records_of(await connection.fetch(_SQL["find"], ids)))


async def _changed(connection: Any, user_ids: Sequence[str]) -> list[Row]:  # noqa: ANN401  # asyncpg
    """Rows as they are after a change of ours."""
    await connection.execute(_SQL["touch"], user_ids)
    return records_of(await connection.fetch(_SQL["find"], user_ids))


async def _tell(connection: Any, user_ids: Sequence[str]) -> None:  # noqa: ANN401  # asyncpg
    """Many as all."""
    told = [f"{ScopeKind.END_USER}:{user_id}" for user_id in user_ids] if len(user_ids) <= 100 else [""]
    await connection.execute(_SQL["limits"], told)
