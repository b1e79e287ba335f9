"""Credentials of providers in PostgreSQL, sealed."""

from collections.abc import Callable, Sequence
from datetime import datetime

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.preconditions import check_unchanged
from bursar.domain.stored_secrets import CREDENTIALS, hidden_values
from bursar.ports.models import CredentialRow, ModelRow, NewCredential
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.json_rows import json_mapping, json_row, json_text, writing
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("models")


class PostgresCredentials:
    """Implements `ports.models.CredentialStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[CredentialRow]:
        """See `ports.models.CredentialStore.all`."""
        async with self._database.connection() as connection:
            return [json_row(row) for row in await connection.fetch(_SQL["credentials"])]

    async def find(self, name: str) -> CredentialRow | None:
        """See `ports.models.CredentialStore.find`."""
        if "\x00" in name:
            return None
        row = await self._database.read_row(_SQL["credential"], name)
        return None if row is None else json_row(row)

    async def insert(self, credential: NewCredential, *, actor: Actor) -> bool:
        """See `ports.models.CredentialStore.insert`."""
        async with writing(self._database) as connection:
            row = await connection.fetchrow(
                _SQL["insert_credential"],
                credential.name,
                json_text(credential.values),
                json_text(credential.info),
                actor.name,
            )
            if row is None:
                return False
            await record(connection, _credential_change(Action.CREATED, actor, after=json_row(row)))
            await connection.execute(_SQL["tell"], "")
        return True

    async def update(
        self,
        name: str,
        change: Callable[[CredentialRow], NewCredential],
        *,
        actor: Actor,
        expected: datetime | None = None,
    ) -> bool:
        """See `ports.models.CredentialStore.update`."""
        if "\x00" in name:
            return False
        async with writing(self._database) as connection:
            row = await connection.fetchrow(_SQL["lock_credential"], name)
            if row is None:
                return False
            check_unchanged(expected, row["updated_at"])
            before = json_row(row)
            new = change(before)
            after = await connection.fetchrow(
                _SQL["update_credential"], name, json_text(new.values), json_text(new.info), actor.name
            )
            await record(connection, _credential_change(Action.UPDATED, actor, before=before, after=json_row(after)))
            await connection.execute(_SQL["tell"], "")
        return True

    async def delete(self, name: str, *, check: Callable[[Sequence[ModelRow]], None], actor: Actor) -> bool:
        """See `ports.models.CredentialStore.delete`."""
        if "\x00" in name:
            return False
        async with writing(self._database) as connection:
            row = await connection.fetchrow(_SQL["delete_credential"], name)
            if row is None:
                return False
            check([json_row(model) for model in await connection.fetch(_SQL["models"])])
            await record(connection, _credential_change(Action.DELETED, actor, before=json_row(row)))
            await connection.execute(_SQL["tell"], "")
        return True


def _credential_change(
    action: Action, actor: Actor, *, before: CredentialRow | None = None, after: CredentialRow | None = None
) -> Change:
    row = after or before or {}
    return Change(
        action=action,
        table_name=CREDENTIALS,
        object_id=str(row["credential_name"]),
        actor=actor,
        before=None
        if before is None
        else before | {"credential_values": hidden_values(json_mapping(before["credential_values"]))},
        after=None
        if after is None
        else after | {"credential_values": hidden_values(json_mapping(after["credential_values"]))},
    )
