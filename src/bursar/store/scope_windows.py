"""Budget windows of those whose spending begins anew: who is deleted, or set back by somebody."""

from collections.abc import Sequence
from typing import Any

from bursar.domain.limits import Scope, ScopeKind
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


async def begin_anew(connection: Any, scopes: Sequence[Scope]) -> None:  # noqa: ANN401  # asyncpg
    """Have `scopes`, and single models in them, have spent nothing. Only after `lock_totals`."""
    rows = await connection.fetch(_SQL["of_models"], [scope.kind for scope in scopes], [scope.id for scope in scopes])
    models = [Scope(ScopeKind(row["scope_kind"]), row["scope_id"]) for row in rows]
    await set_spent(connection, [*scopes, *models])
