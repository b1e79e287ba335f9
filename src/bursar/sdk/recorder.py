"""Puts what an app spent on record: in a journal on disk before the caller goes on, in the database soon after.

Any thread may record, also one of a forked process, which gets a journal and a thread of its own. Nothing here raises
into the app: what cannot be recorded at the moment waits in memory, within a bound, and `health` says so.
"""

import atexit
import logging
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from bursar.config.database_url import DatabaseTarget
from bursar.domain.errors import BursarError, ConfigError, JournalError
from bursar.domain.ids import JournalId, uuid7
from bursar.domain.secrets import Secret
from bursar.ledger.journal import Journal
from bursar.sdk.pending import Sweep
from bursar.sdk.settings import Settings
from bursar.sdk.shipper import Shipper
from bursar.wire.spend import Spend, name_of, written

log = logging.getLogger(__name__)

EXIT_S = 5.0
"""How long the end of a program waits for its calls to reach the database. What does not is posted by the next one."""
_KNOWN_MAX = 50_000
_WAITING_MAX = 10_000
_MARKS_MAX = 10_000


@dataclass(frozen=True)
class Health:
    """How the books of this process are."""

    connected: bool
    """The database answered when it was last asked."""
    queued: int
    """Calls on record that the database does not have yet."""
    posted: int
    """Calls it has."""
    oldest_s: float | None
    """For how long the oldest of the former has waited; None: nothing waits."""
    in_memory: int
    """Of the former: those that the disk did not take."""
    lost: int
    """Calls that neither disk nor memory had room for, or that could not be read."""
    last_error: str
    """Why something waits; "" if there is no reason."""


class Recorder:
    """The books of one process, for one database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._sweepers: list[Callable[[Sweep], None]] = []
        self._journal: Journal | None = None
        self._shipper: Shipper | None = None
        self._target: DatabaseTarget | None = None
        self._waiting: deque[bytes] = deque()
        """What the disk does not take."""
        self._marks: deque[tuple[int, float]] = deque()
        """Which records were written when, one a second: to tell for how long the oldest waits."""
        self._posted_before = 0
        """By shippers that have ended."""
        self._lost = 0
        self._of_parent: list[Shipper | None] = []
        """In a forked process: kept, so that nothing closes what is still the parent's."""
        self._error = ""
        self._warned = False
        self._hook_forks()
        atexit.register(self._end)

    @property
    def started(self) -> bool:
        """Journal and thread have been made."""
        return self._journal is not None

    def start(self) -> None:
        """Make them now, not with the first call."""
        with self._lock:
            self._open()

    def book(self, spend: Spend) -> None:
        """Put an attempt on record, once, however often it is told. When this returns, kill -9 does not lose it."""
        name = name_of(spend)
        payload = written(spend)
        with self._lock:
            if name in self._known:
                return
            self._known[name] = None
            if len(self._known) > _KNOWN_MAX:
                self._known.popitem(last=False)
            self._append(payload)

    def record(self, payload: bytes) -> None:
        """Put entries on record that nobody tells twice."""
        with self._lock:
            self._append(payload)

    def lose(self, reason: str) -> None:
        """Count a call that cannot be put on record."""
        with self._lock:
            self._lost += 1
            self._error = reason

    def swept_by(self, sweep: Callable[[Sweep], None]) -> None:
        """Have `sweep` called every few seconds, and at the end: it books what it has waited for in vain."""
        self._sweepers.append(sweep)

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until the database has all calls that were recorded before; whether it has."""
        with self._lock:
            self._drain_memory()
            shipper, last = self._shipper, self._journal.last_sequence if self._journal is not None else 0
            left = len(self._waiting)
        if shipper is None:
            return last == 0 and not left
        return shipper.wait(last, timeout_s) and not left

    def close(self, timeout_s: float = EXIT_S) -> bool:
        """Post what is there, and let go of the journal; whether the database has everything. A later call begins a new
        one."""
        self._sweep(Sweep.ANSWERED)
        with self._lock:
            self._drain_memory()
            journal, shipper = self._journal, self._shipper
            self._journal = self._shipper = None
            self._marks.clear()
            left = len(self._waiting)
        if journal is None:
            return not left
        done = shipper is not None and shipper.close(timeout_s)
        if shipper is not None:
            self._posted_before += shipper.posted
        journal.release(done=done)
        return done and not left

    def health(self) -> Health:
        """How it is at this moment."""
        with self._lock:
            journal, shipper = self._journal, self._shipper
            posted = 0 if shipper is None else shipper.posted
            behind = (0 if journal is None else journal.last_sequence - posted) + len(self._waiting)
            self._forget_marks(posted)
            oldest = time.monotonic() - self._marks[0][1] if self._marks and behind else None
            error = self._error or ("" if shipper is None else shipper.last_error)
            return Health(
                connected=shipper is not None and shipper.connected,
                queued=behind,
                posted=self._posted_before + posted,
                oldest_s=oldest,
                in_memory=len(self._waiting),
                lost=self._lost,
                last_error=error,
            )

    # With the lock held

    def _append(self, payload: bytes) -> None:
        if self._waiting:
            self._drain_memory()
        journal = self._open()
        if journal is not None and not self._waiting:
            try:
                journal.append(payload)
            except JournalError as error:
                self._error = str(error)
            else:
                self._error = "" if self._target is not None else self._error
                if self._shipper is not None:
                    self._shipper.notify()
                self._mark(journal.last_sequence)
                return
        self._waiting.append(payload)
        if len(self._waiting) > _WAITING_MAX:
            self._waiting.popleft()
            self._lost += 1
            if self._lost & (self._lost - 1) == 0:  # the first, the second, the fourth, the eighth …
                log.critical("sdk.lost calls=%d reason=%s", self._lost, self._error)

    def _mark(self, sequence: int) -> None:
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][1] > 1.0:
            self._forget_marks(0 if self._shipper is None else self._shipper.posted)
            if len(self._marks) < _MARKS_MAX:
                self._marks.append((sequence, now))

    def _forget_marks(self, posted: int) -> None:
        """The mark before the first that waits stays: it stands for the records between the two."""
        while len(self._marks) > 1 and self._marks[1][0] <= posted + 1:
            self._marks.popleft()
        if self._marks and self._journal is not None and posted >= self._journal.last_sequence:
            self._marks.clear()

    def _drain_memory(self) -> None:
        if not self._waiting or (journal := self._open()) is None:
            return
        try:
            while self._waiting:
                journal.append(self._waiting[0])
                self._waiting.popleft()
        except JournalError as error:
            self._error = str(error)
        else:
            self._error = ""
        if self._shipper is not None:
            self._shipper.notify()

    def _open(self) -> Journal | None:
        """The journal, made if there is none. None: it cannot be made, and `_error` says why."""
        if self._journal is not None:
            return self._journal
        try:
            root = self._settings.journals()
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            journal = Journal(
                root, JournalId(uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")))
            )
        except (BursarError, OSError) as error:
            self._complain(f"no journal: {error}")
            return None
        self._journal = journal
        try:
            self._target = self._settings.database()
            if self._target is None:
                raise ConfigError("DATABASE_URL is not set")
            redis = self._redis()
            self._shipper = Shipper(journal, self._target, redis=redis, record=self.record, look=self._look)
        except (BursarError, RuntimeError) as error:  # the latter: no threads start at the end of a program
            self._complain(f"{error}. Calls are kept in {journal.directory}; `bursar ledger replay` posts them.")
        return journal

    def _redis(self) -> Secret | None:
        try:
            return self._settings.redis()
        except ConfigError as error:
            log.warning("sdk.no_redis reason=%s", error)
            return None

    def _complain(self, reason: str) -> None:
        self._error = reason
        if not self._warned:
            self._warned = True
            log.warning("sdk.not_posting reason=%s", reason)

    # In the shipper's thread

    def _look(self) -> None:
        with self._lock:
            self._drain_memory()
        self._sweep(Sweep.OVERDUE)

    def _end(self) -> None:
        """The program ends."""
        self._sweep(Sweep.ALL)
        self.close()

    def _sweep(self, what: Sweep) -> None:
        for sweep in self._sweepers:
            try:
                sweep(what)
            except Exception:  # the app's own objects are looked at: they may fail in any way
                log.exception("sdk.sweep_failed")

    # Forks

    def _hook_forks(self) -> None:
        itself = weakref.ref(self)

        def before() -> None:
            if (recorder := itself()) is not None:
                recorder._lock.acquire()  # its own hook

        def in_parent() -> None:
            if (recorder := itself()) is not None:
                recorder._lock.release()

        def in_child() -> None:
            if (recorder := itself()) is not None:
                recorder._begin_anew()

        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)

    def _begin_anew(self) -> None:
        """In a forked process: journal, thread and what waits in memory are the parent's."""
        self._lock = threading.Lock()
        self._of_parent.append(self._shipper)
        self._journal = self._shipper = None
        self._waiting.clear()
        self._marks.clear()
        self._posted_before = self._lost = 0
