"""What is measured gets a core of its own, everything around it the others: load generator, provider, databases.

Else the scheduler decides what shares a core with what, differently from run to run, and that is what is measured: a
proxy that waits for a core with the load generator finds several calls when it gets there, and so seems cheaper.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench.cpu import tree_of


class Cores(NamedTuple):
    """Cores of this machine, by number."""

    measured: frozenset[int]
    around: frozenset[int]

    @property
    def apart(self) -> bool:
        """There are enough of them to keep the two apart."""
        return self.measured.isdisjoint(self.around)


def divided() -> Cores:
    """The cores that this process may use: one is for what is measured. With a single one, all share it."""
    *around, measured = sorted(os.sched_getaffinity(0))
    return Cores(frozenset([measured]), frozenset(around or [measured]))


@contextmanager
def apart(measured: Iterable[int]) -> Iterator[Cores]:
    """Keep the processes `measured`, with their threads and what they start, on a core of their own, and this process
    and all others that came of it off it. Afterwards this process, and what it starts then, may use all cores again.

    Raises ProcessLookupError: one of `measured` is gone.
    """
    cores, before, own = divided(), os.sched_getaffinity(0), set(measured)
    try:
        for pid in set(tree_of(os.getpid())) - own:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                _move(pid, cores.around)
        for pid in own:
            _move(pid, cores.measured)
        yield cores
    finally:
        os.sched_setaffinity(0, before)


def _move(pid: int, cores: frozenset[int]) -> None:
    """All threads of a process. What it starts later inherits its cores."""
    for thread in _threads(pid):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cores)


def _threads(pid: int) -> list[int]:
    try:
        return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
