"""The database away, and the disk full, while an app goes on."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bursar.domain.secrets import Secret
from bursar.sdk.recorder import Health, Recorder
from bursar.sdk.settings import Settings
from bursar.store.embedded import EmbeddedPostgres
from tests.ledger.journals import fill, mounted
from tests.process.conftest import database, place  # noqa: F401  # fixtures
from tests.process.process_table import signal_all
from tests.sdk.running import App
from tests.sdk.telling import spend

GROWTH_MAX_MB = 64.0
"""What waits for the database waits on disk: 100,000 calls are 125 MB there. In memory are the ids of the last 50,000,
and the batches of 4 MB by which the database catches up."""

NOTICED_S = 45.0
"""A database that is frozen may also be slow: for so long it is waited for."""


class Telling:
    """The app `telling`, and what it tells."""

    def __init__(self, app: App, pause_s: float) -> None:
        self.program: subprocess.Popen[str] = app.start("-m", "tests.sdk.apps.telling", str(pause_s))

    async def until(self, ready: str, *, more: int = 0) -> dict[str, Any]:
        """What it tells first that is `ready`, an expression of its facts."""
        assert self.program.stdout is not None
        deadline, least = time.monotonic() + 60, None
        while True:
            line = await asyncio.to_thread(self.program.stdout.readline)
            facts: dict[str, Any] = json.loads(line)
            least = facts["told"] + more if least is None else least
            if facts["told"] >= least and eval(ready, {}, facts):
                return facts
            assert time.monotonic() < deadline, facts

    async def end(self) -> dict[str, Any]:
        """What it tells last."""
        output, errors = await asyncio.to_thread(self.program.communicate, "", 90)
        assert self.program.returncode == 0, errors
        last: dict[str, Any] = json.loads(output.splitlines()[-1])
        return last


@pytest.fixture
def start_telling() -> Iterator[Callable[[App, float], Telling]]:
    """Such apps, which do not outlive their test."""
    apps: list[Telling] = []

    def start(app: App, pause_s: float) -> Telling:
        apps.append(Telling(app, pause_s))
        return apps[-1]

    yield start
    for started in apps:
        started.program.kill()
        started.program.communicate()


@pytest.mark.parametrize("how", ["stopped", "frozen"])
@pytest.mark.parametrize("away_s", [5.0, pytest.param(60.0, marks=pytest.mark.long)])
async def test_the_app_goes_on_while_the_database_is_away(
    how: str,
    away_s: float,
    start_telling: Callable[[App, float], Telling],
    database: EmbeddedPostgres,  # noqa: F811
    place: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    url = database.url("postgres")
    app = App(Path(sys.executable), {"DATABASE_URL": url, "BURSAR_DATA_DIR": str(tmp_path)})
    telling = start_telling(app, 0.0005)
    before = await telling.until("connected and posted > 2000")
    assert before["last_error"] == ""
    if how == "stopped":
        await asyncio.to_thread(database.stop)
    else:
        for _ in range(2):  # again for those that were born meanwhile
            signal_all(place / "server", signal.SIGSTOP)
    away_since = time.monotonic()
    away = first = await telling.until("not connected" if how == "stopped" else "True")
    while time.monotonic() < away_since + away_s:
        away = await telling.until("True")
        if how == "stopped" or time.monotonic() > away_since + NOTICED_S:
            assert not away["connected"]
            assert "the database does not answer" in away["last_error"]
        assert away["queued"] == away["told"] - away["posted"]
        assert (away["in_memory"], away["lost"]) == (0, 0)
    assert away["oldest_s"] > 0.8 * away_s
    assert away["told"] - first["told"] > 100 * away_s, "the app goes on"
    if how == "stopped":
        await asyncio.to_thread(database.start, lambda _: None)
    else:
        signal_all(place / "server", signal.SIGCONT)
    back = await telling.until("connected and queued < 5000")
    last = await telling.end()
    assert (last["queued"], last["posted"], last["lost"], last["oldest_s"]) == (0, last["told"], 0, None)
    assert (last["connected"], last["last_error"]) == (True, "")
    growth_mb = max(away["resident_mb"], back["resident_mb"], last["resident_mb"]) - before["resident_mb"]
    print(f"{how} for {away_s:g} s, {last['told']} told: {growth_mb:.1f} MB of growth")
    assert growth_mb < GROWTH_MAX_MB
    connection = await asyncpg.connect(url)
    found = await connection.fetchrow('SELECT count(*), count(DISTINCT litellm_call_id) FROM "LiteLLM_SpendLogs"')
    spent = await connection.fetchval('SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = $1', "alice")
    await connection.close()
    assert tuple(found) == (last["told"], last["told"])
    assert spent == pytest.approx(0.001 * last["told"])


async def until(recorder: Recorder, in_memory: int) -> Health:
    async with asyncio.timeout(30):
        while recorder.health().in_memory != in_memory:
            await asyncio.sleep(0.05)
    return recorder.health()


async def test_a_full_disk_harms_no_app_and_passes(database_url: str, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-o", "size=32m") as small:
        recorder = Recorder(Settings(database_url=Secret(database_url), data_dir=small))
        recorder.book(spend("before"))
        assert recorder.flush(20)
        filler = fill(small)
        room = 0
        while not (full := recorder.health()).in_memory:
            recorder.book(spend(f"room {room}"))
            room += 1
        assert "No space left" in full.last_error
        assert full.queued >= full.in_memory
        for number in range(2_000):
            recorder.book(spend(str(number)))
        posted = await until(recorder, 0)
        assert (posted.lost, posted.last_error) == (0, ""), "it is posted from memory"
        assert recorder.flush(20)
        filler.unlink()
        recorder.book(spend("after"))
        assert recorder.health().in_memory == 0
        assert recorder.flush(20)
        connection = await asyncpg.connect(database_url)
        assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == 1 + room + 2_000 + 1
        await connection.close()
        assert recorder.close(20)
