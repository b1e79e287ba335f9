"""Journals whose process has died: whoever gets the lock posts what is left, ends what was under way, and puts it by.

An attempt that was open when its process died may have been billed, and nobody can tell any more: it is marked as
unknown and booked at the estimate that its `open` entry states. That is written into the heir's own journal, since the
dead one is never appended to.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from bursar.domain.accounting import OpenBody, Pins, encode_entries
from bursar.domain.deaths import UnderWay, presumed
from bursar.domain.errors import JournalError, JournalTaken, StoreError, StoreUnavailable
from bursar.domain.ids import AttemptId, CallId, JournalId
from bursar.domain.money import NanoUsd
from bursar.domain.windows import WindowId
from bursar.ledger.places import JournalLock, books_of, put_by, segment_numbers, waiting_journals
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.ledger.retention import remove_old, take_up_forgotten
from bursar.ports.budgets import BudgetStore
from bursar.ports.ledger import LedgerStore

log = logging.getLogger(__name__)

_SCAN_S = 10.0
_TERMINAL = frozenset({"settle", "void"})


class Opened(msgspec.Struct):
    """As much of an entry as tells what is still open, and how to end it."""

    kind: str
    attempt_id: AttemptId
    call_id: CallId
    at_us: int
    body: msgspec.Raw
    hold_nano_usd: NanoUsd | None = None
    windows: tuple[WindowId, ...] | None = None


class Adopter:
    """Looks for orphaned journals under `root`, at start and then regularly."""

    def __init__(
        self,
        store: LedgerStore,
        budgets: BudgetStore,
        *,
        root: Path,
        own: JournalId,
        record: Callable[[bytes], Awaitable[None]],
        host: str,
        keep_bytes: int,
        keep_s: float,
        went_back: asyncio.Event,
        adopted: Callable[[JournalId], Awaitable[None]] | None = None,
        any_books: bool = False,
    ) -> None:
        """`record` writes into our `own` journal, or raises JournalError; `keep_bytes`, `keep_s`: see `remove_old`.

        `went_back` is set when the database has forgotten something: then it may lack what was put by as well.
        `adopted` is called with each journal whose process is certain to have ended. `any_books`: also what belongs to
        another database's books.
        """
        self._store = store
        self._budgets = budgets
        self._root = root
        self._own = own
        self._record = record
        self._host = host
        self._keep_bytes = keep_bytes
        self._keep_s = keep_s
        self._went_back = went_back
        self._adopted = adopted
        self._any_books = any_books
        self._unsure = True
        """The database may have gone back: while nobody was here, at first."""
        self._looking = asyncio.Lock()
        self._told: set[Path] = set()
        """Journals that could not be adopted, of which we have said so: they are tried again, in silence."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            try:
                remove_old(self._root, keep_bytes=self._keep_bytes, keep_s=self._keep_s)
            except OSError as error:  # another process removes the same, or the disk is not well
                log.info("journal.not_removed reason=%s", error)
            try:
                async with asyncio.timeout(_SCAN_S):
                    await self._went_back.wait()
            except TimeoutError:
                pass

    async def look(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> int:
        """Adopt what there is; how many journals were left as they are, since they are in use or could not be read.

        Who looks while somebody else does waits for that first: what is half adopted is not left, nor in use.
        """
        async with self._looking:
            return await self._look(progress)

    async def _look(self, progress: Callable[[int, int], None]) -> int:
        if self._went_back.is_set():
            self._went_back.clear()
            self._unsure = True
        if self._unsure:
            self._unsure = not await self._took_up_forgotten()
        orphans = self._orphans()
        left = 0
        for done, directory in enumerate(orphans):
            progress(done, len(orphans))
            left += not await self._try_to_adopt(directory)
        progress(len(orphans), len(orphans))
        return left

    async def _took_up_forgotten(self) -> bool:
        try:
            await take_up_forgotten(self._root, self._store, host=self._host)
        except StoreUnavailable:
            return False
        return True

    async def _try_to_adopt(self, directory: Path) -> bool:
        """Whether it is adopted now. One journal that cannot be read, or is not ours to read, must not keep the others
        from the books."""
        try:
            return await self._adopt(directory)
        except FileNotFoundError:
            return True  # another process had the lock, and has put the journal by in the meantime
        except (JournalError, JournalTaken, StoreError, OSError) as error:
            if directory not in self._told:
                self._told.add(directory)
                log.error("journal.not_adopted directory=%s reason=%s", directory, error)
            return False

    def _orphans(self) -> list[Path]:
        """Directories that may be orphans, oldest first."""
        return [path for path in waiting_journals(self._root) if path.name != self._own]

    async def _adopt(self, directory: Path) -> bool:
        lock = JournalLock.attempt(directory)
        if lock is None:
            return False  # its process lives
        reader = JournalReader(directory, JournalId(directory.name))
        try:
            if (books := books_of(directory)) and not self._any_books and books != await self._store.books():
                raise JournalError(
                    f"it belongs to another database's books ({books}). Run `bursar ledger replay` with the "
                    "DATABASE_URL of that one; or, to have its calls in these books, with --any-books"
                )
            if segment_numbers(directory):
                journal_id = JournalId(directory.name)
                poster = Poster(self._store, reader, journal_id=journal_id, host=self._host, heir=True)
                await poster.run(follow=False)
                marked = await self._mark_open(directory)
                assert poster.epoch is not None
                await self._budgets.release(journal_id, poster.epoch, poster.posted_sequence)
                log.warning(
                    "journal.adopted id=%s posted=%d open=%d missing=%d torn_bytes=%d",
                    *(directory.name, poster.posted_sequence, marked, reader.missing, reader.left_over),
                )
            put_by(directory)
            if self._adopted is not None:
                await self._adopted(JournalId(directory.name))
            return True
        finally:
            reader.close()
            lock.release()

    async def _mark_open(self, directory: Path) -> int:
        """How many there were."""
        dangling = await open_attempts(directory)
        journal_id = JournalId(directory.name)
        for attempt in dangling.values():
            await self._record(encode_entries(presumed(_under_way(attempt, journal_id))))
        return len(dangling)


def _under_way(opened: Opened, journal_id: JournalId) -> UnderWay:
    pins = None if opened.windows is None else Pins(opened.hold_nano_usd or NanoUsd(0), opened.windows, journal_id)
    return UnderWay(
        attempt_id=opened.attempt_id,
        call_id=opened.call_id,
        at_us=opened.at_us,
        opened=msgspec.json.decode(opened.body, type=OpenBody),
        pins=pins,
    )


async def open_attempts(directory: Path) -> dict[AttemptId, Opened]:
    """Attempts that a journal opened and did not end, as far as it can be read. Long journals are read in pieces, with
    calls served between."""
    reader = JournalReader(directory, JournalId(directory.name))
    decode = msgspec.json.Decoder(list[Opened]).decode
    found: dict[AttemptId, Opened] = {}
    while batch := reader.read():
        for record in batch:
            try:
                entries = decode(record)
            except msgspec.MsgspecError:  # a whole call of an app; or the poster has set it aside
                continue
            for entry in entries:
                if entry.kind == "open":
                    found[entry.attempt_id] = entry
                elif entry.kind in _TERMINAL:
                    found.pop(entry.attempt_id, None)
        await asyncio.sleep(0)
    reader.close()
    return found
