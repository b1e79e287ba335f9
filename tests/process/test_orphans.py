"""Nothing is left running, however the gateway ends, and the next one starts at once on the same data."""

import signal
from collections.abc import Callable

import pytest

from tests.process.caller import load
from tests.process.calls import PACED, PLAIN, STREAM
from tests.process.checks import check_books, check_served, until_served
from tests.process.gateway import Gateway, MakeGateway, Oracle
from tests.process.process_table import survivors
from tests.process.program import BURSAR, Program

GONE_WITHIN_S = 20.0
"""A few seconds; slow machines get more."""
WITHOUT_HANGUPS = ("/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *BURSAR)
"""As `nohup` starts a command."""

Ending = Callable[[Program], None]


def ctrl_c(program: Program) -> None:
    program.press(b"\x03")


def hang_up(program: Program) -> None:
    program.stop_reading()


def terminate(program: Program) -> None:
    program.signal(signal.SIGTERM)


def kill(program: Program) -> None:
    program.signal(signal.SIGKILL)


async def check_start(gateway: Gateway, *arguments: str) -> None:
    """The next one works, and ends in order."""
    gateway.start(*arguments)
    await check_served(gateway)
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("end", "code"),
    [(ctrl_c, 0), (hang_up, 0), (terminate, 0), (kill, -signal.SIGKILL)],
    ids=["ctrl-c", "closed-terminal", "sigterm", "kill-9"],
)
async def test_workers_demo_and_database_are_gone(end: Ending, code: int, make_gateway: MakeGateway) -> None:
    gateway = make_gateway("--workers", "2")
    program = gateway.start(terminal=True)
    await check_served(gateway)
    everything = program.family()
    assert len(gateway.workers()) == 3
    assert gateway.database() in everything
    end(program)
    assert program.wait() == code
    assert survivors(everything, GONE_WITHIN_S) == []
    assert program.family() == []
    await check_start(gateway, "--port", str(gateway.port))


@pytest.mark.parametrize("end", [terminate, kill], ids=["sigterm", "kill-9"])
@pytest.mark.parametrize("moment", ["^First start: ", "^Database: applying migration "], ids=["initdb", "migration"])
async def test_ended_while_it_starts(moment: str, end: Ending, make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    program = gateway.launch(terminal=True)
    program.wait_for(moment)
    everything = program.family()
    end(program)
    assert program.wait() != 0
    assert survivors(everything, GONE_WITHIN_S) == []
    assert survivors(program.family(), GONE_WITHIN_S) == []
    await check_start(gateway)


async def test_ctrl_c_while_it_starts_is_no_accident(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    program = gateway.launch(terminal=True)
    program.wait_for("^First start: ")
    everything = program.family()
    ctrl_c(program)
    assert program.wait() == 1
    assert survivors([*everything, *program.family()], GONE_WITHIN_S) == []
    assert "Traceback" not in program.output
    await check_start(gateway)


async def test_a_dead_supervisor_under_load_loses_nothing(oracle: Oracle, make_gateway: MakeGateway) -> None:
    """Its workers end as if they had been told to, without their database, and the next gateway has their journals."""
    gateway = make_gateway("--workers", "2", oracle=oracle)
    gateway.start()
    everything = gateway.program.family()
    async with load(gateway.port, gateway.key, [[PLAIN], [STREAM], [PACED]] * 6) as clients:
        await clients.until(answered=200)
        kill(gateway.program)
        await clients.ended()
    assert survivors(everything, GONE_WITHIN_S) == []
    gateway.start("--port", str(gateway.port))
    await check_books(gateway, oracle, clients.received)
    assert gateway.stop() == 0


async def test_without_hangups_it_outlives_its_terminal(make_gateway: MakeGateway) -> None:
    """And what it has to say to nobody does not end it."""
    gateway = make_gateway()
    program = gateway.start(terminal=True, command=WITHOUT_HANGUPS)
    [worker, *_] = gateway.workers()
    program.stop_reading()
    worker.signal(signal.SIGKILL)
    assert survivors([worker], GONE_WITHIN_S) == []
    database = gateway.database()
    database.signal(signal.SIGKILL)
    assert survivors([database], GONE_WITHIN_S) == []
    await until_served(gateway)
    assert gateway.database() != database
    assert gateway.stop() == 0


async def test_nobody_reads_what_it_prints(make_gateway: MakeGateway) -> None:
    """As in `bursar serve | head -20`."""
    gateway = make_gateway()
    program = gateway.start()
    program.stop_reading()
    [worker, *_] = gateway.workers()
    worker.signal(signal.SIGKILL)
    assert survivors([worker], GONE_WITHIN_S) == []
    await until_served(gateway)
    database = gateway.database()
    database.signal(signal.SIGKILL)
    assert survivors([database], GONE_WITHIN_S) == []
    await until_served(gateway)
    assert gateway.stop() == 0
