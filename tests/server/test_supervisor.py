"""The supervisor by itself, over small workers of the tests' own. With the gateway's: tests/process."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.process.process_table import survivors
from tests.process.program import Program

_PROLOGUE = """
import logging, os, signal, sys, time
from bursar.domain.errors import ConfigError
from bursar.server import supervisor
from bursar.server.supervisor import Supervisor, WorkerFailed

logging.basicConfig(format="%(message)s")


def say(text):
    os.write(1, (text + "\\n").encode())


def obedient(ready):
    '''Until SIGTERM.'''
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ready()
    while True:
        signal.pause()


def until_told():
    signal.sigwait({signal.SIGTERM})


def stubborn(ready):
    signal.signal(signal.SIGTERM, lambda *_: say("told"))
    ready()
    while True:
        signal.pause()


def run(*lives, **options):
    targets = [(life.__name__, life) for life in lives]
    told = Supervisor(targets, grace_s=options.pop("grace_s", 5.0), on_ready=lambda: say("ready"), **options)
    try:
        code = told.run()
    except WorkerFailed as error:
        say(f"failed: {error}")
        code = 3
    say(f"pid {os.getpid()} ended")
    sys.exit(code)
"""

Run = Callable[[str], Program]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a script that has the prologue above."""
    place = Path(tempfile.mkdtemp(prefix="bs-"))
    programs: list[Program] = []

    def start(script: str) -> Program:
        path = place / "script.py"
        path.write_text(_PROLOGUE + dedent(script))
        programs.append(Program(str(path), place=place, command=(sys.executable,)))
        return programs[-1]

    yield start
    for program in programs:
        program.close()
    shutil.rmtree(place)


def ended(program: Program, code: int) -> str:
    """What it had printed at its end, which is its only one: no child has come out of its cage."""
    assert program.wait() == code
    assert survivors(program.family(), 10.0) == []
    assert program.output.count(f"pid {program.pid} ended") == program.output.count(" ended\n") == 1, program.output
    return program.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_each_way_to_be_told(number: signal.Signals, run: Run) -> None:
    program = run("run(obedient, obedient)")
    program.wait_for("^ready$")
    os.killpg(program.pid, number) if number is signal.SIGINT else program.signal(number)
    assert "died" not in ended(program, 0)


def test_one_that_fails_at_first_ends_all(run: Run) -> None:
    said = ended(
        run("""
            def hopeless(ready):
                sys.exit(7)

            run(obedient, hopeless)
        """),
        3,
    )
    assert "failed: the hopeless ended (code 7) before it was ready" in said
    assert "\nready\n" not in said


def test_an_error_on_purpose_is_one_line(run: Run) -> None:
    said = ended(
        run("""
            def misled(ready):
                raise ConfigError("the port is odd")

            run(misled)
        """),
        3,
    )
    assert "worker.failed reason=the port is odd\n" in said
    assert "Traceback" not in said


def test_any_other_error_is_told_whole(run: Run) -> None:
    said = ended(
        run("""
            def broken(ready):
                return 1 / 0

            run(broken)
        """),
        3,
    )
    assert "Traceback" in said
    assert "ZeroDivisionError" in said


def test_a_worker_that_cannot_print_stays_a_worker(run: Run) -> None:
    """What it has left to say at its end must not raise it into its parent's code."""
    program = run("""
        def mute(ready):
            def end(*_):
                read, write = os.pipe()
                os.close(read)
                sys.stdout = open(write, "w")
                print("to nobody")  # kept in the buffer until the end
                sys.exit(0)

            signal.signal(signal.SIGTERM, end)
            ready()
            while True:
                signal.pause()

        run(mute, obedient, on_end=lambda: os.write(2, b"the end\\n"))
    """)
    program.wait_for("^ready$")
    program.signal(signal.SIGTERM)
    assert ended(program, 0).count("the end\n") == 1


def test_one_that_does_not_listen_is_killed_in_the_end(run: Run) -> None:
    program = run("""
        supervisor._KILL_MARGIN_S = 0.3
        run(stubborn, grace_s=0.2)
    """)
    program.wait_for("^ready$")
    program.signal(signal.SIGTERM)
    assert ended(program, 0).count("told") == 1


def test_being_told_twice_is_passed_on(run: Run) -> None:
    program = run("""
        def counting(ready):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            ready()
            until_told()
            say("once")
            until_told()
            say("twice")

        run(counting, grace_s=60.0)
    """)
    program.wait_for("^ready$")
    program.signal(signal.SIGTERM)
    program.wait_for("^once$")
    program.signal(signal.SIGTERM)
    assert "twice" in ended(program, 0)


def test_what_they_work_with_ends_last(run: Run) -> None:
    program = run("""
        def first(ready):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            ready()
            until_told()
            time.sleep(0.3)  # what it still has to do
            say("first is done")

        def second(ready):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            ready()
            until_told()
            say("second is done")

        run(first, last=[("second", second)], on_end=lambda: say("the door is shut"))
    """)
    program.wait_for("^ready$")
    program.signal(signal.SIGTERM)
    said = ended(program, 0)
    order = ["the door is shut", "first is done", "second is done"]
    assert sorted(order, key=said.index) == order


def test_readiness_is_told_once_and_the_dead_are_replaced(run: Run) -> None:
    program = run("""
        def named(ready):
            say(f"worker {os.getpid()}")
            obedient(ready)

        run(named)
    """)
    program.wait_for("^ready$")
    for death in range(1, 4):
        os.kill(int(program.wait_for(r"^worker (\d+)$", times=death)[1]), signal.SIGKILL)
        program.wait_for(r"^worker (\d+)$", times=death + 1)
    program.signal(signal.SIGTERM)
    said = ended(program, 0)
    assert said.count("ready\n") == 1
    assert said.count("worker.died name=named") == 3
    assert said.count("code=-9") == 3


def test_a_companion_that_has_ended_is_started_again(run: Run) -> None:
    program = run("""
        class Companion:
            starts = 0

            @property
            def running(self):
                return self.starts == 2

            def restart(self):
                self.starts += 1
                say(f"start {self.starts}")

        run(obedient, companions=[Companion()])
    """)
    program.wait_for("^start 2$")
    program.signal(signal.SIGTERM)
    assert "start 3" not in ended(program, 0)


def test_workers_are_replaced_one_after_the_other(run: Run) -> None:
    program = run(
        """
        def worker(ready):
            signal.signal(signal.SIGTERM, lambda *_: (say(f"gone {os.getpid()}"), sys.exit(0)))
            say(f"born {os.getpid()}")
            ready()
            while True:
                signal.pause()

        run(worker, worker)
        """
    )
    program.wait_for("ready")
    before = program.output
    program.signal(signal.SIGUSR2)
    program.wait_for("workers.rolled")
    program.wait_for("^gone", times=2)
    events = [line.split()[0] for line in program.output[len(before) :].splitlines() if line[:4] in ("born", "gone")]
    assert events == ["born", "gone", "born", "gone"]
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "worker.died" not in program.output


def test_a_successor_that_fails_leaves_the_present_workers(run: Run) -> None:
    program = run(
        """
        born = os.path.join(os.path.dirname(__file__), "born")

        def once(ready):
            if os.path.exists(born):
                sys.exit(1)
            open(born, "w").close()
            obedient(ready)

        run(once)
        """
    )
    program.wait_for("ready")
    program.signal(signal.SIGUSR2)
    program.wait_for("workers.rolling_failed")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
