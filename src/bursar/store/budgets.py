"""Budget windows and grants in PostgreSQL: implements `ports.budgets.BudgetStore`. `domain.windows` decides."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bursar.domain.errors import JournalTaken, StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.domain.limits import Scope, ScopeKind, parts_of, raise_of, raised_limit
from bursar.domain.windows import Answer, Grant, Window, WindowId, exchange
from bursar.ports.budgets import BudgetAsk
from bursar.store.database import Database, end_stalled
from bursar.store.limits import nano_of, utc_s
from bursar.store.named_sql import load_named_sql

_SQL = {**load_named_sql("budgets"), **load_named_sql("totals")}
_IN_TABLES = frozenset(
    {
        ScopeKind.GATEWAY,
        ScopeKind.KEY,
        ScopeKind.USER,
        ScopeKind.TEAM,
        ScopeKind.TEAM_MEMBER,
        ScopeKind.ORGANIZATION,
        ScopeKind.END_USER,
        ScopeKind.TAG,
    }
)
"""Scopes of which tables know limits, or what was spent; the others' are configured, or in a key's JSON, and come with
the asker. So does the gateway's, of which LiteLLM's tables only know what was spent."""


class InForce(msgspec.Struct, frozen=True):
    """What a table says about a scope now."""

    limit: int | None
    spent: int
    reset_at_s: float | None


class PostgresBudgets:
    """Exchanges and endings: each a transaction that locks the instance's row, then its windows' in their order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def heartbeat(self, instance: JournalId, epoch: int) -> float:
        """See `ports.budgets.BudgetStore.heartbeat`."""
        async with self._database.connection() as connection:
            await end_stalled(connection)
            beat = await connection.fetchrow(_SQL["heartbeat"], instance)
        if beat["epoch"] not in (None, epoch):  # None: a restored database has forgotten it, and is told again
            raise JournalTaken(f"instance {instance} is under epoch {beat['epoch']}, not {epoch}")
        return float(beat["now_s"])

    async def exchange(self, instance: JournalId, epoch: int, asks: Sequence[BudgetAsk]) -> list[Answer]:
        """See `ports.budgets.BudgetStore.exchange`."""
        async with self._database.transaction() as connection:
            claim = await connection.fetchrow(_SQL["claim"], instance, epoch)
            if claim is None:  # it was registered, and has been forgotten: the poster tells of it again
                raise StoreUnavailable(f"instance {instance} is not known")
            if not claim["claimed"]:
                raise JournalTaken(f"instance {instance} is not alive under epoch {epoch}")
            await connection.execute(_SQL["hold_totals_for_new"], [asked.ask.window for asked in asks])
            found = await in_force(connection, [ask.scope for ask in asks])
            windows = await _windows(connection, asks, found)
            ids = list(windows)
            grants = {
                str(row["window_id"]): Grant(
                    leased=row["leased_nano_usd"], spent=row["spent_nano_usd"], operation=row["operation"]
                )
                for row in await connection.fetch(_SQL["grants"], instance, ids)
            }
            answers: list[Answer] = []
            freed: list[WindowId] = []
            wanted: list[WindowId] = []
            for asked in sorted(asks, key=lambda asked: asked.ask.window):
                window_id, ask = asked.ask.window, asked.ask
                before, grant = windows[window_id], grants.get(window_id, Grant())
                window, grant, answer = exchange(before, grant, ask, instances=1 + claim["others"])
                windows[window_id], grants[window_id] = window, grant
                answers.append(answer)
                if window.leased < before.leased:
                    freed.append(window_id)
                elif ask.need and window.leased == before.leased and answer.elsewhere:
                    wanted.append(window_id)
            await connection.execute(
                _SQL["save"],
                instance,
                ids,
                [windows[w].limit for w in ids],
                [windows[w].leased for w in ids],
                [grants[w].leased for w in ids],
                [grants[w].operation for w in ids],
            )
            if freed or wanted:
                await connection.execute(_SQL["tell"], freed, wanted, instance)
        return answers

    async def release(self, instance: JournalId, epoch: int, posted: int) -> None:
        """See `ports.budgets.BudgetStore.release`."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["forget_heartbeat"], instance)
            ended = await connection.execute(_SQL["end_instance"], instance, epoch, posted)
            if ended == "UPDATE 0":
                if await connection.fetchval(_SQL["has_ended"], instance):
                    return
                raise JournalTaken(
                    f"instance {instance} is not under epoch {epoch}, or not posted to {posted}, any more"
                )
            freed = await connection.fetch(_SQL["release"], instance)
            if freed:
                await connection.execute(_SQL["tell"], [row["window_id"] for row in freed], [], instance)


async def in_force(connection: Any, scopes: Sequence[Scope]) -> dict[Scope, InForce]:  # noqa: ANN401  # asyncpg
    """What the tables say about those of `scopes` that they hold."""
    held = [scope for scope in scopes if scope.kind in _IN_TABLES]
    if not held:
        return {}
    parts = [parts_of(scope) for scope in held]
    rows = await connection.fetch(
        _SQL["in_force"], [scope.kind for scope in held], [first for first, _ in parts], [second for _, second in parts]
    )
    return {
        held[row["n"] - 1]: InForce(_limit_of(row), nano_of(row["spend"]) or 0, utc_s(row["reset_at"])) for row in rows
    }


def _limit_of(row: Mapping[str, Any]) -> int | None:
    """What a table allows, raised while it is."""
    limit = nano_of(row["max_budget"])
    if limit is None or row["raised"] is None:
        return limit
    raised = raise_of(msgspec.json.decode(row["raised"]))
    return limit if raised is None else raised_limit(limit, raised, row["now_s"])


async def _windows(
    connection: Any,  # noqa: ANN401  # asyncpg
    asks: Sequence[BudgetAsk],
    found: dict[Scope, InForce],
) -> dict[WindowId, Window]:
    """The windows asked about, locked, with the limits in force; those that are not there are made."""
    ids = [asked.ask.window for asked in asks]
    rows = await connection.fetch(_SQL["lock_windows"], ids)
    if len(rows) < len(set(ids)):
        there = {str(row["window_id"]) for row in rows}
        new = [asked for asked in asks if asked.ask.window not in there]
        await connection.execute(
            _SQL["make_windows"],
            [asked.ask.window for asked in new],
            [asked.scope.kind for asked in new],
            [asked.scope.id for asked in new],
            [None if asked.ends_at_s is None else datetime.fromtimestamp(asked.ends_at_s, UTC) for asked in new],
            [asked.budget.limit for asked in new],
            [spent_in_period(found.get(asked.scope), asked.ends_at_s) or 0 for asked in new],
        )
        rows = await connection.fetch(_SQL["lock_windows"], ids)
    limits = {asked.ask.window: _limit(asked, found.get(asked.scope)) for asked in asks}
    return {
        WindowId(str(row["window_id"])): Window(
            limit=limits[WindowId(str(row["window_id"]))],
            leased=row["leased_nano_usd"],
            spent=row["spent_nano_usd"],
        )
        for row in rows
    }


def _limit(asked: BudgetAsk, found: InForce | None) -> int:
    return asked.budget.limit if found is None or found.limit is None else found.limit


def spent_in_period(found: InForce | None, ends_at_s: float | None) -> int | None:
    """What a table says was spent of the period that ends so; None: it says nothing about that period."""
    if found is None or (found.limit is None and ends_at_s is not None and found.reset_at_s is None):
        return None  # the table knows the spender and no period, so its figure is of all time
    same = ends_at_s is None or found.reset_at_s is None or int(found.reset_at_s) == int(ends_at_s)
    return found.spent if same else None
