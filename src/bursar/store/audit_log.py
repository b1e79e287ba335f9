"""The log of changes: written within the transaction that makes the change, read by administrators."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from bursar.domain.audit import Change
from bursar.domain.errors import StoreRefused
from bursar.domain.masking import masked, masked_row
from bursar.ports.audits import AuditFilter, AuditPage, AuditRow
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("audit_log")
_VALUES_MAX = 1000
"""Values, roughly, that are looked through at once: a millisecond or two."""


async def record(connection: Any, *changes: Change) -> None:  # noqa: ANN401  # asyncpg is not typed
    """Put changes on record, secrets masked, on the connection whose transaction makes them."""
    if not changes:
        return
    columns = await asyncio.to_thread(_columns, changes) if _are_large(changes) else _columns(changes)
    await connection.execute(_SQL["record"], *columns)


class PostgresAuditLog:
    """Implements `ports.audits.AuditLog`: the table `LiteLLM_AuditLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, entry_id: str) -> AuditRow | None:
        """See `ports.audits.AuditLog.find`."""
        if "\x00" in entry_id:
            return None
        row = await self._database.read_row(_SQL["find"], entry_id)
        return None if row is None else _row(row)

    async def page(self, wanted: AuditFilter, *, limit: int, offset: int) -> AuditPage:
        """See `ports.audits.AuditLog.page`."""
        filters = (
            wanted.changed_by,
            wanted.changed_by_api_key,
            wanted.action,
            wanted.table_name,
            wanted.object_id,
            _naive(wanted.since),
            _naive(wanted.before),
        )
        try:
            async with self._database.connection() as connection:
                total = await connection.fetchval(_SQL["count"], *filters)
                rows = await connection.fetch(_SQL["page"], *filters, wanted.sort_by, wanted.downwards, limit, offset)
        except asyncpg.DataError as error:
            raise StoreRefused("A filter holds characters that no text in the database has.") from error
        return AuditPage(total=total, rows=[_row(row) for row in rows])


def _columns(changes: Sequence[Change]) -> tuple[list[str | None], ...]:
    return (
        [change.actor.name for change in changes],
        [change.actor.api_key for change in changes],
        [change.action.value for change in changes],
        [change.table_name for change in changes],
        [str(masked(change.object_id)) for change in changes],
        [_json(change.before) for change in changes],
        [_json(change.after) for change in changes],
    )


def _are_large(changes: Sequence[Change]) -> bool:
    """Looking through them would hold up the calls that the same process serves."""
    values = [value for change in changes for row in (change.before, change.after) if row for value in row.values()]
    return len(values) + sum(len(value) for value in values if isinstance(value, list | dict)) > _VALUES_MAX


def _json(row: Mapping[str, object] | None) -> str | None:
    return None if row is None else msgspec.json.encode(masked_row(row)).decode()


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _row(row: asyncpg.Record) -> AuditRow:
    found: dict[str, Any] = dict(row)
    for name in ("before_value", "updated_values"):
        if isinstance(found[name], str):
            found[name] = msgspec.json.decode(found[name])
    return found | {"updated_at": found["updated_at"].replace(tzinfo=UTC)}
