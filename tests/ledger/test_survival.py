"""A database that is stopped, killed, frozen, read-only, full, slow or cut off: all is posted in the end, once."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from bench.debian import find_program
from bursar.domain.accounting import encode_entries
from bursar.domain.errors import StoreUnavailable
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.journal import Journal
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.ports.ledger import Batch, JournalPosition
from bursar.store.database import Database, DatabaseOptions
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.ledger import PostgresLedger
from bursar.store.migrate import migrate
from tests.database_server import temporary_server
from tests.ledger.entries import AT_US, call_entry, open_entry, settle_entry
from tests.ledger.journals import mounted
from tests.process.process_table import running, works_in

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """One that may be maltreated."""
    with temporary_server() as server:
        yield server


@pytest.fixture
async def url(server: EmbeddedPostgres) -> str:
    """Of a fresh database of ours in it."""
    if not server.running:
        server.start(lambda _: None)
    admin = await asyncpg.connect(server.url("postgres"))
    await admin.execute("DROP DATABASE IF EXISTS books WITH (FORCE)")
    await admin.execute("CREATE DATABASE books")
    await admin.close()
    connection = await asyncpg.connect(server.url("books"))
    await migrate(connection, lambda _: None)
    await connection.close()
    return server.url("books")


class Desk:
    """A journal that is written and posted at the same time."""

    def __init__(self, root: Path, url: str, **options: Any) -> None:
        self.journal = Journal(root, JournalId(uuid7(AT_US // 1000, 1)))
        self.database = Database(DatabaseOptions({"dsn": url}, connect_timeout_s=0.5, **options))
        self._reader = JournalReader(self.journal.directory, self.journal.id)
        self.poster = Poster(PostgresLedger(self.database), self._reader, journal_id=self.journal.id, host="test")
        self.recorded = 0

    def record(self, calls: int = 1) -> None:
        """Some calls, of a nano-dollar each."""
        for _ in range(calls):
            self.recorded += 1
            self.journal.append(encode_entries([open_entry(self.recorded)]))
            self.journal.append(encode_entries([settle_entry(self.recorded, 1), call_entry(self.recorded)]))
        self.poster.notify()

    async def posted(self) -> None:
        """Wait until all that is recorded is in the database, as far as the poster knows."""
        async with asyncio.timeout(PATIENCE_S):
            while self.poster.posted_sequence < self.journal.last_sequence:
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def posting(self) -> AsyncIterator[None]:
        """The poster at work."""
        task = asyncio.ensure_future(self.poster.run())
        try:
            yield
            self.poster.stop()
            async with asyncio.timeout(PATIENCE_S):
                assert await task is True
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.database.close()
            self._reader.close()
            self.journal.release()

    async def check(self, url: str) -> None:
        """Each call has its entries, its row and its part of the totals, once."""
        connection = await asyncpg.connect(url)
        try:
            entries = "SELECT count(*) FROM bursar.entries WHERE kind = $1"
            for kind in ("settle", "call"):
                assert await connection.fetchval(entries, kind) == self.recorded, kind
            rows = 'SELECT count(*), round(sum(spend) * 1e9) FROM "LiteLLM_SpendLogs"'
            assert tuple(await connection.fetchrow(rows)) == (self.recorded, self.recorded)
            for table in ("DailyUserSpend", "UserTable", "TagTable"):
                total = f'SELECT round(sum(spend) * 1e9) FROM "LiteLLM_{table}"'
                assert await connection.fetchval(total) == self.recorded, table
            assert await connection.fetchval('SELECT sum(api_requests) FROM "LiteLLM_DailyTeamSpend"') == self.recorded
            assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0
        finally:
            await connection.close()


async def noticed(caplog: pytest.LogCaptureFixture, event: str = "ledger.store_away") -> None:
    """Wait until the log has said so."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(record.getMessage().startswith(event) for record in caplog.records):
            await asyncio.sleep(0.01)


def signal_server(server: EmbeddedPostgres, number: signal.Signals) -> None:
    """To every process of the server."""
    for process in running():
        if works_in(process.pid, server._data.parent):
            process.signal(number)


async def test_stopped_and_started(
    server: EmbeddedPostgres, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path, url)
    async with desk.posting():
        desk.record(5)
        await desk.posted()
        server.stop()
        desk.record(5)
        await noticed(caplog)
        server.start(lambda _: None)
        await desk.posted()
        desk.record(5)
    await desk.check(url)


async def test_a_backend_that_is_killed_takes_all_others_along(
    server: EmbeddedPostgres, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL then recovers, and accepts nobody meanwhile."""
    desk = Desk(tmp_path, url)
    async with desk.posting():
        desk.record(200)
        await desk.posted()
        async with desk.database.connection() as connection:
            pid = connection.get_server_pid()
        desk.record(200)
        os.kill(pid, signal.SIGKILL)
        await noticed(caplog)
        await desk.posted()
    await desk.check(url)


async def test_frozen_for_longer_than_every_timeout(
    server: EmbeddedPostgres, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path, url, command_timeout_s=0.5)
    async with desk.posting():
        desk.record(50)
        await desk.posted()
        signal_server(server, signal.SIGSTOP)
        try:
            desk.record(50)
            await noticed(caplog)
        finally:
            signal_server(server, signal.SIGCONT)
        await desk.posted()
    await desk.check(url)


async def test_read_only_for_a_while(
    server: EmbeddedPostgres, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a fail-over, until somebody promotes the standby: connections made meanwhile are of no use later."""
    desk = Desk(tmp_path, url)
    admin = await asyncpg.connect(server.url("postgres"))
    async with desk.posting():
        desk.record(5)
        await desk.posted()
        async with desk.database.connection() as connection:
            before = connection.get_server_pid()
        await admin.execute("ALTER DATABASE books SET default_transaction_read_only = on")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'books'")
        desk.record(5)
        await noticed(caplog)
        assert "read-only" in caplog.text
        await admin.execute("ALTER DATABASE books RESET default_transaction_read_only")
        await desk.posted()
        async with desk.database.connection() as connection:
            assert connection.get_server_pid() != before
    await admin.close()
    await desk.check(url)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A directory of the database server's on a file system that is soon full."""
    with tempfile.TemporaryDirectory(prefix="bursar-test-") as directory:
        Path(directory).chmod(0o711)
        with mounted(Path(directory) / "space", "-o", "size=4m,mode=777") as place:
            (place / "table").mkdir()
            (place / "table").chmod(0o777)
            yield place


async def test_a_full_disk(
    server: EmbeddedPostgres, url: str, tmp_path: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    owner = server._data.stat()
    os.chown(small_disk / "table", owner.st_uid, owner.st_gid)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk / 'table'}'")
    await connection.execute("ALTER TABLE bursar.entries SET TABLESPACE small")
    desk = Desk(tmp_path, url)
    async with desk.posting():
        while not caplog.records:
            if desk.poster.posted_sequence == desk.journal.last_sequence:  # what waits must fit, once there is room
                desk.record(200)
            await asyncio.sleep(0.01)
        assert "No space left" in caplog.text or "could not extend" in caplog.text
        ballast.unlink()
        await desk.posted()
    await desk.check(url)
    await connection.execute("ALTER TABLE bursar.entries SET TABLESPACE pg_default")
    await connection.execute("DROP TABLESPACE small")
    await connection.close()


async def test_too_slow_for_a_whole_batch(server: EmbeddedPostgres, url: str, tmp_path: Path) -> None:
    """What never ends in time is halved until it does: at ten milliseconds an entry and 300 for a statement."""
    admin = await asyncpg.connect(url)
    await admin.execute(
        """CREATE FUNCTION bursar.wait() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(0.005); RETURN new; END'""",
    )
    await admin.execute(
        "CREATE TRIGGER wait BEFORE INSERT ON bursar.entries FOR EACH ROW EXECUTE FUNCTION bursar.wait()"
    )
    await admin.execute("ALTER DATABASE books SET statement_timeout = '300ms'")
    desk = Desk(tmp_path, url)
    desk.record(100)
    async with desk.posting():
        await desk.posted()
    await admin.execute("ALTER DATABASE books RESET statement_timeout")
    await admin.close()
    await desk.check(url)


class Cutter:
    """A proxy on the database's socket that cuts a connection when it sees certain words, before or after passing them
    on; before an answer is passed back in any case."""

    def __init__(self, url: str, directory: Path) -> None:
        self._target = url.split("host=")[1].replace("%2F", "/") + "/.s.PGSQL.5432"
        self._directory = directory
        self.url = f"{url.split('host=')[0]}host={directory}"
        self.cuts = 0
        self._words = b""
        self._pass_on = False
        self._tasks: set[asyncio.Task[None]] = set()

    def arm(self, words: bytes, *, pass_on: bool) -> None:
        """Cut at the next `words` that a client sends; `pass_on`: after the server has dealt with them."""
        self._words, self._pass_on = words, pass_on

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, self._directory / ".s.PGSQL.5432")
        async with server:
            yield
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self._target)

        async def back() -> None:
            while data := await up_reader.read(65536):
                writer.write(data)
            writer.close()

        answers = asyncio.ensure_future(back())
        own = asyncio.current_task()
        assert own is not None
        self._tasks |= {answers, own}
        while data := await reader.read(65536):
            if self._words and self._words in data:
                self._words = b""
                self.cuts += 1
                answers.cancel()
                await asyncio.wait({answers})
                if self._pass_on:
                    up_writer.write(data)
                    await up_reader.read(65536)
                break
            up_writer.write(data)
        for each in (up_writer, writer):
            each.close()


@pytest.mark.parametrize("pass_on", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("words", [b"BEGIN", b"settle", b"requests", b"COMMIT"])
async def test_cut_at_every_step(
    server: EmbeddedPostgres, url: str, tmp_path: Path, short: Path, words: bytes, pass_on: bool
) -> None:
    """Also when the commit has happened and nobody was told."""
    cutter = Cutter(url, short)
    desk = Desk(tmp_path, cutter.url)
    async with cutter.running(), desk.posting():
        desk.record(3)
        await desk.posted()
        cutter.arm(words, pass_on=pass_on)
        desk.record(3)
        await desk.posted()
    assert cutter.cuts == 1
    await desk.check(url)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="b-") as directory:
        yield Path(directory)


@pytest.fixture
async def pgbouncer(server: EmbeddedPostgres, url: str, short: Path) -> AsyncIterator[str]:
    """URL of the database behind PgBouncer in transaction mode, with two connections for all clients."""
    program = find_program("pgbouncer", "pgbouncer")
    host, password = url.split("host=")[1].replace("%2F", "/"), url.split(":")[2].split("@")[0]
    (short / "users.txt").write_text(f'"bursar" "{password}"\n')
    (short / "pgbouncer.ini").write_text(
        f"[databases]\nbooks = host={host} dbname=books user=bursar password={password}\n"
        f"[pgbouncer]\nlisten_port = 6432\nlisten_addr =\nunix_socket_dir = {short}\nauth_type = plain\n"
        f"auth_file = {short}/users.txt\npool_mode = transaction\ndefault_pool_size = 2\n"
        "server_reset_query_always = 1\nserver_reset_query = DISCARD ALL\n"
    )
    owner = server._data.stat()
    for path in (short, *short.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    as_owner: dict[str, Any] = {} if os.geteuid() else {"user": owner.st_uid, "group": owner.st_gid}
    process = subprocess.Popen([program, "-q", short / "pgbouncer.ini"], stderr=subprocess.DEVNULL, **as_owner)
    async with asyncio.timeout(PATIENCE_S):
        while not (short / ".s.PGSQL.6432").exists():
            assert process.poll() is None
            await asyncio.sleep(0.01)
    yield f"postgresql://bursar:{password}@/books?host={short}&port=6432"
    process.terminate()
    process.wait()


async def test_behind_pgbouncer(url: str, pgbouncer: str, tmp_path: Path) -> None:
    """Several posters that share two connections, each transaction on any of them."""
    await _post_at_once(tmp_path, pgbouncer, url)


async def test_without_session_state(url: str, tmp_path: Path) -> None:
    """What a pooler in transaction mode takes away: no statement stays prepared, no setting is sent."""
    await _post_at_once(tmp_path, url, url)


async def _post_at_once(root: Path, through: str, url: str) -> None:
    options = DatabaseOptions({"dsn": through}, behind_pgbouncer=True)
    recorded = 0
    posters: list[Callable[[], Any]] = []
    databases = [Database(options) for _ in range(4)]
    for number, database in enumerate(databases, 1):
        journal = Journal(root / f"j{number}", JournalId(uuid7(AT_US // 1000, number)))
        for call in range(number * 1000, number * 1000 + 100):
            journal.append(encode_entries([settle_entry(call, 1), call_entry(call)]))
            recorded += 1
        reader = JournalReader(journal.directory, journal.id)
        poster = Poster(PostgresLedger(database), reader, journal_id=journal.id, host="test")
        posters.append(lambda poster=poster: poster.run(follow=False))  # type: ignore[misc]
        journal.release()
    assert all(await asyncio.gather(*[run() for run in posters]))
    for database in databases:
        await database.close()
    connection = await asyncpg.connect(url)
    total = 'SELECT sum(api_requests), round(sum(spend) * 1e9) FROM "LiteLLM_DailyUserSpend"'
    assert tuple(await connection.fetchrow(total)) == (recorded, recorded)
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == recorded
    await connection.close()


class Sink:
    """A store that takes everything, keeps nothing, and is told how much it is given at a time."""

    def __init__(self) -> None:
        self.largest = 0
        self.batches = 0

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        return JournalPosition(sequence=0, epoch=1)

    async def books(self) -> str:
        return ""

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        return epoch + 1

    def expect(self, entries: bytes) -> None:
        pass

    async def post(self, batch: Batch) -> int:
        self.batches += 1
        self.largest = max(self.largest, len(batch.entries))
        return 0


async def test_a_backlog_waits_on_disk(tmp_path: Path) -> None:
    """At most a batch of it is in memory, and full batches follow one another without a pause."""
    journal = Journal(tmp_path, JournalId(uuid7(AT_US // 1000, 1)))
    size = 0
    for number in range(20_000):
        payload = encode_entries([settle_entry(number, 1), call_entry(number)])
        journal.append(payload)
        size += len(payload)
    sink = Sink()
    poster = Poster(sink, JournalReader(journal.directory, journal.id), journal_id=journal.id, host="test")
    assert await poster.run(follow=False)
    assert poster.posted_sequence == journal.last_sequence
    assert size > 3 * (4 << 20)
    assert sink.largest <= 4 << 20
    assert sink.batches <= size // (4 << 20) + 2
    journal.release()


class Held(Sink):
    """A store whose first answers are given by the test; then it takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.expected = asyncio.Event()
        self.taken: list[Batch] = []

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        return JournalPosition(sequence=self.taken[-1].upto if self.taken else 0, epoch=1)

    def expect(self, entries: bytes) -> None:
        self.expected.set()

    async def post(self, batch: Batch) -> int:
        await self.first
        self.taken.append(batch)
        return 0


class Stumbling(JournalReader):
    """One whose disk fails once, when it goes on in a next segment."""

    failed = False

    def read_on(self, max_bytes: int) -> list[memoryview]:
        if not self.failed:
            self.failed = True
            raise OSError("the disk")
        return super().read_on(max_bytes)


async def test_what_could_not_be_read_ahead_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalId(uuid7(AT_US // 1000, 1)), segment_bytes=5 << 20)
    for number in range(8_000):
        journal.append(encode_entries([settle_entry(number, 1), call_entry(number)]))
    store, reader = Held(), Stumbling(journal.directory, journal.id)
    poster = Poster(store, reader, journal_id=journal.id, host="test")
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        running = group.create_task(poster.run(follow=False))
        while not reader.failed:
            await asyncio.sleep(0.001)
        store.first.set_result(None)
        assert await running
    assert [batch.missing for batch in store.taken] == [0] * len(store.taken)
    attempts = [entry["attempt_id"] for batch in store.taken for entry in msgspec.json.decode(batch.entries)]
    assert len(attempts) == len(set(attempts)) == 16_000
    journal.release()


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_read_ahead_waits_for_its_turn(tmp_path: Path, fails: bool) -> None:
    """It counts as posted no sooner than it is; and it is read again where the batch before it has failed."""
    journal = Journal(tmp_path, JournalId(uuid7(AT_US // 1000, 1)), segment_bytes=5 << 20)
    for number in range(12_000):
        journal.append(encode_entries([settle_entry(number, 1), call_entry(number)]))
    store, reader = Held(), JournalReader(journal.directory, journal.id)
    poster = Poster(store, reader, journal_id=journal.id, host="test")
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        running = group.create_task(poster.run(follow=False))
        await store.expected.wait()
        assert (poster.segment, reader.segment, poster.posted_sequence) == (1, 2, 0)
        if fails:
            store.first.set_exception(StoreUnavailable("away"))
            while not poster.away:
                await asyncio.sleep(0.001)
            store.first = asyncio.get_running_loop().create_future()
        store.first.set_result(None)
        assert await running
    assert [batch.after for batch in store.taken] == [0, *(batch.upto for batch in store.taken[:-1])]
    assert poster.posted_sequence == store.taken[-1].upto == journal.last_sequence
    attempts = [entry["attempt_id"] for batch in store.taken for entry in msgspec.json.decode(batch.entries)]
    assert len(attempts) == len(set(attempts)) == 24_000
    assert poster.segment == 3
    journal.release()
