"""How long journals are kept after they were posted: in case the database forgets, it can be told again."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId
from bursar.ledger.places import (
    JournalLock,
    books_of,
    done_journals,
    half_made_journals,
    journal_of,
    segment_numbers,
    segment_path,
    take_up,
)
from bursar.ledger.reader import last_sequence
from bursar.ports.ledger import LedgerStore

log = logging.getLogger(__name__)

_HALF_MADE_S = 3600.0


class Retention:
    """Of one live journal's segments."""

    def __init__(
        self, directory: Path, *, keep_bytes: int, keep_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._keep_bytes = keep_bytes
        self._keep_s = keep_s
        self._clock = clock
        self._posted_at_s: dict[int, float] = {}
        """When segments were first seen to be posted whole."""

    def sweep(self, *, before: int) -> None:
        """Delete segments that are posted whole: the oldest beyond the bytes, and those too long posted.

        `before`: the first segment that is still needed.
        """
        now = self._clock()
        kept = 0
        for number in reversed([n for n in segment_numbers(self._directory) if n < before]):
            path = segment_path(self._directory, number)
            kept += path.stat().st_size
            posted_at = self._posted_at_s.setdefault(number, now)
            if kept > self._keep_bytes or now - posted_at > self._keep_s:
                path.unlink()
                del self._posted_at_s[number]


def remove_old(root: Path, *, keep_bytes: int, keep_s: float) -> None:
    """Delete journals that are put by: the oldest beyond the bytes of all of them, and those put by for too long; and
    what is left of journals that were never made."""
    now = time.time()
    kept = 0
    for path in reversed(done_journals(root)):
        kept += sum(segment_path(path, number).stat().st_size for number in segment_numbers(path))
        if kept > keep_bytes or now - path.stat().st_mtime > keep_s:
            shutil.rmtree(path, ignore_errors=True)
    for path in half_made_journals(root):
        if now - path.stat().st_mtime > _HALF_MADE_S:
            shutil.rmtree(path, ignore_errors=True)


async def take_up_forgotten(root: Path, store: LedgerStore, *, host: str) -> list[JournalId]:
    """Have journals of these books that were put by wait for an heir again, where the database lacks some of their
    records, or does not know that their process has ended: it went back to an earlier state. Which ones.

    Raises StoreUnavailable. A journal that cannot be read is left where it is, and told of.
    """
    taken_up: list[JournalId] = []
    if not (put_by := done_journals(root)):
        return taken_up
    books, others = await store.books(), 0
    for directory in put_by:
        journal = journal_of(directory)
        try:
            lock = JournalLock.attempt(directory)
            if lock is None:
                continue  # somebody else looks at it
            try:
                last = await asyncio.to_thread(last_sequence, directory)  # it reads a whole segment
                if not last:
                    continue
                if books_of(directory) not in ("", books):
                    others += 1
                    continue
                position = await store.register(journal, host)
                if position.sequence < last or position.unsettled:
                    take_up(directory)
                    taken_up.append(journal)
                    log.critical("journal.forgotten id=%s last=%d", journal, last)
            finally:
                lock.release()
        except FileNotFoundError:
            pass  # another process was here first
        except (JournalError, OSError) as error:
            log.error("journal.not_looked_at directory=%s reason=%s", directory, error)
    if others:
        log.warning("journal.of_other_books count=%d: they were posted to another database, and are left to it", others)
    return taken_up
