"""What is measured has a core of its own, threads and children included; afterwards nobody is held to one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.cores import Cores, apart, divided

_WITH_A_THREAD = "import sys, threading; threading.Thread(target=sys.stdin.read).start(); print(flush=True)"


@contextmanager
def program() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", _WITH_A_THREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def cores_of(pid: int) -> set[frozenset[int]]:
    """Of each of its threads."""
    return {frozenset(os.sched_getaffinity(int(thread.name))) for thread in Path(f"/proc/{pid}/task").iterdir()}


def test_the_measured_and_the_rest() -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        assert not divided().apart
        return
    with program() as measured, program() as other:
        with apart([measured]) as cores:
            assert cores.apart
            assert cores.measured | cores.around == before
            assert cores_of(measured) == {cores.measured}
            assert cores_of(other) == {cores.around}
            with program() as later:
                assert cores_of(later) == {cores.around}
        assert os.sched_getaffinity(0) == before
        with program() as later:
            assert cores_of(later) == {frozenset(before)}


def test_one_that_is_gone_is_told_and_nobody_stays_confined() -> None:
    before = os.sched_getaffinity(0)
    with program() as gone:
        pass
    with pytest.raises(ProcessLookupError), apart([gone]):
        pass
    assert os.sched_getaffinity(0) == before


def test_a_single_core_is_shared() -> None:
    assert not Cores(frozenset([3]), frozenset([3])).apart
