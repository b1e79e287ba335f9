"""The supervisor: starts the worker processes, replaces those that die, and ends them in order.

Workers are forked from it with everything imported, before any thread or event loop exists. The kernel tells a worker
when its supervisor is gone (Linux; elsewhere the worker looks), so that none is left behind.
"""

import ctypes
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from bursar.domain.errors import BursarError

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_TICK_S = 0.2
_KILL_MARGIN_S = 15.0
"""How much longer than its grace time a worker may take to end before it is killed: it still posts its journal."""
_STABLE_S = 10.0
"""A worker that lived so long did not die of being started."""
_BACKOFF_MAX_S = 10.0

_ROLL = signal.SIGUSR2
"""Replace the workers, one after the other, without a call failing."""
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Worker = Callable[[Callable[[], None]], None]
"""A worker's life; it calls its argument when it is ready to serve, and returns when it has ended properly."""


class Companion(Protocol):
    """A process that is not a worker and that the supervisor keeps running: the embedded database."""

    @property
    def running(self) -> bool: ...

    def restart(self) -> None: ...


class WorkerFailed(Exception):
    """A worker ended before it was ready for the first time: starting again would not help."""


@dataclass(slots=True, eq=False)
class _Slot:
    """One place for a worker, and who is in it."""

    name: str
    target: Worker
    last: bool = False
    pid: int = 0
    ready_fd: int = -1
    ready: bool = False
    ever_ready: bool = False
    started_s: float = 0.0
    deaths: int = 0
    due_s: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Runs `targets` (name, life) until told to end: by SIGTERM, by Ctrl-C, or by the terminal that is closed.

    One at a time in a process.
    """

    targets: Sequence[tuple[str, Worker]]
    grace_s: float
    on_ready: Callable[[], None]
    """Called once, when every worker is ready for the first time."""
    in_child: Callable[[], None] = lambda: None
    """Called first thing in each worker: lets go of what only the supervisor may hold."""
    on_end: Callable[[], None] = lambda: None
    """Called first thing when it comes to an end: lets go of what must not outlast the workers: listening sockets."""
    last: Sequence[tuple[str, Worker]] = ()
    """As `targets`, but told to end only when all of those have ended: what they work with."""
    companions: Sequence[Companion] = ()
    _slots: list[_Slot] = field(default_factory=list)
    _outgoing: list[_Slot] = field(default_factory=list)
    """Workers still to be replaced."""
    _successor: _Slot | None = None
    """Started to take the place of the first of them, and not ready yet."""
    _retired: list[_Slot] = field(default_factory=list)
    """Replaced, and ending."""
    _rolls: int = 0
    _signals: list[int] = field(default_factory=list)

    def run(self) -> int:
        """Until told to end; the exit code.

        Raises WorkerFailed.
        """
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handled = {*_ENDINGS, signal.SIGCHLD, _ROLL}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            handled.remove(signal.SIGHUP)  # nohup: the terminal is meant to go
        previous = {number: signal.signal(number, self._note) for number in handled}
        try:
            self._slots = [_Slot(name, target) for name, target in self.targets]
            self._slots += [_Slot(name, target, last=True) for name, target in self.last]
            for slot in self._slots:
                self._start(slot)
            announced = False
            while not self._endings():
                self._wait(reader)
                self._reap(final=False)
                self._look_after()
                self._roll()
                if not announced and all(slot.ready for slot in self._slots):
                    announced = True
                    self.on_ready()
            return 0
        finally:
            self._end(reader)
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            reader.close()
            writer.close()

    def _note(self, number: int, _frame: object) -> None:
        self._signals.append(number)

    @property
    def _everyone(self) -> list[_Slot]:
        successor = [] if self._successor is None else [self._successor]
        return [*self._slots, *successor, *self._retired]

    def _roll(self) -> None:
        """One step of replacing the workers: a successor is started; when it is ready, its predecessor is told to end;
        when that has ended, the next one follows."""
        self._retired = [slot for slot in self._retired if slot.pid]
        told = self._signals.count(_ROLL)
        if told > self._rolls:
            self._rolls = told
            self._outgoing = [slot for slot in self._slots if not slot.last]
            log.warning("workers.rolling count=%d", len(self._outgoing))
        if self._successor is not None:
            self._advance(self._successor)
        elif self._outgoing and not self._retired:
            predecessor = self._outgoing[0]
            self._successor = _Slot(predecessor.name, predecessor.target)
            self._start(self._successor)

    def _advance(self, successor: _Slot) -> None:
        if successor.ready:
            predecessor = self._outgoing.pop(0)
            self._slots[self._slots.index(predecessor)] = successor
            self._retired.append(predecessor)
            self._successor = None
            _tell([predecessor], signal.SIGTERM)
            if not self._outgoing:
                log.warning("workers.rolled")
        elif successor.pid == 0:
            log.error("workers.rolling_failed name=%s: the present workers stay", successor.name)
            self._outgoing, self._successor = [], None

    def _endings(self) -> int:
        """How often we were told to end."""
        return sum(number in _ENDINGS for number in self._signals)

    def _wait(self, reader: socket.socket) -> None:
        """Until a signal, a worker's readiness, or the next tick."""
        waiting = [slot.ready_fd for slot in self._everyone if slot.ready_fd >= 0]
        ready, _, _ = select.select([reader.fileno(), *waiting], [], [], _TICK_S)
        if reader.fileno() in ready:
            with suppress(BlockingIOError):
                reader.recv(4096)
        for slot in self._everyone:
            if slot.ready_fd in ready:
                slot.ready = slot.ready or os.read(slot.ready_fd, 1) == b"r"
                slot.ever_ready = slot.ever_ready or slot.ready
                os.close(slot.ready_fd)
                slot.ready_fd = -1

    def _start(self, slot: _Slot) -> None:
        ready_read, ready_write = os.pipe()
        supervisor = os.getpid()
        _flush()
        pid = os.fork()
        if pid == 0:
            os.close(ready_read)
            _live(slot.target, ready_write, supervisor, self.in_child)
        os.close(ready_write)
        slot.pid, slot.ready_fd, slot.ready, slot.started_s = pid, ready_read, False, time.monotonic()

    def _reap(self, *, final: bool) -> None:
        for slot in self._everyone:
            if slot.pid == 0:
                continue
            with suppress(ChildProcessError):
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid == 0:
                    continue
                self._died(slot, os.waitstatus_to_exitcode(status), final=final or slot not in self._slots)

    def _died(self, slot: _Slot, code: int, *, final: bool) -> None:
        lived_s = time.monotonic() - slot.started_s
        pid, slot.pid = slot.pid, 0
        if slot.ready_fd >= 0:
            os.close(slot.ready_fd)
            slot.ready_fd = -1
        if final:
            return
        if not slot.ever_ready:
            raise WorkerFailed(f"the {slot.name} ended (code {code}) before it was ready")
        slot.deaths = 0 if lived_s > _STABLE_S else slot.deaths + 1
        delay = 0.0 if slot.deaths <= 1 else min(0.1 * 2**slot.deaths, _BACKOFF_MAX_S)
        slot.due_s = time.monotonic() + delay
        log.error(
            "worker.died name=%s pid=%d code=%d lived_s=%.1f next_in_s=%.1f", slot.name, pid, code, lived_s, delay
        )

    def _look_after(self) -> None:
        for companion in self.companions:
            if not companion.running:
                companion.restart()
        now = time.monotonic()
        for slot in self._slots:
            if slot.pid == 0 and slot.due_s <= now:
                self._start(slot)

    def _end(self, reader: socket.socket) -> None:
        self.on_end()
        hurry = 2 if self._endings() else 1  # a worker that failed ends us untold
        for last in (False, True):
            self._end_slots([slot for slot in self._everyone if slot.last is last], reader, hurry=hurry)

    def _end_slots(self, slots: Sequence[_Slot], reader: socket.socket, *, hurry: int) -> None:
        """Ask them to end, wait for their grace, then kill. Being told `hurry` times to end is passed on to them."""
        _tell(slots, signal.SIGTERM)
        deadline = time.monotonic() + self.grace_s + _KILL_MARGIN_S
        while any(slot.pid for slot in slots):
            if time.monotonic() > deadline:
                _tell(slots, signal.SIGKILL)
            self._wait(reader)
            self._reap(final=True)
            if self._endings() >= hurry:
                _tell(slots, signal.SIGTERM)  # again each time round: two that meet arrive as one


def _tell(slots: Sequence[_Slot], number: signal.Signals) -> None:
    for slot in slots:
        if slot.pid:
            with suppress(ProcessLookupError):
                os.kill(slot.pid, number)


def _live(target: Worker, ready_fd: int, supervisor: int, in_child: Callable[[], None]) -> None:
    """The forked child: never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (*_ENDINGS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(_ROLL, signal.SIG_IGN)
        os.setpgid(0, 0)  # Ctrl-C in the terminal is for the supervisor, which tells us
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != supervisor:
                os._exit(1)
        in_child()
        target(lambda: _report(ready_fd))
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BursarError as error:
        log.critical("worker.failed reason=%s", error)
    except BaseException:  # noqa: BLE001  # the end of the process: whatever it is, it is told and becomes the code
        with suppress(OSError):
            traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    """Have printed what was said, if anybody still listens: a terminal may be closed, and whoever read a pipe gone."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()


def _report(ready_fd: int) -> None:
    with suppress(OSError):
        os.write(ready_fd, b"r")
        os.close(ready_fd)
