"""Who runs on this machine: the tests must know whether anything of theirs was left behind (Linux: from /proc)."""

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment."""

    pid: int
    started: int
    """In the kernel's ticks: with the pid it names a process for ever."""
    parent: int
    session: int
    state: str
    command: str

    @property
    def alive(self) -> bool:
        """It still runs: neither gone nor a zombie."""
        now = _read(self.pid)
        return now is not None and now.started == self.started and now.state not in "ZX"

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Whether it ended within the time. Needs not be our child."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive:
                return True
            return bool(select.select([descriptor], [], [], max(timeout_s, 0.0))[0])
        finally:
            os.close(descriptor)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _read(pid: int) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may itself hold anything.
    state, parent, _group, session, *rest = text.rpartition(") ")[2].split()
    words = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return Process(pid, int(rest[15]), int(parent), int(session), state, words)


def running() -> list[Process]:
    """All processes that are not zombies."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [found for pid in pids if (found := _read(pid)) is not None and found.state not in "ZX"]


def family(pid: int, place: Path) -> list[Process]:
    """Everything that belongs to the program started as `pid` with its files in `place`.

    Its descendants, its session (what was orphaned stays in it), and who works inside `place`: the database server has
    a session of its own, and is nobody's child once its parent is dead.
    """
    processes = running()
    known = {pid}
    grown = True
    while grown:
        more = {p.pid for p in processes if p.parent in known or p.session == pid or works_in(p.pid, place)}
        grown = not more <= known
        known |= more
    return [process for process in processes if process.pid in known]


def works_in(pid: int, place: Path) -> bool:
    """Whether that is where the process has its current directory."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(place)
    except OSError:
        return False


def survivors(processes: Iterable[Process], timeout_s: float) -> list[Process]:
    """Those that have not ended within the time."""
    deadline = time.monotonic() + timeout_s
    return [process for process in processes if not process.wait_until_gone(deadline - time.monotonic())]


def signal_all(place: Path, number: signal.Signals) -> None:
    """To every process that works in `place`."""
    for process in running():
        if works_in(process.pid, place):
            process.signal(number)
