"""What the operating system is asked must be what the processes took: theirs, their threads' and their children's."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.cpu import children_of, cpu_s, own_cpu_s, program_of, resident_bytes, tree_cpu_s, tree_of

_BURN = """
import time
def burn(seconds):
    began = time.thread_time()
    while time.thread_time() - began < seconds: pass
"""
_SHARE_S = 0.15
_TOLERANCE_S = 0.04
"""Four ticks: what has ended is known in ticks of 10 ms."""


@contextmanager
def program(text: str) -> Iterator[int]:
    """A Python program that says a line when it has done its work and then waits; its process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BURN + text + "\nprint('done', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process.pid
        process.kill()


def test_a_process_and_its_threads_ended_ones_too() -> None:
    threads = f"""
import threading
thread = threading.Thread(target=burn, args=({_SHARE_S},))
thread.start()
thread.join()
burn({_SHARE_S})
"""
    with program("") as idle, program(threads) as busy:
        assert own_cpu_s(busy) - own_cpu_s(idle) == pytest.approx(2 * _SHARE_S, abs=_TOLERANCE_S)


def test_a_child_that_ended_is_its_parents() -> None:
    forked = f"import os\npid = os.fork()\nif pid == 0:\n  burn({_SHARE_S})\n  os._exit(0)\nos.waitpid(pid, 0)"
    with program("") as idle, program(forked) as busy:
        assert own_cpu_s(busy) - own_cpu_s(idle) < _TOLERANCE_S
        assert cpu_s([busy]) - own_cpu_s(busy) == pytest.approx(_SHARE_S, abs=_TOLERANCE_S)
        assert tree_cpu_s(busy) == pytest.approx(cpu_s([busy]), abs=_TOLERANCE_S)


def test_a_child_that_runs_is_in_the_tree() -> None:
    text = f"""
import os
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    burn({_SHARE_S})
    os.write(writer, b"x")
    time.sleep(60)
os.read(reader, 1)
"""
    with program(text) as busy:
        [child] = children_of(busy)
        try:
            assert tree_of(busy) == [busy, child]
            assert own_cpu_s(child) == pytest.approx(_SHARE_S, abs=_TOLERANCE_S)
            assert tree_cpu_s(busy) == pytest.approx(own_cpu_s(busy) + own_cpu_s(child), abs=_TOLERANCE_S)
        finally:
            os.kill(child, 9)


def test_the_clock_is_finer_than_a_tick() -> None:
    before = own_cpu_s(os.getpid())
    began = time.process_time()
    while time.process_time() - began < 0.002:
        pass
    assert 0.001 < own_cpu_s(os.getpid()) - before < 0.01


def test_memory_is_what_is_touched() -> None:
    with program("") as small, program("memory = bytes(range(256)) * 400_000") as large:
        assert resident_bytes(large) - resident_bytes(small) == pytest.approx(102.4e6, rel=0.02)


def test_who_is_gone_is_told() -> None:
    with program("") as pid:
        assert program_of(pid).startswith("python")
    for question in (own_cpu_s, children_of, program_of, resident_bytes):
        with pytest.raises(ProcessLookupError):
            question(pid)
    assert tree_of(pid) == []
