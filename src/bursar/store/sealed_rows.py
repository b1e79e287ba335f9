"""The rows that hold secrets, for whoever changes the key they are sealed with."""

from collections.abc import Callable
from typing import Any

import msgspec

from bursar.domain.audit import Action, Actor, Change
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.json_rows import json_mapping, json_text
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("sealed_rows")

Values = dict[str, object]


class SealedRow(msgspec.Struct, frozen=True):
    """Which row."""

    table: str
    id: str


class SealedRows:
    """Models, credentials and settings."""

    def __init__(self, database: Database, actor: Actor) -> None:
        """`actor`: whom changes are put down to."""
        self._database = database
        self._actor = actor

    async def all(self) -> list[SealedRow]:
        """Every row there is. Raises StoreUnavailable."""
        async with self._database.connection() as connection:
            return [SealedRow(row["table_name"], row["id"]) for row in await connection.fetch(_SQL["ids"])]

    async def change(
        self, row: SealedRow, change: Callable[[Values], Values | None], verify: Callable[[Values], None]
    ) -> bool:
        """Change the values of a row that nobody else changes meanwhile, and put that on record, without the values;
        None from `change`: leave them.

        `verify` looks at what the database has then; what it raises undoes the change. False: left, or gone.
        Raises StoreUnavailable.
        """
        async with self._database.transaction() as connection:
            stored = await _lock(connection, row)
            after = None if stored is None else change(json_mapping(stored))
            if after is None:
                return False
            verify(json_mapping(await _save(connection, row, json_text(after))))
            change_made = Change(action=Action.ROTATED, table_name=row.table, object_id=row.id, actor=self._actor)
            await record(connection, change_made)
        return True


async def _lock(connection: Any, row: SealedRow) -> Any:  # noqa: ANN401  # asyncpg is not typed
    match row.table:
        case "LiteLLM_ProxyModelTable":
            return await connection.fetchval(_SQL["lock_LiteLLM_ProxyModelTable"], row.id)
        case "LiteLLM_CredentialsTable":
            return await connection.fetchval(_SQL["lock_LiteLLM_CredentialsTable"], row.id)
    return await connection.fetchval(_SQL["lock_LiteLLM_Config"], row.id)


async def _save(connection: Any, row: SealedRow, values: str) -> Any:  # noqa: ANN401  # asyncpg is not typed
    match row.table:
        case "LiteLLM_ProxyModelTable":
            return await connection.fetchval(_SQL["save_LiteLLM_ProxyModelTable"], row.id, values)
        case "LiteLLM_CredentialsTable":
            return await connection.fetchval(_SQL["save_LiteLLM_CredentialsTable"], row.id, values)
    return await connection.fetchval(_SQL["save_LiteLLM_Config"], row.id, values)
