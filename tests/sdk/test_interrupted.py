"""Signal handlers that come in the middle of it, and ask for anything."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.running import App

PROGRAM = """
import random, signal, sys, time
from bursar.sdk import Ledger

ledger = Ledger()
handled = 0

def call(user):
    with ledger.call(model="gpt-4o", provider="openai", user=user) as told:
        told.usage(prompt_tokens=1, completion_tokens=1)

def handler(*_):
    global handled
    handled += 1
    {inside}

signal.signal(signal.SIGALRM, handler)
call("app")
until, called = time.monotonic() + 4, 1
while time.monotonic() < until:
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
    for _ in range(15):
        call("app")
        called += 1
    time.sleep(0.003)
signal.setitimer(signal.ITIMER_REAL, 0)
assert ledger.flush(20), ledger.health()
health = ledger.health()
assert (health.queued, health.lost) == (0, 0), health
print(called, handled)
"""


@pytest.mark.parametrize(
    "inside", ["ledger.health()", "call('handler')", "ledger.flush(0.001)", "handled == 100 and ledger.close(5)"]
)
async def test_a_handler_may_ask_for_anything(inside: str, connection: Any, database_url: str, tmp_path: Path) -> None:
    app = App(Path(sys.executable), {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})
    with app.start("-c", PROGRAM.replace("{inside}", inside)) as program:
        try:
            output, errors = program.communicate(timeout=60)
        finally:
            program.kill()
    assert program.returncode == 0, errors
    called, handled = map(int, output.split())
    assert handled > 100
    rows = dict(await connection.fetch('SELECT "user", count(*) FROM "LiteLLM_SpendLogs" GROUP BY 1'))
    assert rows == {"app": called} | ({"handler": handled} if "handler" in inside else {})


BESIDE_ANOTHER = """
import faulthandler, random, signal, threading, time
from bursar.sdk import Ledger

faulthandler.dump_traceback_later(30, exit=True)
ledger = Ledger()
handled = 0
done = threading.Event()

def call():
    with ledger.call(model="gpt-4o", provider="openai") as told:
        told.usage(prompt_tokens=1, completion_tokens=1)

def handler(*_):
    global handled
    handled += 1
    ledger.flush(0.01)

def flush():
    while not done.is_set():
        ledger.flush(0.005)

call()
signal.signal(signal.SIGALRM, handler)
other = threading.Thread(target=flush, daemon=True)
other.start()
until = time.monotonic() + 6
while time.monotonic() < until:
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.004))
    for _ in range(10):
        call()
signal.setitimer(signal.ITIMER_REAL, 0)
done.set()
other.join(5)
assert not other.is_alive()
print(handled)
"""


def test_a_handler_may_flush_while_another_thread_does_and_neither_disk_nor_database_is_there(tmp_path: Path) -> None:
    (tmp_path / "sdk").write_text("in the way")
    away = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    app = App(Path(sys.executable), {"DATABASE_URL": away, "BURSAR_DATA_DIR": str(tmp_path)})
    with app.start("-c", BESIDE_ANOTHER) as program:
        try:
            output, errors = program.communicate(timeout=60)
        finally:
            program.kill()
    assert program.returncode == 0, errors
    assert int(output) > 100
