"""The embedded server: what it finds in its directory, and what it leaves there. Its life and death: tests/process."""

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from bursar.domain.errors import StoreError
from bursar.store.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """One data directory for the module, with its database in it: making one takes a second."""
    with empty_place() as directory:
        server = EmbeddedPostgres(directory)
        server.start(lambda _: None)
        server.stop()
        yield directory


@contextmanager
def empty_place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="bursar e'té-"))  # as people name directories
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def server(place: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(place)
    yield server
    server.stop()


def sockets_of(server: EmbeddedPostgres) -> Path:
    return Path(parse_qs(urlsplit(server.url()).query)["host"][0])


async def ask(server: EmbeddedPostgres, question: str) -> object:
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_made_once_and_reached_by_nobody_else() -> None:
    with empty_place() as place:
        server = EmbeddedPostgres(place)
        try:
            await check_a_first_start(place, server)
        finally:
            server.stop()


async def check_a_first_start(place: Path, server: EmbeddedPostgres) -> None:
    said: list[str] = []
    server.start(said.append)
    assert [line.partition(":")[0] for line in said] == ["First start"]
    assert await ask(server, "SHOW listen_addresses") == ""
    assert await ask(server, "SHOW server_encoding") == "UTF8"
    assert await ask(server, "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'bursar'")
    assert stat.S_IMODE((place / "keys" / "postgres_password").stat().st_mode) == 0o600
    assert stat.S_IMODE((place / "pg").stat().st_mode) == 0o700
    assert stat.S_IMODE(sockets_of(server).stat().st_mode) == 0o700
    assert len(str(sockets_of(server))) < 90
    server.stop()
    assert not sockets_of(server).exists()
    assert not server.running
    server.start(said.append)
    assert len(said) == 1


async def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    server.start(lambda _: None)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url("postgres"), password="guessed")


async def test_its_log_has_no_values_of_rows(place: Path, server: EmbeddedPostgres) -> None:
    server.start(lambda _: None)
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute("CREATE TEMP TABLE t (x text PRIMARY KEY)")
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await connection.execute("INSERT INTO t SELECT $1 FROM generate_series(1, 2)", "a-canary")
    await connection.close()
    assert caught.value.detail == "Key (x)=(a-canary) already exists."
    log = (place / "pg.log").read_text()
    assert "duplicate key value" in log
    assert "a-canary" not in log


async def test_a_lost_password_is_made_anew(place: Path, server: EmbeddedPostgres) -> None:
    password = place / "keys" / "postgres_password"
    before = password.read_text()
    password.unlink()
    with pytest.raises(StoreError, match="postgres_password is missing; `bursar serve` makes it anew"):
        server.url()
    said: list[str] = []
    server.start(said.append)
    assert said == [f"{password} is missing; giving the database a new password …"]
    assert await ask(server, "SELECT 1") == 1
    assert password.read_text() != before
    assert stat.S_IMODE(password.stat().st_mode) == 0o600


async def test_what_a_dead_server_left_does_not_stop_the_next(place: Path, server: EmbeddedPostgres) -> None:
    """A pid file with the number of somebody else who lives, and a socket."""
    server.start(lambda _: None)
    sockets = sockets_of(server)
    server.stop()
    sockets.mkdir(mode=0o700)
    (place / "pg" / "postmaster.pid").write_text(f"{os.getpid()}\n{place / 'pg'}\n0\n5432\n{sockets}\n\n\n")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(sockets / ".s.PGSQL.5432"))
        server.start(lambda _: None)
    assert await ask(server, "SELECT 1") == 1


async def test_a_server_that_outlived_its_parent_is_ended(place: Path, server: EmbeddedPostgres) -> None:
    server.start(lambda _: None)
    pid = await ask(server, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    following = EmbeddedPostgres(place)
    following.start(lambda _: None)
    try:
        assert not server.running
        assert await ask(following, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'") != pid
    finally:
        following.stop()


def test_another_major_version_is_refused_with_the_way_to_move(place: Path, server: EmbeddedPostgres) -> None:
    version = place / "pg" / "PG_VERSION"
    before = version.read_text()
    version.write_text("9\n")
    try:
        with pytest.raises(StoreError, match=r"was made by PostgreSQL 9, which is not on this machine .*pg_dump"):
            server.start(lambda _: None)
    finally:
        version.write_text(before)


def test_a_server_that_does_not_start_says_why(place: Path, server: EmbeddedPostgres) -> None:
    settings = place / "pg" / "postgresql.conf"
    before = settings.read_text()
    settings.write_text("no_such_setting = 1\n")
    try:
        with pytest.raises(StoreError, match=r"(?s)did not start\. .*pg\.log ends:.*no_such_setting"):
            server.start(lambda _: None)
    finally:
        settings.write_text(before)


def test_a_socket_directory_of_somebody_else_is_not_used(place: Path, server: EmbeddedPostgres) -> None:
    server.start(lambda _: None)
    sockets = sockets_of(server)
    server.stop()
    sockets.mkdir()
    sockets.chmod(0o777)
    try:
        with pytest.raises(StoreError, match="exists and is not ours; remove it"):
            server.start(lambda _: None)
    finally:
        sockets.rmdir()


def test_a_half_made_directory_is_made_anew() -> None:
    with tempfile.TemporaryDirectory(prefix="bursar-half-") as name:
        data = Path(name)
        data.chmod(0o711)
        (data / "pg.new").mkdir()
        (data / "pg.new" / "half").touch()
        server = EmbeddedPostgres(data)
        try:
            server.start(lambda _: None)
            assert server.running
        finally:
            server.stop()
        assert not (data / "pg.new").exists()
