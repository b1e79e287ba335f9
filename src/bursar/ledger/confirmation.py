"""What has to happen to a record, after it is written, before anything that depends on it does.

`durability: process` needs nothing more. For `power` the file is synced, in a thread, for all that was written in the
meantime at once. For `database` the promise is in SQL before its request is sent.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from bursar.domain.errors import JournalError
from bursar.ledger.journal import Journal, sync


class Confirmation(Protocol):
    """Tells when records are as safe as was promised."""

    for_ends: bool
    """Whether ends wait for it too, or promises alone."""

    @property
    def unlikely(self) -> str:
        """Why a promise made now would not be confirmed; "" if there is no reason to think so."""

    def confirmed(self, sequence: int, /) -> asyncio.Future[None]:
        """Done when the records up to `sequence` are safe; JournalError: they will not be. It is never cancelled."""

    def close(self) -> None:
        """Confirm no more."""


class Synced:
    """On the disk: a power cut does not lose it. Made inside a running loop."""

    for_ends = True
    unlikely = ""

    def __init__(self, journal: Journal) -> None:
        """`journal` is one that was made to be `synced`."""
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._next: asyncio.Future[None] | None = None
        """Of what was written after the sync that runs began."""
        self._running = False
        self._closed = False

    def confirmed(self, _sequence: int, /) -> asyncio.Future[None]:
        """See `Confirmation.confirmed`. A sync is of all that was written before it."""
        if self._next is None:
            self._next = self._loop.create_future()
        waiting = self._next
        if not self._running:
            self._begin()
        return waiting

    def close(self) -> None:
        """See `Confirmation.close`. What is written from now on the journal syncs when it is released."""
        self._closed = True
        self._thread.shutdown()

    def _begin(self) -> None:
        confirmed, self._next = self._next, None
        assert confirmed is not None
        if self._closed:
            confirmed.set_result(None)
            return
        self._running = True
        syncing = self._loop.run_in_executor(self._thread, sync, self._journal.unsynced())
        syncing.add_done_callback(lambda done: self._end(confirmed, done.exception()))

    def _end(self, confirmed: asyncio.Future[None], failure: BaseException | None) -> None:
        self._running = False
        if failure is None:
            confirmed.set_result(None)
        else:  # what the system could not write once it takes for written from then on
            self._journal.seal()
            reason = failure.strerror if isinstance(failure, OSError) else str(failure)
            confirmed.set_exception(JournalError(f"cannot sync the journal {self._journal.directory}: {reason}"))
        if self._next is not None:
            self._begin()


class Posting(Protocol):
    """The poster, as far as promises wait for it (`ledger.poster`)."""

    @property
    def away(self) -> bool:
        """The database did not answer when it was last asked."""

    def posted(self, sequence: int) -> asyncio.Future[None]:
        """Done when the database has all records up to `sequence`, which are posted at once. Fails with
        StoreUnavailable when the database does not answer."""


class Posted:
    """In the database: the loss of this machine's disk does not lose it."""

    for_ends = False

    def __init__(self, posting: Posting, *, timeout_s: float = 5.0) -> None:
        """`timeout_s`: how long a promise may wait for the database."""
        self._posting = posting
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()

    @property
    def unlikely(self) -> str:
        """See `Confirmation.unlikely`."""
        return "the database is away" if self._posting.away else ""

    def confirmed(self, sequence: int, /) -> asyncio.Future[None]:
        """See `Confirmation.confirmed`."""
        confirmed: asyncio.Future[None] = self._loop.create_future()
        posted = self._posting.posted(sequence)

        def settle(posted: asyncio.Future[None]) -> None:
            timer.cancel()
            if posted.cancelled():
                confirmed.set_exception(JournalError("the database does not answer in time"))
            elif (failure := posted.exception()) is not None:
                confirmed.set_exception(JournalError(f"not in the database: {failure}"))
            else:
                confirmed.set_result(None)

        timer = self._loop.call_later(self._timeout_s, posted.cancel)
        posted.add_done_callback(settle)
        return confirmed

    def close(self) -> None:
        """See `Confirmation.close`."""
