"""The recorder in a process of its own and in forked ones, against a real database."""

import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from bursar.domain.secrets import Secret
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from bursar.store.audit import audit
from bursar.store.database import Database
from bursar.store.migrate import migrate
from tests.sdk.replaying import for_database, replay
from tests.sdk.running import App
from tests.sdk.telling import charge, failed, spend

NOWHERE = "postgresql://nobody:s3cret@127.0.0.1:1/nothing"


@pytest.fixture
def recorder(database_url: str, tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(Settings(database_url=Secret(database_url), data_dir=tmp_path))
    yield recorder
    recorder.close()


def lost_from_sight(tmp_path: Path) -> Recorder:
    """One whose database does not answer."""
    return Recorder(Settings(database_url=Secret(NOWHERE), data_dir=tmp_path))


async def rows(connection: Any) -> int:
    found: int = await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"')
    return found


async def test_any_thread_may_record(recorder: Recorder, connection: Any) -> None:
    def some(thread: int) -> None:
        for number in range(50):
            recorder.book(spend(f"{thread}-{number}"))

    threads = [threading.Thread(target=some, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush(20)
    assert await rows(connection) == 400
    health = recorder.health()
    assert (health.connected, health.queued, health.posted, health.oldest_s) == (True, 0, 400, None)
    spent = await connection.fetchval('SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = $1', "alice")
    assert spent == pytest.approx(0.4)


async def test_it_posts_a_second_apart_and_at_once_for_who_waits(recorder: Recorder, connection: Any) -> None:
    recorder.book(spend("first"))
    assert recorder.flush(20)
    begun_s = time.monotonic()
    for number in range(5):
        recorder.book(spend(f"waited for-{number}"))
        assert recorder.flush(20)
    assert time.monotonic() - begun_s < 4.0, "each would have had to wait for a second"
    for number in range(100):
        recorder.book(spend(f"in the course of a second-{number}"))
        time.sleep(0.01)
    assert recorder.flush(20)
    assert await rows(connection) == 106


async def test_what_is_told_twice_is_booked_once_also_by_two_processes(
    recorder: Recorder, connection: Any, database_url: str, tmp_path: Path
) -> None:
    other = Recorder(Settings(database_url=Secret(database_url), data_dir=tmp_path))
    for one in (recorder, recorder, other):
        one.book(spend("a"))
        one.book(failed("a", model="gpt-4o-mini"))
        one.book(failed("a", model="gpt-4o-mini", start_us=spend("a").start_us + 1))
    assert recorder.flush(20)
    assert other.close(20)
    assert await rows(connection) == 3, "an answer, and two failures that share its id"
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0
    assert await connection.fetchval('SELECT sum(spend) FROM "LiteLLM_SpendLogs"') == pytest.approx(0.001)


async def test_while_the_database_is_away_calls_wait_on_disk(
    connection: Any, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = lost_from_sight(tmp_path)
    for number in range(20):
        recorder.book(spend(str(number)))
    assert not recorder.flush(0.5)
    health = recorder.health()
    assert (health.connected, health.queued, health.posted, health.lost) == (False, 20, 0, 0)
    assert "does not answer" in health.last_error
    assert health.oldest_s is not None
    assert not recorder.close(5)
    assert await replay(database_url, for_database(tmp_path, NOWHERE)) == 1
    assert await rows(connection) == 20
    assert "s3cret" not in caplog.text + health.last_error


async def test_without_a_database_there_is_one_warning_and_all_is_kept(
    connection: Any, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(Settings(data_dir=tmp_path))
    for number in range(3):
        recorder.book(spend(str(number)))
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in told] == ["bursar.sdk.recorder"]
    assert "DATABASE_URL is not set" in recorder.health().last_error
    assert "bursar ledger replay" in recorder.health().last_error
    recorder.close()
    assert await replay(database_url, tmp_path / "sdk") == 1
    assert await rows(connection) == 3


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "postgresql://h", "postgresql://u:p@h/d?nonsense=1"])
def test_a_url_that_is_none_harms_nobody(tmp_path: Path, url: str) -> None:
    recorder = Recorder(Settings(database_url=Secret(url), data_dir=tmp_path))
    recorder.book(spend("a"))
    assert "database_url" in recorder.health().last_error
    assert recorder.health().queued == 1
    recorder.close()


def test_a_disk_that_takes_nothing_harms_nobody(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "sdk").write_text("in the way")
    recorder = Recorder(Settings(database_url=Secret(database_url), data_dir=tmp_path))
    recorder.book(spend("a"))
    assert "no journal" in recorder.health().last_error
    assert recorder.flush(20), "what waits in memory is posted from there"
    health = recorder.health()
    assert (health.connected, health.posted, health.queued, health.in_memory) == (True, 1, 0, 0)
    assert recorder.close()


WITHOUT_FILES = """
import os, resource, sys, time
from bursar.domain.secrets import Secret
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from tests.sdk.telling import spend

recorder = Recorder(Settings())
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
taken = []
while True:
    try:
        taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
for _ in range(int(sys.argv[1])):
    os.close(taken.pop())
for number in range(5):
    recorder.book(spend(f"without-{number}"))
flushed, health = recorder.flush(0.5), recorder.health()
print(flushed, health.queued, health.lost, bool(health.last_error))
if sys.argv[2] == "passes":
    for fd in taken:
        os.close(fd)
    time.sleep(1.1)
    recorder.book(spend("after"))
    flushed, health = recorder.flush(20), recorder.health()
    print(flushed, health.queued, health.lost, health.last_error)
"""


@pytest.mark.parametrize("left", [0, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("want", ["passes", "stays"])
async def test_want_of_file_descriptors_harms_nobody_and_passes(
    connection: Any, database_url: str, tmp_path: Path, left: int, want: str
) -> None:
    app = App(Path(sys.executable), {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})
    program = app.start("-c", WITHOUT_FILES, str(left), want)
    output, errors = program.communicate(timeout=60)
    assert (program.returncode, "Traceback" in errors) == (0, False), errors
    during, *after = output.splitlines()
    assert during in ("False 5 0 True", "True 0 0 False"), errors
    assert left > 6 or during.startswith("False"), "nothing connects with so few"
    if want == "passes":
        assert after == ["True 0 0 "], errors
        assert await rows(connection) == 6


async def test_what_cannot_be_recorded_is_counted_and_holds_up_nothing(recorder: Recorder, connection: Any) -> None:
    recorder.record("no bytes")  # type: ignore[arg-type]  # a fault of ours
    recorder.book(spend("after it"))
    health = recorder.health()
    assert (health.lost, health.queued) == (1, 1)
    assert recorder.flush(20)
    assert await rows(connection) == 1


async def test_memory_is_posted_where_no_disk_takes_it(connection: Any, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "sdk").write_text("in the way")
    recorder = Recorder(Settings(database_url=Secret(database_url), data_dir=tmp_path))
    for number in range(2_500):
        recorder.book(spend(f"in memory-{number}"))
    recorder.book(spend("refused", call_type="\0"))
    assert recorder.flush(20)
    recorder.book(spend("a little later"))
    assert recorder.close(20)
    assert (recorder.health().posted, recorder.health().lost) == (2_502, 0)
    assert await rows(connection) >= 2_501
    assert await connection.fetchval("SELECT count(*) FROM bursar.instances WHERE ended_at IS NULL") == 0
    assert await connection.fetchval("SELECT count(*) FROM bursar.incidents") == 0


async def test_memory_goes_to_disk_when_it_is_well(connection: Any, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "sdk").write_text("in the way")
    recorder = lost_from_sight(tmp_path)
    for number in range(3):
        recorder.book(spend(str(number)))
    health = recorder.health()
    assert (health.queued, health.in_memory, health.lost) == (3, 3, 0)
    (tmp_path / "sdk").unlink()
    recorder.book(spend("3"))
    assert (recorder.health().queued, recorder.health().in_memory) == (4, 0)
    assert not recorder.close(0.5)
    assert await replay(database_url, for_database(tmp_path, NOWHERE)) == 1
    assert await rows(connection) == 4


def test_beyond_what_memory_may_hold_the_oldest_are_lost_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sdk").write_text("in the way")
    recorder = lost_from_sight(tmp_path)
    for number in range(10_050):
        recorder.book(spend(str(number)))
    health = recorder.health()
    assert (health.queued, health.in_memory, health.lost) == (10_000, 10_000, 50)
    assert "sdk.lost calls=32" in caplog.text
    assert not recorder.close(0.1)


FULL = """
import resource
from bursar.domain.secrets import Secret
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from tests.sdk.running import App
from tests.sdk.telling import spend

recorder = Recorder(Settings())
recorder.book(spend("on disk"))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for number in range(50):
    recorder.book(spend(f"in memory-{number}"))
"""


@pytest.mark.parametrize("database_is", ["there", "away"])
async def test_at_the_end_what_no_disk_takes_is_posted_or_counted_and_told(
    connection: Any, database_url: str, tmp_path: Path, database_is: str
) -> None:
    url = database_url if database_is == "there" else NOWHERE
    app = App(Path(sys.executable), {"DATABASE_URL": url, "BURSAR_DATA_DIR": str(tmp_path)})
    with app.start("-c", FULL) as program:
        _, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    if database_is == "there":
        assert await rows(connection) == 51
        assert "sdk.lost" not in errors
    else:
        assert "sdk.lost calls=50" in errors


def test_a_pooler_that_is_not_named_as_one_is(tmp_path: Path) -> None:
    """It answers as PgBouncer does to what it does not know."""
    told = b"SFATAL\0C08P01\0Munsupported startup parameter: plan_cache_mode\0\0"

    def refuse(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"E" + (len(told) + 4).to_bytes(4) + told)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=refuse, args=(server,), daemon=True).start()
        url = f"postgresql://u:s3cret@127.0.0.1:{server.getsockname()[1]}/d?sslmode=disable"
        recorder = Recorder(Settings(database_url=Secret(url), data_dir=tmp_path))
        recorder.book(spend("a"))
        assert not recorder.flush(2)
        assert "plan_cache_mode. Add pgbouncer=true" in recorder.health().last_error
        assert "does not answer" not in recorder.health().last_error
        recorder.close(1)


async def test_a_role_that_may_not_write_is_told_what_to_grant(
    connection: Any, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"weak_{uuid4().hex}"
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'weak'")
    url = re.sub("//[^@]*@", f"//{role}:weak@", database_url)
    recorder = Recorder(Settings(database_url=Secret(url), data_dir=tmp_path))
    recorder.book(spend("a"))
    for granted in ("", "SELECT", "SELECT, INSERT, UPDATE, DELETE"):
        for schema in ("bursar", "public"):
            if granted:
                await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
                await connection.execute(f"GRANT {granted} ON ALL TABLES IN SCHEMA {schema} TO {role}")
        if "INSERT" not in granted:
            assert not recorder.flush(3)
            assert "grant this one SELECT, INSERT" in recorder.health().last_error
            assert recorder.health().queued == 1
    assert recorder.flush(30), recorder.health()
    assert recorder.close(20)
    assert await rows(connection) == 1
    assert "Traceback" not in caplog.text
    await connection.execute(f"DROP OWNED BY {role}")
    await connection.execute(f"DROP ROLE {role}")


async def test_an_empty_database_is_made_ready(empty_database: str, tmp_path: Path) -> None:
    recorder = Recorder(Settings(database_url=Secret(empty_database), data_dir=tmp_path))
    recorder.book(spend("a"))
    assert recorder.flush(30)
    assert recorder.close()
    connection = await asyncpg.connect(empty_database)
    assert await rows(connection) == 1
    await connection.close()


async def test_a_role_that_may_make_no_tables_is_told_what_to_do(empty_database: str, tmp_path: Path) -> None:
    admin = await asyncpg.connect(empty_database)
    role = f"weak_{uuid4().hex}"
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'weak'")
    url = re.sub("//[^@]*@", f"//{role}:weak@", empty_database)
    recorder = Recorder(Settings(database_url=Secret(url), data_dir=tmp_path))
    recorder.book(spend("a"))
    assert not recorder.flush(3)
    assert "bursar db migrate" in recorder.health().last_error
    assert recorder.health().queued == 1
    assert not recorder.close(5)
    await migrate(admin, lambda _: None)
    assert await replay(empty_database, for_database(tmp_path, url)) == 1
    assert await rows(admin) == 1
    await admin.execute(f"DROP ROLE {role}")
    await admin.close()


async def test_the_database_of_a_proxy_is_left_alone(empty_database: str, tmp_path: Path) -> None:
    admin = await asyncpg.connect(empty_database)
    await admin.execute('CREATE TABLE "LiteLLM_VerificationToken" (token text)')
    recorder = Recorder(Settings(database_url=Secret(empty_database), data_dir=tmp_path))
    recorder.book(spend("a"))
    assert not recorder.flush(2)
    assert "bursar db adopt" in recorder.health().last_error
    recorder.close(5)
    await admin.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_forked_processes_have_journals_of_their_own(recorder: Recorder, connection: Any) -> None:
    recorder.book(spend("parent"))
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            recorder.book(spend(f"child-{number}"))
            os._exit(0)  # as multiprocessing ends its children: nothing is flushed
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    recorder.book(spend("parent, later"))
    assert recorder.close(20), "which looks for what its children left"
    assert await rows(connection) == 5


@pytest.mark.parametrize("ask", [Recorder.flush, Recorder.close])
async def test_any_time_may_be_given(ask: Callable[[Recorder, float], bool], recorder: Recorder) -> None:
    recorder.book(spend("a"))
    assert ask(recorder, float("inf"))
    recorder.book(spend("b"))
    assert not ask(recorder, -1)


async def test_after_the_end_recording_begins_anew(recorder: Recorder, connection: Any) -> None:
    recorder.book(spend("a"))
    assert recorder.close(20)
    recorder.book(spend("b"))
    assert recorder.close(20)
    assert await rows(connection) == 2
    assert await connection.fetchval("SELECT count(*) FROM bursar.instances WHERE ended_at IS NULL") == 0


async def test_it_counts_in_the_budgets_of_the_gateway_and_may_pass_them(
    recorder: Recorder, connection: Any, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for kind, scope in (("user", "alice"), ("team", "blue"), ("end_user", "bob"), ("tag", "beans")):
        await connection.execute(
            """INSERT INTO bursar.windows (window_id, scope_kind, scope_id, limit_nano_usd, leased_nano_usd,
                spent_nano_usd) VALUES (gen_random_uuid(), $1, $2, 1500000, 0, 0)""",
            kind,
            scope,
        )
    for number in range(2):
        told = spend(str(number), team_id="blue", end_user="bob", request_tags=["beans"], outcome=charge(1_000_000))
        recorder.book(told)
        assert recorder.flush(20)
    windows = await connection.fetch("SELECT scope_kind, spent_nano_usd, forced_nano_usd FROM bursar.windows")
    assert {tuple(row) for row in windows} == {
        (kind, 2_000_000, 2_000_000) for kind in ("user", "team", "end_user", "tag")
    }
    assert (await audit(database, lambda _done, _of, _name: None)).closes
    passed = [record.getMessage() for record in caplog.records if "budget.limit_passed" in record.getMessage()]
    assert len(passed) == 4
