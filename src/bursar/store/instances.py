"""Processes that have not ended in order, and what becomes of those that will not be heard of again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bursar.domain.accounting import OpenBody, Pins, encode_entries
from bursar.domain.deaths import UnderWay, lost
from bursar.domain.errors import StoreRefused
from bursar.domain.ids import AttemptId, CallId, JournalId
from bursar.domain.money import NanoUsd, usd_text
from bursar.domain.windows import WindowId
from bursar.ports.ledger import Batch
from bursar.store.database import Database, end_stalled
from bursar.store.ledger import PostgresLedger
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("instances")


class Unsettled(msgspec.Struct, frozen=True, kw_only=True):
    """A process that runs, or has died and was not adopted yet."""

    instance: JournalId
    epoch: int
    host: str
    started_at: datetime
    heard_at: datetime
    silent: timedelta
    """Since it was last heard of. Without calls, and budgets to hold, a process says little."""
    lost_at: datetime | None
    posted: int | None
    """Up to which record its journal is in the database; None: not a record."""
    open_attempts: int
    unspent_nano_usd: int
    """Of budgets: granted, and neither spent nor given back."""


class Loss(msgspec.Struct, frozen=True):
    """What declaring an instance lost came to."""

    attempts: int
    """Booked at what they held."""
    cost_nano_usd: int
    stranded_nano_usd: int
    """Of budgets: stays taken until their periods end."""


class Instances:
    """Instances in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledger = PostgresLedger(database)

    async def unsettled(self, instance: JournalId | None = None) -> list[Unsettled]:
        """Those that have not ended, oldest first; or `instance` alone, if it is one of them. Raises StoreError."""
        async with self._database.connection() as connection:
            rows: Sequence[Any] = await connection.fetch(_SQL["unsettled"], instance)
        return [
            Unsettled(
                instance=JournalId(row["instance_id"]),
                epoch=row["epoch"],
                host=row["host"],
                started_at=row["started_at"],
                heard_at=row["heard_at"],
                silent=row["silent"],
                lost_at=row["lost_at"],
                posted=row["posted_sequence"],
                open_attempts=row["open_attempts"],
                unspent_nano_usd=row["unspent"],
            )
            for row in rows
        ]

    async def declare_lost(self, found: Unsettled) -> Loss:
        """Its journal will not come back: book what it had under way at what that held; it commits nothing more.

        It may be repeated when it did not come to its end. Raises StoreError; JournalTaken: it has just been adopted.
        """
        async with self._database.connection() as connection:
            await end_stalled(connection)  # its own, it may be: nobody else may be left who would
        epoch = await self._ledger.take_over(found.instance, found.epoch)
        [found] = await self.unsettled(found.instance)  # it may have posted a last batch before that
        attempts = cost = 0
        while under_way := await self._open_attempts(found.instance):
            entries = [lost(attempt) for attempt in under_way]
            position = found.posted or 0
            await self._ledger.post(
                Batch(
                    journal_id=found.instance,
                    epoch=epoch,
                    after=position,
                    upto=position,
                    entries=encode_entries([entry for ends in entries for entry in ends]),
                )
            )
            attempts += len(under_way)
            cost += sum(entry.cost_nano_usd or 0 for ends in entries for entry in ends)
        after = await self.unsettled(found.instance)
        stranded = sum(instance.unspent_nano_usd for instance in after)
        async with self._database.connection() as connection:
            what = (
                f"instance {found.instance} on {found.host} was declared lost: {attempts} attempts booked at "
                f"{usd_text(cost)} USD, {usd_text(stranded)} USD of budgets stay taken"
            )
            if await connection.execute(_SQL["mark_lost"], found.instance, epoch, what) == "INSERT 0 0":
                raise StoreRefused(f"instance {found.instance} has been taken over, or declared lost, meanwhile")
        return Loss(attempts, cost, stranded)

    async def note(self, what: str) -> None:
        """Keep for people what happened to the books. Raises StoreError."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["note"], what)

    async def _open_attempts(self, instance: JournalId) -> list[UnderWay]:
        async with self._database.connection() as connection:
            rows: Sequence[Any] = await connection.fetch(_SQL["open_attempts"], instance)
        return [
            UnderWay(
                attempt_id=AttemptId(row["attempt_id"]),
                call_id=CallId(row["call_id"]),
                at_us=row["at_us"],
                opened=msgspec.json.decode(row["body"], type=OpenBody),
                pins=_pins(row, instance),
            )
            for row in rows
        ]


def _pins(row: Any, instance: JournalId) -> Pins | None:  # noqa: ANN401  # asyncpg
    if row["windows"] is None:
        return None
    return Pins(NanoUsd(row["hold"] or 0), tuple(WindowId(str(window)) for window in row["windows"]), instance)
