"""What processes cost, from the operating system: CPU seconds of whole process trees, and resident memory. Linux only.

CPU time is read from each process's own clock (clock_getcpuclockid(3)): user and system time of all its threads, ended
ones included, in nanoseconds. /proc counts the same in ticks of 10 ms, which is too coarse for a second of work. Of a
process that has ended, its parent knows the time once it has waited for it, and that is added, in ticks.

Not seen: a process that ended and whose parent ended before waiting for it.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def own_cpu_s(pid: int) -> float:
    """CPU seconds of one process so far, without its children. Raises ProcessLookupError: there is none."""
    try:
        return time.clock_gettime(_cpu_clock(pid))
    except OSError as error:
        raise ProcessLookupError(pid) from error


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of these processes and of the children they have waited for. Raises ProcessLookupError."""
    return sum(own_cpu_s(pid) + _waited_for_s(pid) for pid in pids)


def tree_of(root: int) -> list[int]:
    """`root` and its descendants. Empty when it is gone."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            waiting += children_of(pid)
        except ProcessLookupError:
            continue
        found.append(pid)
    return found


def tree_cpu_s(root: int) -> float:
    """CPU seconds of `root` and all that came of it."""
    total = 0.0
    for pid in tree_of(root):
        try:
            total += cpu_s([pid])
        except ProcessLookupError:
            continue  # it ended just now: its parent's next reading has it
    return total


def children_of(pid: int) -> list[int]:
    """Its children, those that have ended and were not waited for among them. Raises ProcessLookupError."""
    children: list[int] = []
    try:
        for thread in (_PROC / str(pid) / "task").iterdir():
            children += (int(child) for child in (thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    return children


def program_of(pid: int) -> str:
    """The name of the program it runs, cut to 15 characters. Raises ProcessLookupError."""
    return _read(pid, "comm").strip()


def resident_bytes(pid: int) -> int:
    """Memory of the process that is in RAM, pages that it shares with others included. Raises ProcessLookupError."""
    for line in _read(pid, "status").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) * 1024
    raise ProcessLookupError(pid)  # a zombie has no memory


def _cpu_clock(pid: int) -> int:
    """clock_getcpuclockid(3), which Python does not offer: part of the kernel's interface (CPUCLOCK_SCHED)."""
    return (~pid << 3) | 2


def _waited_for_s(pid: int) -> float:
    children_user, children_system = _stat(pid)[13:15]
    return (int(children_user) + int(children_system)) * _TICK_S


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third, the state, on. The second is a name that may contain anything."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, file: str) -> str:
    try:
        return (_PROC / str(pid) / file).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
