"""Budget windows of those whose spending begins anew: who is deleted, or set back by somebody."""

from collections.abc import Sequence
from typing import Any

from bursar.domain.limits import Scope, ScopeKind, member_scope
from bursar.store.budgets import in_force
from bursar.store.named_sql import load_named_sql

_SQL = {**load_named_sql("scope_windows"), **load_named_sql("totals"), **load_named_sql("budgets")}


async def lock_totals(connection: Any) -> None:  # noqa: ANN401  # asyncpg
    """Keep posters away until commit: for changes to several rows that they move, in whatever order."""
    await connection.execute(_SQL["lock_totals"])


async def hold_totals(connection: Any) -> None:  # noqa: ANN401  # asyncpg
    """Keep posters away until commit, and whoever has `lock_totals`: for changes to one row that depend on others."""
    await connection.execute(_SQL["hold_totals"])


async def set_spent(connection: Any, scopes: Sequence[Scope], nano_usd: int = 0) -> None:  # noqa: ANN401  # asyncpg
    """Have `nano_usd` be what `scopes` have spent in their current periods. Only after `lock_totals`."""
    kinds, ids = [scope.kind for scope in scopes], [scope.id for scope in scopes]
    changed = [row["window_id"] for row in await connection.fetch(_SQL["set_spent"], kinds, ids, nano_usd)]
    if changed:
        await connection.execute(_SQL["tell_spent"], changed)


async def count_in(connection: Any, scopes: Sequence[Scope]) -> None:  # noqa: ANN401  # asyncpg
    """Have the current periods of `scopes` count at least what their rows say was spent: their budget has changed, and
    one that was left for another may come back. Not of a row whose period has ended and that has not been set back yet:
    that was spent before. Only after `lock_totals`."""
    found = [(scope, stated) for scope, stated in (await in_force(connection, scopes)).items() if stated.spent]
    kinds, ids = [scope.kind for scope, _ in found], [scope.id for scope, _ in found]
    spent, ends = [stated.spent for _, stated in found], [stated.reset_at_s for _, stated in found]
    changed = await connection.fetch(_SQL["count_in"], kinds, ids, spent, ends)
    if changed:
        await connection.execute(_SQL["tell_spent"], [row["window_id"] for row in changed])


async def count_in_all(connection: Any, budget_id: str) -> None:  # noqa: ANN401  # asyncpg
    """The same of all who spend of a budget that has changed. Only after `lock_totals`."""
    rows = await connection.fetch(_SQL["of_budget"], budget_id)
    await count_in(
        connection,
        [
            member_scope(row["first"], row["second"])
            if row["kind"] == ScopeKind.TEAM_MEMBER
            else Scope(ScopeKind(row["kind"]), row["first"])
            for row in rows
        ],
    )


async def begin_anew(connection: Any, scopes: Sequence[Scope]) -> None:  # noqa: ANN401  # asyncpg
    """Have `scopes`, and single models in them, have spent nothing. Only after `lock_totals`."""
    rows = await connection.fetch(_SQL["of_models"], [scope.kind for scope in scopes], [scope.id for scope in scopes])
    models = [Scope(ScopeKind(row["scope_kind"]), row["scope_id"]) for row in rows]
    await set_spent(connection, [*scopes, *models])
