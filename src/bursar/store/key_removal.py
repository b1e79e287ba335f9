"""Keys that go with what they belong to."""

from collections.abc import Sequence
from typing import Any

from bursar.domain.audit import Action, Actor
from bursar.store.audit_log import record
from bursar.store.named_sql import load_named_sql
from bursar.store.rows import change, record_of

_SQL = load_named_sql("keys")


async def remove_keys(connection: Any, tokens: Sequence[str], *, actor: Actor) -> None:  # noqa: ANN401  # asyncpg
    """Move keys to the table of deleted ones, on the connection whose transaction deletes what they belong to."""
    if not tokens:
        return
    rows = [record_of(row) for row in await connection.fetch(_SQL["delete"], tokens, [], actor.name, actor.api_key)]
    changes = [change(Action.DELETED, "LiteLLM_VerificationToken", row["token"], actor, before=row) for row in rows]
    await record(connection, *changes)
    await connection.execute(_SQL["tell"], [row["token"] for row in rows])
