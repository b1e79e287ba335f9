"""Sections of the configuration in PostgreSQL."""

from collections.abc import Callable, Mapping

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.stored_secrets import SETTINGS, hidden_parameters
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.json_rows import json_mapping, json_text, writing
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("models")


class PostgresSettings:
    """Implements `ports.models.SettingStore`: the table `LiteLLM_Config`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, section: str) -> dict[str, object]:
        """See `ports.models.SettingStore.find`."""
        row = await self._database.read_row(_SQL["setting"], section)
        return {} if row is None else json_mapping(row["param_value"])

    async def update(
        self, section: str, change: Callable[[Mapping[str, object]], Mapping[str, object]], *, actor: Actor
    ) -> dict[str, object]:
        """See `ports.models.SettingStore.update`."""
        async with writing(self._database) as connection:
            await connection.execute(_SQL["lock_settings"])
            before = json_mapping(await connection.fetchval(_SQL["setting"], section))
            after = dict(change(before))
            await connection.execute(_SQL["save_setting"], section, json_text(after))
            await record(
                connection,
                Change(
                    action=Action.UPDATED,
                    table_name=SETTINGS,
                    object_id=section,
                    actor=actor,
                    before=hidden_parameters(before),
                    after=hidden_parameters(after),
                ),
            )
            await connection.execute(_SQL["tell"], "")
        return after
