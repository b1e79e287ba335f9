"""Rows with JSON columns, and writing them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from bursar.domain.errors import StoreRefused
from bursar.store.database import Database

_JSON_COLUMNS = ("litellm_params", "model_info", "credential_values", "credential_info")


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[Any]:
    """A connection inside a transaction. Raises as `Database.connection` does; StoreRefused: a value that no column
    takes."""
    try:
        async with database.transaction() as connection:
            yield connection
    except asyncpg.DataError as error:
        raise StoreRefused("A value holds characters that no text in the database has.") from error


def json_text(value: object) -> str:
    """`value` for a JSON column."""
    return msgspec.json.encode(value).decode()


def json_mapping(value: object) -> dict[str, object]:
    """A JSON column as a mapping; LiteLLM has written some as a text that holds JSON."""
    while isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return {}
    return dict(value) if isinstance(value, dict) else {}


def json_row(row: asyncpg.Record) -> dict[str, object]:
    """A row by column name; times carry UTC, JSON columns are mappings."""
    found: dict[str, Any] = dict(row)
    for name in _JSON_COLUMNS:
        if name in found:
            found[name] = json_mapping(found[name])
    return {k: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for k, v in found.items()}
