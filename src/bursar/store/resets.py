"""The columns that say what was spent in the current budget period, set back when it ends."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from bursar.domain.errors import InvalidRequest, StoreError
from bursar.domain.periods import Calendar, next_reset
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

log = logging.getLogger(__name__)

_SQL = {**load_named_sql("resets"), **load_named_sql("totals")}
_LOOK_S = 10.0
_AT_ONCE = 1000


class PeriodSweeper:
    """Looks for ended periods; of several processes one at a time does."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar
        self._unreadable: set[tuple[str, str]] = set()
        """Rows with a duration that is none, told about once."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            done = 0
            try:
                done = await self.sweep()
            except StoreError as error:
                log.warning("resets.store_away reason=%s", error)
            await asyncio.sleep(0.0 if done == _AT_ONCE else _LOOK_S)

    async def sweep(self) -> int:
        """Set back what is due, some at a time; how many there were. Raises StoreError."""
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_SQL["only_one"]):
                return 0
            rows = await connection.fetch(_SQL["due"], _AT_ONCE)
            if rows:  # posters move these rows and their windows together: not while they are read and set back
                await connection.execute(_SQL["lock_totals"])
            now = datetime.now(UTC)
            done = 0
            for row in rows:
                try:
                    ends = next_reset(row["budget_duration"], now, self._calendar)
                except InvalidRequest:
                    self._tell(row["kind"], row["id"], row["budget_duration"])
                    continue
                at = ends.replace(tzinfo=None)
                await _reset(connection, row["kind"], row["id"], row["budget_reset_at"], at)
                done += 1
        return done

    def _tell(self, kind: str, found: str, duration: str) -> None:
        if (kind, found) not in self._unreadable:
            self._unreadable.add((kind, found))
            log.error("resets.no_duration kind=%s duration=%s", kind, duration)


async def _reset(connection: Any, kind: str, *values: object) -> None:  # noqa: ANN401  # asyncpg
    match kind:
        case "key":
            await connection.execute(_SQL["reset_key"], *values)
        case "user":
            await connection.execute(_SQL["reset_user"], *values)
        case "team":
            await connection.execute(_SQL["reset_team"], *values)
        case "budget":
            await connection.execute(_SQL["reset_budget"], *values)
