"""Puts what an app spent on record: in a journal on disk before the caller goes on, in the database soon after.

Any thread may record, also one of a forked process, which gets a journal and a thread of its own. Nothing here raises
into the app: what no disk takes at the moment waits in memory, within a bound, is posted from there while the database
answers, and `health` says so.

A signal handler may run in the middle of anything in its thread, and may ask for anything here. So whoever records
puts it in a queue, and works the queue off, unless that is what was interrupted: then it goes on with it.
"""

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from bursar.config.database_url import DatabaseTarget
from bursar.domain.errors import BursarError, ConfigError, JournalError
from bursar.domain.secrets import Secret
from bursar.ledger.journal import Journal
from bursar.sdk.memory import new_journal_id
from bursar.sdk.pending import Sweep
from bursar.sdk.settings import Settings
from bursar.sdk.shipper import Shipper
from bursar.wire.spend import Spend, name_of, written

log = logging.getLogger(__name__)

EXIT_S = 5.0
"""How long the end of a program waits for its calls to reach the database. What does not is posted by the next one."""
_KNOWN_MAX = 50_000
_WAITING_MAX = 10_000
_LAST = -100
"""After what the app itself has multiprocessing do at the end."""
_FROM_MEMORY_MAX = 1_000
"""So many records are posted from memory at a time."""
_MARKS_MAX = 10_000
_SHIP_AGAIN_S = 1.0
"""Least time from one attempt to start the thread to the next."""


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
        self._lock = threading.RLock()
        """A thread may have it again, in a signal handler: what it finds may be half changed then, as `_busy` says."""
        self._busy = False
        self._incoming: deque[tuple[str | None, bytes]] = deque()
        """What is to be put on record: what is told twice bears a name."""
        self._known: OrderedDict[str, None] = OrderedDict()
        self._sweepers: list[Callable[[Sweep], None]] = []
        self._forgetters: list[Callable[[], None]] = []
        self._journal: Journal | None = None
        self._shipper: Shipper | None = None
        self._target: DatabaseTarget | None = None
        self._ship_at_s = 0.0
        """Before that, starting the thread is not tried again."""
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
        self._hooked_children = False
        self._hooked_end_of = 0
        """Of multiprocessing's child with this process id."""
        self._hook_forks()
        self._hook_children()
        atexit.register(self._end)

    @property
    def started(self) -> bool:
        """Journal and thread have been made."""
        return self._journal is not None

    def start(self) -> None:
        """Make them now, not with the first call."""
        self._unless_busy(self._open)

    def book(self, spend: Spend) -> None:
        """Put an attempt on record, once, however often it is told. When this returns, kill -9 does not lose it."""
        self._incoming.append((name_of(spend), written(spend)))
        self._work_off()

    def record(self, payload: bytes) -> None:
        """Put entries on record that nobody tells twice."""
        self._incoming.append((None, payload))
        self._work_off()

    def lose(self, reason: str) -> None:
        """Count a call that cannot be put on record."""
        with self._lock:
            self._lost += 1
            self._error = reason

    def swept_by(self, sweep: Callable[[Sweep], None], *, forget: Callable[[], None]) -> None:
        """Have `sweep` called every few seconds, and at the end: it books what it has waited for in vain. A forked
        process is to `forget` what its parent waits for."""
        self._sweepers.append(sweep)
        self._forgetters.append(forget)

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until the database has all calls that were recorded before; whether it has. In a signal handler it
        cannot be sure of the call that was interrupted."""
        sure = self._unless_busy(self._drain_memory)
        shipper, last = self._shipper, self._journal.last_sequence if self._journal is not None else 0
        if shipper is None:
            return sure and last == 0 and not self._waiting
        return shipper.wait(last, timeout_s) and sure

    def close(self, timeout_s: float = EXIT_S) -> bool:
        """Post what is there, and let go of the journal; whether the database has everything. A later call begins a new
        one. A signal handler that has interrupted us lets go of nothing."""
        self._sweep(Sweep.ANSWERED)
        held: list[tuple[Journal | None, Shipper | None]] = []
        if not self._unless_busy(lambda: held.append(self._let_go())):
            return self.flush(timeout_s)
        journal, shipper = held[0]
        done = shipper is None or shipper.close(timeout_s)
        if shipper is not None:
            self._posted_before += shipper.posted
        if journal is not None:
            done = done and shipper is not None
            journal.release(done=done)
        return done and not self._waiting

    def health(self) -> Health:
        """How it is at this moment."""
        self._unless_busy(self._forget_marks)
        with self._lock:
            journal, shipper = self._journal, self._shipper
            posted = 0 if shipper is None else shipper.posted
            behind = (0 if journal is None else journal.last_sequence - posted) + len(self._waiting)
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

    # One at a time

    def _work_off(self) -> None:
        with self._lock:
            failed = False
            while self._incoming and not self._busy:
                self._busy = True
                try:
                    self._append(*self._incoming[0])
                except Exception as error:  # whatever it is: those behind it go on
                    if not failed:  # it may have been a signal handler's; what is there twice is booked once
                        failed = True
                        continue
                    log.exception("sdk.not_recorded")
                    self._error = f"{type(error).__name__}: {error}"
                    self._lose(1)
                finally:
                    self._busy = False
                failed = False
                self._incoming.popleft()  # not where the program is interrupted: then it is put on record with the next

    def _unless_busy(self, act: Callable[[], object]) -> bool:
        """Do it, and whether it was done. What is recorded in a signal handler meanwhile is put on record after it."""
        with self._lock:
            if self._busy:
                return False
            self._busy = True
            done = False
            try:
                act()
                done = True
            except Exception as error:  # whatever it is: the app goes on
                log.exception("sdk.failed")
                self._error = f"{type(error).__name__}: {error}"
            finally:
                self._busy = False
        self._work_off()
        return done

    # With the lock held, and busy

    def _append(self, name: str | None, payload: bytes) -> None:
        if name in self._known:
            return
        self._put_on_record(payload)
        if name is not None:
            self._known[name] = None
            if len(self._known) > _KNOWN_MAX:
                self._known.popitem(last=False)

    def _put_on_record(self, payload: bytes) -> None:
        if self._waiting:
            self._drain_memory()
        journal = self._open()
        if journal is not None and not self._waiting:
            try:
                journal.append(payload)
            except JournalError as error:
                self._error = str(error)
            else:
                if self._shipper is not None:
                    self._error = ""
                    self._shipper.notify()
                self._mark(journal.last_sequence)
                return
        self._waiting.append(payload)
        if len(self._waiting) > _WAITING_MAX:
            self._waiting.popleft()
            self._lose(1)
        if self._shipper is not None:
            self._shipper.notify()

    def _lose(self, calls: int) -> None:
        before, self._lost = self._lost, self._lost + calls
        if before.bit_length() != self._lost.bit_length():  # the first, the second, the fourth, the eighth …
            log.critical("sdk.lost calls=%d reason=%s", self._lost, self._error)

    def _mark(self, sequence: int) -> None:
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][1] > 1.0:
            self._forget_marks()
            if len(self._marks) < _MARKS_MAX:
                self._marks.append((sequence, now))

    def _forget_marks(self) -> None:
        """The mark before the first that waits stays: it stands for the records between the two."""
        posted = 0 if self._shipper is None else self._shipper.posted
        while len(self._marks) > 1 and self._marks[1][0] <= posted + 1:
            self._marks.popleft()
        if self._marks and self._journal is not None and posted >= self._journal.last_sequence:
            self._marks.clear()

    def _drain_memory(self) -> None:
        if self._journal is not None:
            self._ship()
        if not self._waiting or (journal := self._open()) is None:
            return
        try:
            while self._waiting:
                journal.append(self._waiting[0])
                self._waiting.popleft()
        except JournalError as error:
            self._error = str(error)
        else:
            self._error = "" if self._shipper is not None else self._error
        if self._shipper is not None:
            self._shipper.notify()

    def _open(self) -> Journal | None:
        """The journal, made if there is none, and the thread that posts it. None: it cannot be made, and `_error` says
        why."""
        if self._journal is not None:
            self._ship()
            return self._journal
        self._hook_end_of_child()
        target, reason = None, "DATABASE_URL is not set"
        try:
            target = self._settings.database()
        except ConfigError as error:
            reason = str(error)
        journal = None
        try:
            root = self._settings.journals(target)
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            journal = Journal(root, new_journal_id())
        except (BursarError, OSError) as error:
            self._complain(f"no journal: {error}")
        if journal is not None and self._shipper is not None:
            self._shipper.end()  # there was nothing but memory until now
            self._shipper = None
        self._journal, self._target = journal, target
        self._ship()
        if target is None and journal is not None:
            self._complain(f"{reason}. Calls are kept in {journal.directory}; `bursar ledger replay` posts them.")
        return journal

    def _ship(self) -> None:
        """Start the thread, if there is none, and it has not failed to start a moment ago."""
        journal, target = self._journal, self._target
        if self._shipper is not None or target is None or (now := time.monotonic()) < self._ship_at_s:
            return
        try:
            others = self._settings.others(target) if journal is not None else []
            self._shipper = Shipper(journal, target, redis=self._redis(), owner=self, others=others)
        except (BursarError, OSError, RuntimeError) as error:  # no threads start at the end of a program, say
            self._ship_at_s = now + _SHIP_AGAIN_S
            kept = "in memory" if journal is None else f"in {journal.directory}; this program or the next posts them"
            self._complain(f"nothing can be posted: {error}. Calls are kept {kept}.")
        else:
            self._error = "" if journal is not None else self._error

    def _let_go(self) -> tuple[Journal | None, Shipper | None]:
        self._drain_memory()
        held = self._journal, self._shipper
        self._journal = self._shipper = None
        self._marks.clear()
        return held

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

    # In the shipper's thread, which implements `shipper.Owner`

    def look(self) -> None:
        """Have the disk take what waits, and book what was waited for in vain."""
        if self._lock.acquire(blocking=False):  # a signal handler may wait for this thread, and hold the lock
            try:
                self._unless_busy(self._drain_memory)
            finally:
                self._lock.release()
        self._sweep(Sweep.OVERDUE)

    def in_memory(self) -> Sequence[bytes]:
        """See `shipper.Owner`."""
        if not self._waiting:
            return []  # without the lock: see `look`
        with self._lock:
            return list(islice(self._waiting, _FROM_MEMORY_MAX))

    def holds_any(self) -> bool:
        """See `shipper.Owner`."""
        return bool(self._waiting)

    def has_posted(self, records: Sequence[bytes]) -> None:
        """See `shipper.Owner`. Some may have gone to disk, or been lost, meanwhile."""
        with self._lock:
            for record in records:
                if self._waiting and self._waiting[0] is record:
                    self._waiting.popleft()
                    self._posted_before += 1
            if not self._waiting and self._target is not None:
                self._error = ""

    # The end

    def _end(self) -> None:
        """The program ends."""
        self._sweep(Sweep.ALL)
        self.close()
        if self._waiting:
            self._lost += len(self._waiting)
            log.critical("sdk.lost calls=%d reason=%s", self._lost, self._error or "no disk and no database took them")
            self._waiting.clear()

    def _hook_end_of_child(self) -> None:
        """Children of multiprocessing end without the interpreter's own end: it has hooks of its own for them."""
        processes, hooks = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
        if processes is None or hooks is None or processes.parent_process() is None:
            return
        if self._hooked_end_of != os.getpid():
            self._hooked_end_of = os.getpid()
            hooks.Finalize(None, self._end, exitpriority=_LAST)

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
                recorder._hook_children()
                recorder._lock.acquire()  # its own hook

        def in_parent() -> None:
            if (recorder := itself()) is not None:
                recorder._lock.release()

        def in_child() -> None:
            if (recorder := itself()) is not None:
                recorder._begin_anew()

        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)

    def _hook_children(self) -> None:
        """When a child of multiprocessing begins, it forgets whatever was hooked to its end before."""
        hooks = sys.modules.get("multiprocessing.util")
        if hooks is not None and not self._hooked_children:
            self._hooked_children = True
            hooks.register_after_fork(self, Recorder._hook_end_of_child)

    def _begin_anew(self) -> None:
        """In a forked process: journal, thread and what waits in memory are the parent's."""
        self._lock = threading.RLock()
        self._busy = False
        self._incoming.clear()
        self._of_parent.append(self._shipper)
        self._journal = self._shipper = None
        self._ship_at_s = 0.0
        self._waiting.clear()
        self._marks.clear()
        self._posted_before = self._lost = 0
        for forget in self._forgetters:
            forget()
