"""Where the books are kept, and who writes them."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from bursar.domain.ids import CallId, JournalId


@dataclass(slots=True, frozen=True)
class JournalPosition:
    """How far a journal is in the database, and under whose epoch it may be carried on."""

    sequence: int
    epoch: int
    unsettled: bool = False
    """Its process has not ended by the books: what was granted to it has not gone back."""
    books: str = ""
    """See `LedgerStore.books`."""


@dataclass(slots=True, frozen=True)
class Batch:
    """Records of one journal, to be posted whole or not at all."""

    journal_id: JournalId
    epoch: int
    after: int
    """The position the database must be at."""
    upto: int
    """The position it will be at."""
    entries: bytes
    """A JSON array of entries."""
    missing: int = 0
    """Records before these that cannot be read any more: the position passes over them."""
    set_aside: "SetAside | None" = None


@dataclass(slots=True, frozen=True)
class SetAside:
    """A record the database would not take as it was, kept for people; the batch holds what could be saved of it."""

    reason: str
    content: bytes


class LedgerStore(Protocol):
    """Where the books are kept: PostgreSQL (`store.ledger`)."""

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        """Make the journal known, if it is not; its position. Raises StoreUnavailable."""

    async def books(self) -> str:
        """Which books these are: an id that a restored database has as well, and another one has not.

        Raises StoreUnavailable.
        """

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        """Advance the instance's epoch, by whoever holds its journal's lock now; the new one. Its former owner cannot
        post or lease any more.

        Raises StoreUnavailable; JournalTaken: somebody else was faster.
        """

    def expect(self, entries: bytes) -> None:
        """A batch with these entries will follow the one that is being posted: what can be done for it now may be done.
        Raises nothing: whatever is wrong with them, `post` will say."""

    async def post(self, batch: Batch) -> int:
        """Post a batch in one transaction; how many of its entries were new.

        Raises StoreUnavailable: try again; StoreRefused: something in it cannot be stored, nothing was; JournalTaken.
        """


class LastAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What the last look of the books at themselves found."""

    ended_at: datetime
    seconds: float
    entries: int
    drift_nano_usd: int
    differences: int


class BooksState(msgspec.Struct, frozen=True, kw_only=True):
    """How the books are, for those who watch."""

    quarantined: int
    """Records."""
    budgets_over_limit: int
    """In their current period."""
    incidents: int
    """What explains figures that are odd: restored databases, processes declared lost, records that are gone."""
    audit: LastAudit | None
    """None: nobody has looked yet."""


class CallText(msgspec.Struct, frozen=True):
    """The text of one call, as JSON."""

    call_id: CallId
    litellm_call_id: str
    messages: bytes
    response: bytes
    request: bytes

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.messages) + len(self.response) + len(self.request)


class TextStore(Protocol):
    """Where the text of calls is kept: PostgreSQL (`store.texts`)."""

    async def save(self, texts: Sequence[CallText]) -> None:
        """Put texts into their rows, which exist. Raises StoreError."""


class Promise(asyncio.Future[None]):
    """A record that something depends on. Awaited, it is as safe as is configured."""

    recorded = False
    """It is on record, whatever becomes of the wait for it: what it promised has to be ended."""


class Recorder(Protocol):
    """Where entries are put on record (`ledger.group_commit`)."""

    def promise(self, payload: bytes) -> Promise:
        """Record what is about to be done, with room for the record of its end.

        Raises JournalError when awaited: it must not be done. If it is `recorded` all the same, it has to be ended.
        """

    def end(self, payload: bytes) -> None:
        """Record how something promised has ended. What the journal does not take waits for it to recover."""

    def report(self, payload: bytes) -> None:
        """Record something that no money depends on. What the journal does not take is dropped."""

    def written(self) -> Awaitable[None]:
        """Wait until the ends so far are as safe as is configured, or wait for the journal to recover."""

    def flush(self) -> bool:
        """Write at once what is waiting. False: the journal did not take all of it."""
