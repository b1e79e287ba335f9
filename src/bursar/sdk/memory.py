"""What no disk takes, posted straight from memory while the database is there."""

import os
import sys
import time
from collections.abc import Callable, Sequence

from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.poster import Poster
from bursar.ports.budgets import BudgetStore
from bursar.ports.ledger import LedgerStore


class MemoryPoster:
    """Posts such records under an instance of their own. What is posted again, since the answer was lost or a disk has
    taken it meanwhile, is known by the ids of its entries."""

    def __init__(
        self,
        store: LedgerStore,
        budgets: BudgetStore,
        *,
        host: str,
        first: Callable[[], Sequence[bytes]],
        posted: Callable[[Sequence[bytes]], None],
    ) -> None:
        """`first`: the records that have waited longest; `posted` is told which of them the database has."""
        self._budgets = budgets
        self._first = first
        self._posted = posted
        self._id = new_journal_id()
        self._records = _Records()
        self._poster = Poster(store, self._records, journal_id=self._id, host=host)

    @property
    def away(self) -> bool:
        """The database did not answer when it was last asked."""
        return self._poster.away

    async def post(self) -> bool:
        """Post all there is; False: told to `stop` while the database is away. Raises as `Poster.run` does."""
        while records := self._first():
            self._records.hold(records)
            if not await self._poster.run(follow=False):
                return False
            self._posted(records)
        return True

    def stop(self) -> None:
        """Wait no longer for a database that is away."""
        self._poster.stop()

    async def release(self) -> None:
        """The instance has ended. Raises StoreError, JournalTaken."""
        if self._poster.epoch is not None:
            await self._budgets.release(self._id, self._poster.epoch, self._poster.posted_sequence)


class _Records:
    """Implements `ledger.poster.RecordReader` for what is held."""

    segment = 0

    def __init__(self) -> None:
        self._held: list[memoryview] = []
        self._begin: int | None = 0
        self.next_sequence = 1

    def hold(self, records: Sequence[bytes]) -> None:
        """These are to be read, from wherever the database stands."""
        self._held = [memoryview(record) for record in records]
        self._begin = None

    def belongs_to(self, books: str) -> None:
        """See `RecordReader`. Nobody finds it."""

    def seek(self, sequence: int) -> None:
        """See `RecordReader`. The records held bear numbers from the first sequence that is asked for."""
        if self._begin is None:
            self._begin = sequence
        self.next_sequence = max(sequence, self._begin)

    def read(self, max_bytes: int = sys.maxsize) -> list[memoryview]:
        """See `RecordReader`."""
        assert self._begin is not None
        found: list[memoryview] = []
        size = 0
        for record in self._held[self.next_sequence - self._begin :]:
            found.append(record)
            size += len(record)
            if size >= max_bytes:
                break
        self.next_sequence += len(found)
        return found

    def read_on(self, max_bytes: int) -> list[memoryview]:  # noqa: ARG002  # there is one segment
        """See `RecordReader`."""
        return []


def new_journal_id() -> JournalId:
    """Of a process's life, or a part of it."""
    return JournalId(uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")))
