"""Models in PostgreSQL, and all else that the database adds to the configuration. Secrets come and go sealed."""

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.stored_secrets import MODELS, hidden_parameters
from bursar.ports.models import SETTING_SECTIONS, ModelChange, ModelRow, NewModel, StoredSetup
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.json_rows import json_mapping, json_row, json_text, writing
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("models")
_TOLD_MAX = 1000
"""Characters of an id in a notification, which the database limits; whoever is told looks at everything anyway."""


class PostgresModels:
    """Implements `ports.models.ModelStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fingerprint(self) -> str:
        """See `ports.models.ModelStore.fingerprint`."""
        row = await self._database.read_row(_SQL["fingerprint"])
        return str(row[0])

    async def setup(self) -> StoredSetup:
        """See `ports.models.ModelStore.setup`."""
        async with (
            self._database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            fingerprint = await connection.fetchval(_SQL["fingerprint"])
            models = await connection.fetch(_SQL["models"])
            credentials = await connection.fetch(_SQL["credentials"])
            settings = {
                section: found
                for section in SETTING_SECTIONS
                if (found := json_mapping(await connection.fetchval(_SQL["setting"], section)))
            }
        return StoredSetup(
            fingerprint=str(fingerprint),
            models=tuple(json_row(row) for row in models),
            credentials=tuple(json_row(row) for row in credentials),
            settings=settings,
        )

    async def find(self, model_id: str) -> ModelRow | None:
        """See `ports.models.ModelStore.find`."""
        if "\x00" in model_id:
            return None
        row = await self._database.read_row(_SQL["model"], model_id)
        return None if row is None else json_row(row)

    async def insert(self, model: NewModel, *, actor: Actor) -> ModelRow | None:
        """See `ports.models.ModelStore.insert`."""
        async with writing(self._database) as connection:
            row = await connection.fetchrow(
                _SQL["insert_model"],
                model.model_id,
                model.model_name,
                json_text(model.litellm_params),
                json_text(model.model_info),
                model.blocked,
                actor.name,
            )
            if row is None:
                return None
            made = json_row(row)
            await record(connection, _model_change(Action.CREATED, actor, after=made))
            await connection.execute(_SQL["tell"], model.model_id[:_TOLD_MAX])
        return made

    async def update(self, model_id: str, change: ModelChange, *, actor: Actor) -> ModelRow | None:
        """See `ports.models.ModelStore.update`."""
        if "\x00" in model_id:
            return None
        async with writing(self._database) as connection:
            row = await connection.fetchrow(_SQL["lock_model"], model_id)
            if row is None:
                return None
            before = json_row(row)
            model = change(before)
            after = json_row(
                await connection.fetchrow(
                    _SQL["update_model"],
                    model_id,
                    model.model_name,
                    json_text(model.litellm_params),
                    json_text(model.model_info),
                    model.blocked,
                    actor.name,
                )
            )
            await record(connection, _model_change(Action.UPDATED, actor, before=before, after=after))
            await connection.execute(_SQL["tell"], model_id[:_TOLD_MAX])
        return after

    async def delete(self, model_id: str, *, actor: Actor) -> bool:
        """See `ports.models.ModelStore.delete`."""
        if "\x00" in model_id:
            return False
        async with writing(self._database) as connection:
            row = await connection.fetchrow(_SQL["delete_model"], model_id)
            if row is None:
                return False
            await record(connection, _model_change(Action.DELETED, actor, before=json_row(row)))
            await connection.execute(_SQL["tell"], model_id[:_TOLD_MAX])
        return True


def _model_change(
    action: Action, actor: Actor, *, before: ModelRow | None = None, after: ModelRow | None = None
) -> Change:
    row = after or before or {}
    return Change(
        action=action,
        table_name=MODELS,
        object_id=str(row["model_id"]),
        actor=actor,
        before=None if before is None else before | {"litellm_params": _hidden(before["litellm_params"])},
        after=None if after is None else after | {"litellm_params": _hidden(after["litellm_params"])},
    )


def _hidden(parameters: object) -> dict[str, object]:
    return hidden_parameters(json_mapping(parameters))
