"""Rows of LiteLLM's tables as records: JSON decoded, times in UTC; and values on their way into them, as JSON.

Statements take such an object apart with `jsonb_populate_record`: columns that are not in it stay as they are.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import msgspec

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.errors import StoreRefused
from bursar.domain.moments import in_utc
from bursar.domain.money import without_dust
from bursar.store.database import Database

Row = dict[str, object]
T = TypeVar("T")

_AT_ONCE = 500

_JSON_COLUMNS = frozenset(
    {
        "aliases",
        "budget_fallbacks",
        "budget_limits",
        "config",
        "members_with_roles",
        "metadata",
        "model_aliases",
        "model_info",
        "model_max_budget",
        "model_spend",
        "permissions",
        "router_settings",
    }
)


SUMS = frozenset({"spend", "total_spend"})
"""Columns to which the ledger adds up."""


def record_of(row: asyncpg.Record) -> Row:
    """A row by column name."""
    found: dict[str, Any] = dict(row)
    for name, value in found.items():
        if name in _JSON_COLUMNS and isinstance(value, str):
            found[name] = msgspec.json.decode(value)
        elif name == "models" and value is None:
            found[name] = []  # rows that others wrote; LiteLLM reads them so
        elif isinstance(value, datetime):
            found[name] = value.replace(tzinfo=UTC)
        elif name in SUMS and isinstance(value, float):
            found[name] = without_dust(value)
    return found


def records_of(rows: Iterable[asyncpg.Record]) -> list[Row]:
    """Several."""
    return [record_of(row) for row in rows]


def json_of(values: Mapping[str, object]) -> str:
    """Values by column name, with times as LiteLLM's columns have them: UTC, without saying so. Raises as `in_utc`."""
    naive = {name: _naive(value) if isinstance(value, datetime) else value for name, value in values.items()}
    return msgspec.json.encode(naive).decode()


def _naive(moment: datetime) -> datetime:
    """In milliseconds: the column would round the last moment of the calendar up, to one that nobody can read."""
    found = in_utc(moment)
    return found.replace(microsecond=found.microsecond // 1000 * 1000, tzinfo=None)


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Some at a time, of what whole rows are read back of: more at once would hold up the calls of the same process."""
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def change(
    action: Action,
    table_name: str,
    object_id: object,
    actor: Actor,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> Change:
    """What the log of changes gets to know."""
    return Change(
        action=action, table_name=table_name, object_id=str(object_id), actor=actor, before=before, after=after
    )


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[Any]:
    """A transaction for values that came from outside.

    Raises StoreUnavailable; StoreRefused: one of them cannot be stored. The message is fit for whoever sent it.
    """
    try:
        async with database.transaction() as connection:
            yield connection
    except asyncpg.DataError as error:
        raise StoreRefused(f"A value cannot be stored: {error.args[0]}.") from error  # without its details
    except asyncpg.IntegrityConstraintViolationError as error:
        raise StoreRefused("Something that this names was made or deleted in the meantime. Try again.") from error


@asynccontextmanager
async def looking(database: Database) -> AsyncIterator[Any]:
    """A connection for statements with filters that came from outside. Raises as `writing` does."""
    try:
        async with database.connection() as connection:
            yield connection
    except asyncpg.DataError as error:
        raise StoreRefused("A filter holds characters that no text in the database has.") from error
