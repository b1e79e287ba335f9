"""Rows with JSON columns, and writing them."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from bursar.domain.errors import StoreRefused
from bursar.store.database import Database

_JSON_COLUMNS = ("litellm_params", "model_info", "credential_values", "credential_info")


class Writing:
    """A transaction in which values that no column takes become StoreRefused."""

    def __init__(self, database: Database) -> None:
        self._transaction = database.transaction()

    async def __aenter__(self) -> Any:  # noqa: ANN401  # asyncpg is not typed
        return await self._transaction.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:  # noqa: ANN401
        try:
            return await self._transaction.__aexit__(*error)
        except asyncpg.DataError as refused:
            raise StoreRefused("A value holds characters that no text in the database has.") from refused


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
