"""The auditor that never stops: looks at the books again and again, and keeps what it found for the metrics."""

import asyncio
import logging
from typing import Any

import msgspec

from bursar.domain.errors import StoreError
from bursar.ports.ledger import BooksState, LastAudit
from bursar.store.audit import Difference, audit
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

log = logging.getLogger(__name__)

_SQL = load_named_sql("auditor")
_LOOK_S = 10.0
"""How often a process sees whether it is time."""
_REST = 50
"""A look is followed by this many times its own duration without one: large books are not looked at all the time."""
_KEPT = 100


class Auditor:
    """Looks every `interval_s` seconds; of all processes on the database one at a time does."""

    def __init__(self, database: Database, *, interval_s: float, rest: int = _REST) -> None:
        """`rest`: how many times its own duration a look is followed by none, at least."""
        self._database = database
        self._rest = rest
        self._interval_s = interval_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.look()
            except StoreError as error:
                log.info("audit.store_away reason=%s", error)

    async def look(self) -> bool:
        """Look if it is time and nobody else does; whether it was. Raises StoreError."""
        async with self._database.transaction() as guard:
            await guard.execute(_SQL["be_patient"])
            if not await guard.fetchval(_SQL["only_one"]) or not await guard.fetchval(
                _SQL["is_due"], self._interval_s, self._rest
            ):
                return False
            found = await audit(self._database)
            differences = msgspec.json.encode(found.differences).decode()
            await guard.execute(_SQL["keep"], found.entries, found.drift_nano_usd, differences, _KEPT)
        if not found.closes:
            log.error(
                "audit.books_do_not_close drift_nano_usd=%d differences=%d first=%s",
                *(found.drift_nano_usd, len(found.differences), _line(found.differences[0])),
            )
        return True


async def books_state(database: Database) -> BooksState:
    """How the books are. Raises StoreError."""
    async with database.connection() as connection:
        row: Any = await connection.fetchrow(_SQL["state"])
    audit = None
    if row["ended_at"] is not None:
        audit = LastAudit(
            ended_at=row["ended_at"],
            seconds=row["seconds"],
            entries=row["entries"],
            drift_nano_usd=int(row["drift_nano_usd"]),
            differences=row["differences"],
        )
    return BooksState(
        quarantined=row["quarantined"],
        budgets_over_limit=row["over_limit"],
        incidents=row["incidents"],
        audit=audit,
    )


def _line(difference: Difference) -> str:
    return f"{difference.check}: {difference.what}: {difference.expected} by the entries, {difference.found} found"
