"""Prompts and answers in the log rows: implements `ports.ledger.TextStore`."""

from collections.abc import Sequence

import asyncpg

from bursar.domain.errors import StoreRefused
from bursar.ports.ledger import CallText
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("texts")


class PostgresTexts:
    """Writes texts into `LiteLLM_SpendLogs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, texts: Sequence[CallText]) -> None:
        """Raises StoreUnavailable, StoreRefused."""
        try:
            async with self._database.connection() as connection:
                await connection.execute(
                    _SQL["save"],
                    [text.call_id for text in texts],
                    [text.litellm_call_id for text in texts],
                    [text.messages.decode() for text in texts],
                    [text.response.decode() for text in texts],
                    [text.request.decode() for text in texts],
                )
        except asyncpg.DataError as error:
            raise StoreRefused(f"the database refuses a text: {error}") from error
