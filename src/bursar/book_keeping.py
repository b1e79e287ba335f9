"""What people do with the books from the command line: take over LiteLLM's, look whether they close, carry left
journals in, give up on processes that are gone. Part of the composition."""

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from bursar.domain.errors import StoreError, StoreTooSlow
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.adoption import Adopter
from bursar.ledger.group_commit import GroupCommit
from bursar.ledger.journal import Journal
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.main import Books
from bursar.store.adopt import adopt, adopted_at, inspect
from bursar.store.adopt_report import Adoption
from bursar.store.audit import Audit, Progress, audit
from bursar.store.budgets import PostgresBudgets
from bursar.store.database import Database, connect
from bursar.store.instances import Instances, Loss, Unsettled
from bursar.store.ledger import PostgresLedger
from bursar.store.migrate import known_migrations, pending_migrations

_ALIVE = timedelta(minutes=2)
"""Whoever was heard of since is not lost."""
_PATIENCE_S = 60.0
_KEEP_BYTES = 1 << 62
_KEEP_S = 24 * 3600.0


class Replay(msgspec.Struct, frozen=True):
    """What carrying journals into the database came to."""

    found: int
    carried: int
    """In the database to their end, and put by."""


def adopt_books(books: Books, progress: Progress, *, apply: bool, again: bool, helpers: bool) -> Adoption:
    """Look at a LiteLLM proxy's database, and take it over if `apply`; `again` and `helpers` as in `store.adopt.adopt`.

    Raises StoreError: it cannot be, with the reason and the cure.
    """

    async def run() -> Adoption:
        connection = await connect(books.options)
        try:
            look = await adopted_at(connection) is None or again
            inspection = await inspect(connection) if look else None
            changed = apply and await adopt(connection, progress, again=again, helpers=helpers)
            return Adoption(inspection=inspection, at=await adopted_at(connection), changed=changed)
        finally:
            await connection.close()

    return asyncio.run(run())


def verify_books(books: Books, progress: Progress) -> Audit:
    """Compare the books with themselves. Raises StoreError."""

    async def run() -> Audit:
        async with open_database(books) as database:
            return await audit(database, progress)

    return asyncio.run(run())


def unsettled_instances(books: Books) -> list[Unsettled]:
    """Processes that have not ended in order. Raises StoreError."""

    async def run() -> list[Unsettled]:
        async with open_database(books) as database:
            return await Instances(database).unsettled()

    return asyncio.run(run())


def declare_lost(books: Books, instance: JournalId, *, force: bool) -> Loss:
    """Book what `instance` had under way, and have it commit nothing more.

    Raises StoreError: there is no such instance, or nothing to declare; it was heard of lately, and not `force`.
    """

    async def run() -> Loss:
        async with open_database(books) as database:
            instances = Instances(database)
            found = await instances.unsettled(instance)
            if not found:
                raise StoreError(
                    f"no process {instance} is unsettled: it ended in order, or never was. "
                    "`bursar ledger instances` lists those that are."
                )
            if found[0].lost_at is not None:
                raise StoreError(f"{instance} was declared lost at {found[0].lost_at:%Y-%m-%d %H:%M:%S} UTC")
            if found[0].silent < _ALIVE and not force:
                raise StoreError(
                    f"{instance} on {found[0].host} was heard of {found[0].silent.total_seconds():.0f} s ago: it seems "
                    "to live, and would end at once. Stop it, or use --force."
                )
            return await instances.declare_lost(found[0])

    async def insist() -> Loss:
        """A process that is frozen may hold what we need until the database ends its sessions, half a minute later."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await run()
            except StoreTooSlow:
                if time.monotonic() > deadline:
                    raise

    return asyncio.run(insist())


def replay_journals(
    books: Books, journals: Sequence[Path], progress: Callable[[int, int], None], *, any_books: bool = False
) -> Replay:
    """Carry into the database what waits in the journals under each of `journals`, and what was put by and the database
    lacks. Those of processes that live are left to them, and those of another database's books unless `any_books`.

    Raises BursarError: the database cannot be used, or no journal can be made there for what is found out.
    """

    async def run() -> Replay:
        async with open_database(books) as database:
            replays = [await _replay(database, root, progress, any_books=any_books) for root in journals]
        return Replay(found=sum(r.found for r in replays), carried=sum(r.carried for r in replays))

    return asyncio.run(run())


async def _replay(
    database: Database, journals: Path, progress: Callable[[int, int], None], *, any_books: bool
) -> Replay:
    host = platform.node()
    ledger, budgets = PostgresLedger(database), PostgresBudgets(database)
    own = Journal(journals, JournalId(uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big"))))
    reader = JournalReader(own.directory, own.id)
    done = False
    try:
        poster = Poster(ledger, reader, journal_id=own.id, host=host)
        commit = GroupCommit(own, appended=poster.notify)
        adopter = Adopter(
            ledger,
            budgets,
            root=journals,
            own=own.id,
            record=commit.record,
            host=host,
            keep_bytes=_KEEP_BYTES,
            keep_s=_KEEP_S,
            went_back=asyncio.Event(),
            any_books=any_books,
        )
        found = 0

        def count(at: int, of: int) -> None:
            nonlocal found
            found = of
            progress(at, of)

        left = await adopter.look(count)
        commit.close()
        poster.stop()
        done = await poster.run(follow=False)
        if not done:
            raise StoreError("the database went away. What was found out is in a journal of its own: run this again.")
        assert poster.epoch is not None
        await budgets.release(own.id, poster.epoch, poster.posted_sequence)
    finally:
        reader.close()
        own.release(done=done)
    return Replay(found=found, carried=found - left)


@asynccontextmanager
async def open_database(books: Books) -> AsyncIterator[Database]:
    """A database that this release can work on. Raises StoreError: it lacks migrations, or cannot be reached."""
    connection = await connect(books.options)
    try:
        if missing := await pending_migrations(connection, known_migrations()):
            raise StoreError(
                f"the database lacks {len(missing)} migrations: apply them first (`bursar db migrate`, or a start)"
            )
    finally:
        await connection.close()
    database = Database(books.options)
    try:
        yield database
    finally:
        await database.close()
