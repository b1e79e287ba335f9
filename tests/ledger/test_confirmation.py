"""What a promise waits for under `durability: power` and `durability: database`."""

import asyncio
import errno
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bursar.domain.accounting import encode_entries
from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId
from bursar.ledger import poster as poster_module
from bursar.ledger.confirmation import Posted, Synced
from bursar.ledger.group_commit import GroupCommit
from bursar.ledger.journal import Journal
from bursar.ledger.places import segment_numbers
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.ports.ledger import Batch, JournalPosition, LedgerStore
from bursar.store.database import Database, DatabaseOptions
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.ledger import PostgresLedger
from tests.ledger.entries import ids, open_entry, settle_entry
from tests.ledger.journals import ID, fill, mounted, read_all
from tests.patience import PATIENCE_S

# Power


class Disk:
    """Syncs that begin when the test says so; and then are real, or fail."""

    def __init__(self) -> None:
        self.syncs = 0
        self.failure: OSError | None = None
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def sync(self, fd: int) -> None:
        self.syncs += 1
        self.begun.set()
        assert self.go_on.wait(10)
        if self.failure is not None:
            raise self.failure
        os.fdatasync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr("bursar.ledger.journal._sync_file", disk.sync)
    yield disk
    disk.go_on.set()


@asynccontextmanager
async def synced(root: Path) -> AsyncIterator[tuple[GroupCommit, Journal]]:
    journal = Journal(root, ID, synced=True)
    commit = GroupCommit(journal, appended=lambda: None, confirmation=Synced(journal))
    yield commit, journal
    commit.close()
    journal.release()


async def a_moment() -> None:
    """What can go on without the disk has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_promise_waits_for_the_disk_and_nothing_else_does(disk: Disk, tmp_path: Path) -> None:
    async with synced(tmp_path) as (commit, journal):
        promise = commit.promise(b"promise")
        assert read_all(journal.directory) == [b"promise"]
        await a_moment()
        assert disk.begun.wait(10)
        assert not promise.done()
        others = [commit.promise(b"%d" % number) for number in range(100)]
        commit.end(b"an end")
        written = commit.written()
        await a_moment()
        assert not any(waiting.done() for waiting in (promise, *others, written))
        assert len(read_all(journal.directory)) == 102
        disk.go_on.set()
        await asyncio.gather(promise, *others, written)
        assert disk.syncs == 2, "one for the first, one for all that came meanwhile"
        await commit.promise(b"later")
        assert disk.syncs == 3


async def test_nothing_to_wait_for_is_not_waited_for(disk: Disk, tmp_path: Path) -> None:
    async with synced(tmp_path) as (commit, _):
        await commit.written()
        assert disk.syncs == 0
        disk.go_on.set()


async def test_what_the_disk_does_not_take_is_not_done(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is on record all the same, and says so; an end is written once more, to a segment that is well."""
    disk.failure = OSError(errno.EIO, "Input/output error")
    disk.go_on.set()
    async with synced(tmp_path) as (commit, journal):
        promise = commit.promise(b"promise")
        commit.end(b"an end")
        with pytest.raises(JournalError, match=r"cannot sync the journal .*Input/output error"):
            await promise
        assert promise.recorded
        await commit.written()
        disk.failure = None
        async with asyncio.timeout(PATIENCE_S):
            while read_all(journal.directory).count(b"an end") < 2:
                await asyncio.sleep(0.01)
        assert read_all(journal.directory)[:2] == [b"promise", b"an end"]
        await commit.written()
        await commit.promise(b"another")
        assert len(segment_numbers(journal.directory)) > 1
    assert "journal.not_confirmed" in caplog.text


async def test_who_stops_waiting_has_it_on_record(disk: Disk, tmp_path: Path) -> None:
    async with synced(tmp_path) as (commit, journal):
        impatient, patient = commit.promise(b"impatient"), commit.promise(b"patient")
        await a_moment()
        impatient.cancel()
        assert impatient.recorded
        disk.go_on.set()
        await patient
        assert read_all(journal.directory) == [b"impatient", b"patient"]


async def test_a_disk_that_really_fails(tmp_path: Path) -> None:
    """A file system on a device that is itself on a full disk: it takes what is written, and fails at the sync."""
    with mounted(tmp_path / "beneath", "-o", "size=12m") as beneath:
        image = beneath / "image"
        with image.open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-E", "nodiscard", image], check=True)
        with loop_mounted(image, tmp_path / "disk") as disk:
            async with synced(disk) as (commit, journal):
                await commit.promise(b"well")
                fill(beneath)
                promises = [commit.promise(b"x" * 1_000_000) for _ in range(16)]
                outcomes = await asyncio.gather(*promises, return_exceptions=True)
                refused = [outcome for outcome in outcomes if outcome is not None]
                assert refused
                assert all(isinstance(outcome, JournalError) for outcome in refused)
                assert all(promise.recorded for promise in promises)
                assert read_all(journal.directory, max_bytes=1 << 20)[0] == b"well"


@contextmanager
def loop_mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no loop devices here: {done.stderr}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


# Database


@asynccontextmanager
async def posted(
    store: LedgerStore, root: Path, *, timeout_s: float = 10.0
) -> AsyncIterator[tuple[GroupCommit, Journal]]:
    """A journal whose promises wait for `store`; its poster runs."""
    journal = Journal(root, ID)
    reader = JournalReader(journal.directory, ID)
    poster = Poster(store, reader, journal_id=ID, host="test")
    commit = GroupCommit(journal, appended=poster.notify, confirmation=Posted(poster, timeout_s=timeout_s))
    posting = asyncio.create_task(poster.run())
    yield commit, journal
    poster.stop()
    posting.cancel()
    await asyncio.wait([posting])
    commit.close()
    reader.close()
    journal.release()


async def attempts(database: Database) -> set[str]:
    async with database.connection() as connection:
        return {row["id"] for row in await connection.fetch("SELECT attempt_id::text AS id FROM bursar.entries")}


@pytest.fixture
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poster waits for company for an hour, unless somebody waits for it."""
    monkeypatch.setattr(poster_module, "_GATHER_S", 3600.0)
    monkeypatch.setattr(poster_module, "_PACE_S", 3600.0)


@pytest.mark.usefixtures("_no_hurry")
async def test_a_promise_is_in_the_database_before_it_is_kept(database: Database, tmp_path: Path) -> None:
    async with posted(PostgresLedger(database), tmp_path) as (commit, _):
        for number in range(5):
            await commit.promise(encode_entries([open_entry(number)]))
            assert ids(number)[1] in await attempts(database)

        async def call(number: int) -> bool:
            await commit.promise(encode_entries([open_entry(number)]))
            return ids(number)[1] in await attempts(database)

        assert all(await asyncio.gather(*[call(number) for number in range(10, 200)]))


class Counting:
    """The store, and how often it was posted to."""

    def __init__(self, store: LedgerStore) -> None:
        self.store = store
        self.posts = 0

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        return await self.store.register(journal_id, host)

    async def books(self) -> str:
        return ""

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        return await self.store.take_over(journal_id, epoch)

    def expect(self, entries: bytes) -> None:
        pass

    async def post(self, batch: Batch) -> int:
        self.posts += 1
        return await self.store.post(batch)


@pytest.mark.usefixtures("_no_hurry")
async def test_promises_go_in_groups_and_ends_do_not_wait(database: Database, tmp_path: Path) -> None:
    store = Counting(PostgresLedger(database))
    async with posted(store, tmp_path) as (commit, journal):
        await commit.promise(encode_entries([open_entry(0)]))
        before = store.posts
        await asyncio.gather(*[commit.promise(encode_entries([open_entry(number)])) for number in range(1, 500)])
        assert store.posts - before <= 2 + 16  # those that were written at once, and the rest of the turn
        posts = store.posts
        for number in range(500):
            commit.end(encode_entries([settle_entry(number, 1)]))
        await commit.written()
        assert store.posts == posts
        assert journal.last_sequence == 1000


async def test_without_the_database_nothing_is_promised(
    postgres_server: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    sockets = Path(parse_qs(urlsplit(database_url).query)["host"][0])
    door = tmp_path / "s"
    away = Database(DatabaseOptions({"dsn": database_url.replace(sockets.as_posix(), door.as_posix())}))
    async with posted(PostgresLedger(away), tmp_path / "journal") as (commit, journal):
        first = commit.promise(encode_entries([open_entry(1)]))
        with pytest.raises(JournalError, match="not in the database"):
            await first
        assert first.recorded, "it has to be voided"
        commit.end(encode_entries([settle_entry(1, 1)]))
        for number in range(10):
            refused = commit.promise(encode_entries([open_entry(number)]))
            with pytest.raises(JournalError, match="the database is away"):
                await refused
            assert not refused.recorded, "an outage does not fill the disk"
        assert journal.last_sequence == 2
        door.symlink_to(sockets)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await commit.promise(encode_entries([open_entry(3)]))
                    break
                except JournalError:
                    await asyncio.sleep(0.05)
        assert await attempts(away) >= {ids(1)[1], ids(3)[1]}
    await away.close()


class Frozen:
    """A database that takes connections and never answers."""

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        await asyncio.Event().wait()
        raise AssertionError

    async def books(self) -> str:
        return ""

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        raise AssertionError

    def expect(self, entries: bytes) -> None:
        pass

    async def post(self, batch: Batch) -> int:
        raise AssertionError


async def test_a_database_that_does_not_answer_is_not_waited_for_long(tmp_path: Path) -> None:
    async with posted(Frozen(), tmp_path, timeout_s=0.05) as (commit, _):
        with pytest.raises(JournalError, match="does not answer in time"):
            await commit.promise(encode_entries([open_entry(1)]))
