"""How reports read: few at a time, for a bounded time, on connections of their own. Calls do not wait for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from bursar.domain.errors import StoreBusy, StoreRefused
from bursar.domain.reports import KeyNames
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

AT_ONCE = 2
"""Reports that this process has made at a time."""
_WAIT_S = 5.0
_TIMEOUT_S = 10.0

_SQL = load_named_sql("reports")


class ReportReader:
    """Lends connections to reports."""

    def __init__(self, database: Database, *, wait_s: float = _WAIT_S, timeout_s: float = _TIMEOUT_S) -> None:
        """`database`: one that nobody else uses. `wait_s`: how long a report waits for its turn; `timeout_s`: how long
        one of its statements may take."""
        self._database = database
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._wait_s = wait_s
        self._timeout_ms = str(int(timeout_s * 1000))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        """A connection (asyncpg's) that cannot write.

        Raises StoreBusy: others were not done in time; StoreTooSlow: it took too long; StoreRefused: a value that no
        row can have; StoreUnavailable.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turns.acquire()
        except TimeoutError:
            raise StoreBusy(f"{AT_ONCE} other reports are being made") from None
        try:
            async with self._database.transaction() as connection:
                await connection.execute(_SQL["begin"], self._timeout_ms)
                yield connection
        except asyncpg.DataError as error:
            raise StoreRefused("A value cannot be looked for: it holds what no row can.") from error
        finally:
            self._turns.release()


class PostgresReportNames:
    """Implements `ports.reports.ReportNames`."""

    def __init__(self, reader: ReportReader) -> None:
        self._reader = reader

    async def keys_of(self, user_id: str) -> list[str]:
        """See `ports.reports.ReportNames.keys_of`."""
        async with self._reader.reading() as connection:
            return [row["token"] for row in await connection.fetch(_SQL["keys_of"], user_id)]

    async def key_names(self, tokens: Sequence[str]) -> dict[str, KeyNames]:
        """See `ports.reports.ReportNames.key_names`."""
        async with self._reader.reading() as connection:
            rows = await connection.fetch(_SQL["names_of_keys"], list(tokens))
        return {row["token"]: KeyNames(row["key_alias"], row["key_name"], row["team_id"]) for row in rows}

    async def team_aliases(self, teams: Sequence[str]) -> dict[str, str | None]:
        """See `ports.reports.ReportNames.team_aliases`."""
        async with self._reader.reading() as connection:
            rows = await connection.fetch(_SQL["names_of_teams"], list(teams))
        return {row["team_id"]: row["team_alias"] for row in rows}
