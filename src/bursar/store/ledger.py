"""The books in PostgreSQL: implements `ports.LedgerStore`."""

import asyncpg
import msgspec

from bursar.domain.errors import JournalTaken, StoreRefused, StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.ports import Batch, JournalPosition
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("ledger")

_REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
"""What the content is to blame for. Not among them: errors in our own SQL, which must stop the poster loudly."""


_Charged = tuple[str, str, int, int]
"""Window, instance, what its attempts cost, what they held."""


class PostgresLedger:
    """Posts batches; each transaction claims its journal's row first, so that two posters cannot both commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        """See `ports.LedgerStore.register`."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["register_journal"], journal_id, host)
            row = await connection.fetchrow(_SQL["journal_position"], journal_id)
        return JournalPosition(sequence=row["posted_sequence"], epoch=row["epoch"])

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        """See `ports.LedgerStore.take_over`."""
        async with self._database.connection() as connection:
            new = await connection.fetchval(_SQL["take_over"], journal_id, epoch)
        if new is None:
            raise JournalTaken(f"journal {journal_id} is not under epoch {epoch} any more")
        return int(new)

    async def post(self, batch: Batch) -> int:
        """See `ports.LedgerStore.post`."""
        entries = batch.entries
        if not entries.isascii():  # what a provider wrote passes unread, and need not be UTF-8
            entries = entries.decode("utf-8", errors="replace").encode()
        try:
            async with self._database.transaction() as connection:
                counts = await connection.fetchrow(
                    _SQL["post_entries"], entries, batch.journal_id, batch.epoch, batch.after, batch.upto
                )
                if not counts["claimed"]:
                    raise JournalTaken(
                        f"journal {batch.journal_id} is not at {batch.after} under epoch {batch.epoch} any more"
                    )
                if counts["inserted"] < counts["offered"]:
                    await connection.execute(_SQL["quarantine_contradictions"], entries, batch.journal_id)
                if counts["charged"] is not None:
                    charged = msgspec.json.decode(counts["charged"], type=list[_Charged])
                    await connection.execute(_SQL["book_grants"], *zip(*charged, strict=True))
                if (aside := batch.set_aside) is not None:
                    await connection.execute(
                        _SQL["quarantine_record"], aside.reason, batch.journal_id, batch.upto, aside.content
                    )
        except asyncpg.UniqueViolationError as error:
            # Another worker has just logged a row under the same provider id: the next try sees it, and avoids it.
            raise StoreUnavailable("another worker was posting at the same moment") from error
        except _REFUSALS as error:
            raise StoreRefused(f"the database refuses an entry: {error}") from error
        return int(counts["inserted"])
