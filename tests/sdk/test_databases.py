"""Apps for several databases that share a data directory: no database gets what was meant for another."""

import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bursar.config.database_url import parse_database_url
from bursar.domain.errors import ConfigError
from bursar.domain.secrets import Secret
from bursar.main import find_books
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings, journals_for, private_directory
from bursar.store.migrate import migrate
from tests.sdk.running import App
from tests.sdk.telling import spend

BOOK_AND_DIE = """
import os, signal, sys
from bursar.domain.secrets import Secret
from bursar.main import find_books
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from tests.sdk.telling import spend

recorder = Recorder(Settings())
recorder.book(spend(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
async def other(empty_database: str) -> Any:
    """A connection to another database, with our tables."""
    connection = await asyncpg.connect(empty_database)
    await migrate(connection, lambda _: None)
    yield connection
    await connection.close()


async def calls_in(connection: Any) -> set[str]:
    return {row[0] for row in await connection.fetch('SELECT litellm_call_id FROM "LiteLLM_SpendLogs"')}


def book(url: str | None, data_dir: Path, *calls: str) -> None:
    """An app that books them, and ends in order."""
    app = Recorder(Settings(database_url=None if url is None else Secret(url), data_dir=data_dir))
    for call in calls:
        app.book(spend(call))
    assert app.close(20) is (url is not None)


async def test_what_is_put_by_for_one_is_not_forgotten_by_another(
    connection: Any, other: Any, database_url: str, empty_database: str, tmp_path: Path
) -> None:
    book(database_url, tmp_path, "one", "two")
    book(empty_database, tmp_path, "three")
    book(database_url, tmp_path, "four")
    assert await calls_in(connection) == {"one", "two", "four"}
    assert await calls_in(other) == {"three"}


def killed_app(call: str, data_dir: Path, url: str | None) -> None:
    environ = {"BURSAR_DATA_DIR": str(data_dir)} | ({} if url is None else {"DATABASE_URL": url})
    with App(Path(sys.executable), environ).start("-c", BOOK_AND_DIE, call) as program:
        _, errors = program.communicate(timeout=60)
    assert program.returncode == -signal.SIGKILL, errors


async def test_what_the_killed_leave_is_posted_where_it_was_meant_for(
    connection: Any, other: Any, database_url: str, empty_database: str, tmp_path: Path
) -> None:
    killed_app("for one", tmp_path, database_url)
    killed_app("for the other", tmp_path, empty_database)
    killed_app("for none", tmp_path, None)
    book(database_url, tmp_path, "the next")
    assert await calls_in(connection) == {"for one", "the next"}

    shell = App(Path(sys.executable), {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})
    with shell.start("-c", "from bursar.cli import main; main()", "ledger", "replay") as replay:
        output, errors = replay.communicate(timeout=60)
    assert replay.returncode == 0, errors
    assert "1 of 1 journals" in output
    assert f"for another database, in {journals_for(tmp_path, parse_database_url(Secret(empty_database)))}" in errors
    assert await calls_in(connection) == {"for one", "the next", "for none"}
    assert await calls_in(other) == set()
    book(empty_database, tmp_path, "the next of the other")
    assert await calls_in(other) == {"for the other", "the next of the other"}


async def test_a_worker_posts_what_is_for_its_database_and_what_is_for_none(
    connection: Any, other: Any, database_url: str, empty_database: str, tmp_path: Path
) -> None:
    killed_app("for one", tmp_path, database_url)
    killed_app("for the other", tmp_path, empty_database)
    book(None, tmp_path, "for none")
    shell = App(Path(sys.executable), {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})
    with shell.start("-c", "from bursar.cli import main; main()", "ledger", "worker") as worker:
        assert worker.stdout is not None
        assert "Posting what apps leave in" in worker.stdout.readline()
        worker.send_signal(signal.SIGTERM)
        _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors
    assert await calls_in(connection) == {"for one", "for none"}
    assert await calls_in(other) == set()


def test_commands_look_where_apps_with_the_same_url_put_theirs(tmp_path: Path) -> None:
    url = "postgresql://u:s3cret@db.example:5433/books?schema=s&pgbouncer=false&sslmode=require"
    app = Settings(database_url=Secret(url), data_dir=tmp_path)
    books = find_books({"DATABASE_URL": url}, tmp_path)
    assert journals_for(tmp_path, books.target) == app.journals(app.database())


def test_a_directory_is_named_after_the_database_and_shows_no_password(tmp_path: Path) -> None:
    def place(url: str) -> Path:
        return journals_for(tmp_path, parse_database_url(Secret(url)))

    here = place("postgresql://u:s3cret@db.example:5433/books")
    assert here.parent == tmp_path / "sdk"
    assert here.name.startswith("db.example_5433_books-")
    assert here == place("postgresql://v:other@DB.example:5433/books?schema=public&connection_limit=3")
    others = [
        "@db.example/books",
        "@db.example:5433/book",
        "@db2.example:5433/books",
        "@db.example:5433/books?schema=s",
    ]
    assert len({here, *(place(f"postgresql://u:s3cret@{other}") for other in others)}) == 5
    long = place(f"postgresql://u@{'h' * 200}/..%C3%A4%20{'d' * 200}")
    assert len(long.name) < 100
    assert long.name.isascii()
    assert len(place("postgresql://u@/d?host=/tmp/socket/../x").relative_to(tmp_path / "sdk").parts) == 1


async def test_without_a_home_a_private_directory_holds_the_journal(
    connection: Any, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homeless(monkeypatch, tmp_path)
    recorder = Recorder(Settings(database_url=Secret(database_url)))
    recorder.book(spend("a"))
    private = tmp_path / f"bursar-{os.geteuid()}"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert recorder.health().in_memory == 0
    assert recorder.close(20)
    assert await calls_in(connection) == {"a"}


async def test_a_directory_that_others_may_use_is_refused_and_memory_used(
    connection: Any, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homeless(monkeypatch, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    private = tmp_path / f"bursar-{os.geteuid()}"
    private.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="not private"):
        private_directory()
    private.unlink()
    private.mkdir()
    private.chmod(0o755)
    recorder = Recorder(Settings(database_url=Secret(database_url)))
    recorder.book(spend("a"))
    assert "not private" in recorder.health().last_error
    assert recorder.close(20)
    assert await calls_in(connection) == {"a"}
    assert not list(private.iterdir())


def homeless(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """A user of whom the system knows nothing, as in a container with any number for a user."""

    def unknown(_uid: int) -> None:
        raise KeyError

    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
