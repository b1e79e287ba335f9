"""The books in PostgreSQL: implements `ports.ledger.LedgerStore`."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec

from bursar.domain.accounting import Pins, encode_entries
from bursar.domain.deaths import Told, outlived
from bursar.domain.errors import JournalTaken, StoreRefused, StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.domain.money import NanoUsd
from bursar.domain.windows import WindowId
from bursar.ports.ledger import Batch, JournalPosition
from bursar.store.database import Database
from bursar.store.entry_columns import columns_of
from bursar.store.named_sql import load_named_sql

log = logging.getLogger(__name__)

_SQL = {**load_named_sql("ledger"), **load_named_sql("totals")}

_REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
"""What the content is to blame for. Not among them: errors in our own SQL, which must stop the poster loudly."""


_ADJUST = b'"kind":"adjust"'
"""Adjustments need a look at what they adjust."""

_Columns = tuple[Sequence[object], ...]
"""Of entries, as `columns_of` gives them."""
_Charged = tuple[str, str, int, int]
"""Window, instance, what its attempts cost, what they held."""
_Forced = tuple[str, int]
"""Window, what is booked there without a hold."""
_Soft = tuple[str, str, float, float]
"""Whose soft budget was passed: kind, id; the budget and what is spent, in dollars."""


class PostgresLedger:
    """Posts batches: entries and log rows, then totals, then grants. Each transaction claims its instance's and its
    journal's row first, so that neither a second poster nor one taken for dead can commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._expected: tuple[bytes, _Columns] | None = None

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        """See `ports.ledger.LedgerStore.register`."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["register_journal"], journal_id, host)
            row = await connection.fetchrow(_SQL["journal_position"], journal_id)
        return JournalPosition(
            sequence=row["posted_sequence"], epoch=row["epoch"], unsettled=row["unsettled"], books=row["books"]
        )

    async def books(self) -> str:
        """See `ports.ledger.LedgerStore.books`."""
        async with self._database.connection() as connection:
            found: str = await connection.fetchval(_SQL["books"])
        return found

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        """See `ports.ledger.LedgerStore.take_over`."""
        async with self._database.connection() as connection:
            new = await connection.fetchval(_SQL["take_over"], journal_id, epoch)
        if new is None:
            raise JournalTaken(f"journal {journal_id} is not under epoch {epoch} any more")
        return int(new)

    def expect(self, entries: bytes) -> None:
        """See `ports.ledger.LedgerStore.expect`."""
        with suppress(StoreRefused):
            self._expected = entries, columns_of(_utf8(entries))

    async def post(self, batch: Batch) -> int:
        """See `ports.ledger.LedgerStore.post`."""
        expected, self._expected = self._expected, None
        entries = _utf8(batch.entries)
        columns = expected[1] if expected is not None and expected[0] is batch.entries else columns_of(entries)
        try:
            if _ADJUST not in entries:
                try:
                    return await self._post(batch, entries, columns)
                except asyncpg.UniqueViolationError:  # something in it is not new, or another worker logged such a row
                    pass
            return await self._post(batch, entries, sift=True)
        except asyncpg.UniqueViolationError as error:
            # Another worker has just posted the same, or logged a row under the same provider id: the next try sees it.
            raise StoreUnavailable("another worker was posting at the same moment") from error
        except _REFUSALS as error:
            raise StoreRefused(f"the database refuses an entry: {error}") from error

    async def _post(self, batch: Batch, entries: bytes, columns: _Columns = (), *, sift: bool = False) -> int:
        """Post in one transaction. All entries are new, or it fails; unless `sift`: then those that are not are left
        out, and what contradicts the books is quarantined."""
        async with self._database.transaction() as connection:
            if sift:
                fresh: str = await connection.fetchval(_SQL["new_entries"], entries)
                columns = columns_of(_joined(fresh.encode(), await _truths(connection, entries)))
            posted = await connection.fetchrow(
                _SQL["post_entries"], batch.journal_id, batch.epoch, batch.after, batch.upto, *columns
            )
            if not posted["claimed"]:
                await self._explain(connection, batch)
            moves: str | None = posted["moves"]
            loose_charges, loose_calls = posted["loose_charges"], posted["loose_calls"]
            forced: str | None = None
            softly_passed: str | None = None
            if moves or loose_charges:
                await connection.execute(_SQL["lock_totals"])
                if loose_charges or loose_calls:
                    late = await connection.fetchval(_SQL["late_changes"], loose_charges or "[]", loose_calls or "[]")
                    moves = _both(moves, late)
                if moves:
                    moved = await connection.fetchrow(_SQL["move_totals"], moves)
                    forced = moved["forced"]
                    softly_passed = moved["softly_passed"]
            if posted["charged"] or forced:
                await self._book_grants(connection, posted["charged"] or "[]", forced or "[]")
            if sift:
                await self._set_contradictions_aside(connection, entries, batch.journal_id)
            if batch.missing:
                await connection.execute(_SQL["note_missing"], batch.journal_id, batch.after, batch.missing)
            if (aside := batch.set_aside) is not None:
                await connection.execute(
                    _SQL["quarantine_record"], aside.reason, batch.journal_id, batch.upto, aside.content
                )
        if softly_passed is not None:
            _tell_soft(softly_passed)
        return int(posted["inserted"])

    async def _book_grants(self, connection: Any, charged: str, forced: str) -> None:  # noqa: ANN401  # asyncpg
        pinned = msgspec.json.decode(charged, type=list[_Charged])
        unpinned = msgspec.json.decode(forced, type=list[_Forced])
        columns = [*_columns(pinned, 4), *_columns(unpinned, 2)]
        for row in await connection.fetch(_SQL["book_grants"], *columns):
            log.warning(
                "budget.limit_passed kind=%s scope=%s limit=%d spent=%d",
                *(row["scope_kind"], row["scope_id"], row["amount"], row["spent"]),
            )

    async def _set_contradictions_aside(self, connection: Any, entries: bytes, journal_id: JournalId) -> None:  # noqa: ANN401
        for row in await connection.fetch(_SQL["quarantine_contradictions"], entries, journal_id):
            log.error("ledger.contradiction journal=%s reason=%s", journal_id, row["reason"])

    async def _explain(self, connection: Any, batch: Batch) -> None:  # noqa: ANN401  # asyncpg is not typed
        """Why the batch was not claimed. Raises JournalTaken, StoreUnavailable."""
        position = await connection.fetchrow(_SQL["journal_position"], batch.journal_id)
        if position is None or position["epoch"] != batch.epoch:
            raise JournalTaken(f"journal {batch.journal_id} is not under epoch {batch.epoch} any more")
        # A commit of ours whose answer was lost, or took long: it has happened after all.
        raise StoreUnavailable(f"journal {batch.journal_id} is at {position['posted_sequence']}, not at {batch.after}")


def _tell_soft(passed: str) -> None:
    for kind, scope, limit, spent in msgspec.json.decode(passed, type=list[_Soft]):
        log.warning(
            "budget.soft_limit_passed kind=%s scope=%s limit_usd=%.9g spent_usd=%.9g", kind, scope, limit, spent
        )


def _utf8(entries: bytes) -> bytes:
    """What a provider wrote passes unread, and need not be UTF-8."""
    return entries if entries.isascii() else entries.decode("utf-8", errors="replace").encode()


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    """The columns of `rows`, which have `count` of them."""
    return [[row[column] for row in rows] for column in range(count)]


async def _truths(connection: Any, entries: bytes) -> bytes:  # noqa: ANN401  # asyncpg
    """Adjustments of what was booked as lost, by those of `entries` that tell how it came out."""
    found = []
    for row in await connection.fetch(_SQL["outlived"], entries):
        pins = None
        if row["windows"] is not None:
            windows = tuple(WindowId(str(window)) for window in row["windows"])
            pins = Pins(NanoUsd(0), windows, JournalId(row["owner"]))
        told = msgspec.json.decode(row["told"], type=Told)
        found.append(outlived(told, booked=NanoUsd(row["booked"]), body=row["body"].encode(), pins=pins))
    return encode_entries(found)


def _joined(one: bytes, other: bytes) -> bytes:
    """Two JSON arrays as one."""
    if one == b"[]":
        return other
    return one if other == b"[]" else b"%b,%b" % (one[:-1], other[1:])


def _both(one: str | None, other: str | None) -> str | None:
    """Two JSON arrays that are not empty as one; either may be missing."""
    return f"{one[:-1]},{other[1:]}" if one and other else one or other
