"""Journals of the dead: posted, marked, put by; once, whoever comes first, and whatever the death left of them."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bursar.domain.accounting import encode_entries
from bursar.domain.errors import StoreUnavailable
from bursar.domain.ids import AttemptId, CallId, JournalId, uuid7
from bursar.domain.windows import Answer
from bursar.ledger.adoption import Adopter, open_attempts
from bursar.ledger.group_commit import GroupCommit
from bursar.ledger.journal import Journal
from bursar.ledger.places import segment_numbers, segment_path
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.ledger.segment import FRAME_BYTES, HEADER_BYTES
from bursar.ports.budgets import BudgetAsk
from bursar.ports.ledger import Batch, JournalPosition, LedgerStore
from bursar.store.database import Database
from bursar.store.ledger import PostgresLedger
from tests.ledger.entries import call_entry, ids, open_entry, settle_entry
from tests.ledger.journals import of_format
from tests.patience import PATIENCE_S

DAY_S = 86_400.0


def journal_id(number: int) -> JournalId:
    return JournalId(uuid7(1_790_000_000_000 + number, number))


def record_call(journal: Journal, number: int, cost: int = 1000) -> None:
    journal.append(encode_entries([open_entry(number)]))
    journal.append(encode_entries([settle_entry(number, cost), call_entry(number)]))


class Releasing:
    """Where budgets are given back; tests of that are in `tests/store/test_budgets.py`."""

    def __init__(self) -> None:
        self.released: list[JournalId] = []

    async def heartbeat(self, instance: JournalId, epoch: int) -> float:
        raise AssertionError

    async def exchange(self, instance: JournalId, epoch: int, asks: Sequence[BudgetAsk]) -> list[Answer]:
        raise AssertionError

    async def release(self, instance: JournalId, epoch: int, posted: int) -> None:
        self.released.append(instance)


class Survivor:
    """A process that lives: its journal, and its adopter, who uses `store`."""

    def __init__(self, root: Path, number: int, store: LedgerStore) -> None:
        self.journal = Journal(root, journal_id(number))
        self.appended = 0
        self.went_back = asyncio.Event()
        self.adopter = Adopter(
            store,
            Releasing(),
            root=root,
            own=self.journal.id,
            record=GroupCommit(self.journal, appended=self._note).record,
            host="test",
            keep_bytes=1 << 30,
            keep_s=DAY_S,
            went_back=self.went_back,
        )

    def _note(self) -> None:
        self.appended += 1

    def marked(self) -> set[str]:
        """Attempts that its journal marks as unknown."""
        data = segment_path(self.journal.directory, 1).read_bytes()
        return {str(ids(n)[1]) for n in range(100) if b'"unknown","attempt_id":"%b"' % ids(n)[1].encode() in data}


@asynccontextmanager
async def looking(*survivors: Survivor) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(survivor.adopter.run()) for survivor in survivors]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome
        for survivor in survivors:
            survivor.journal.release()


async def until_put_by(root: Path, *names: str) -> None:
    async with asyncio.timeout(30):
        while not all((root / f"{name}.done").is_dir() for name in names):
            await asyncio.sleep(0.01)


async def rows(database: Database, sql: str) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return [dict(row) for row in await connection.fetch(sql)]


async def test_a_dead_journal_is_posted_marked_and_put_by(database: Database, tmp_path: Path) -> None:
    dead = Journal(tmp_path, journal_id(1))
    record_call(dead, 1)
    dead.append(encode_entries([open_entry(2)]))
    dead.release()
    survivor = Survivor(tmp_path, 2, PostgresLedger(database))
    async with looking(survivor):
        await until_put_by(tmp_path, dead.id)
        assert survivor.marked() == {str(ids(2)[1])}
        assert survivor.appended == 1
    entries = await rows(database, "SELECT kind, attempt_id::text AS id FROM bursar.entries ORDER BY kind, attempt_id")
    assert [(e["kind"], e["id"]) for e in entries] == [
        ("call", ids(1)[0]),
        ("open", ids(2)[1]),  # the other one's end came with it
        ("settle", ids(1)[1]),
    ]


async def test_a_living_journal_is_left_alone(database: Database, tmp_path: Path) -> None:
    living, dead = Journal(tmp_path, journal_id(1)), Journal(tmp_path, journal_id(2))
    for journal, number in ((living, 1), (dead, 2)):
        journal.append(encode_entries([open_entry(number)]))
    dead.release()
    survivor = Survivor(tmp_path, 3, PostgresLedger(database))
    async with looking(survivor):
        await until_put_by(tmp_path, dead.id)
        assert survivor.marked() == {str(ids(2)[1])}
    assert living.directory.is_dir()
    living.release()


async def test_several_who_find_the_same_adopt_it_once(database: Database, tmp_path: Path) -> None:
    names = []
    for number in range(20):
        dead = Journal(tmp_path, journal_id(number))
        record_call(dead, number * 2)
        dead.append(encode_entries([open_entry(number * 2 + 1)]))
        dead.release()
        names.append(dead.id)
    racers = [Survivor(tmp_path, 100 + number, PostgresLedger(database)) for number in range(3)]
    async with looking(*racers):
        await until_put_by(tmp_path, *names)
        marked = [mark for racer in racers for mark in sorted(racer.marked())]
    assert sorted(marked) == sorted(str(ids(number * 2 + 1)[1]) for number in range(20))
    assert len(await rows(database, 'SELECT 1 FROM "LiteLLM_SpendLogs"')) == 20
    assert await rows(database, "SELECT 1 FROM bursar.quarantine") == []


class Interrupting:
    """The store, at whose first use something happens: another process adopts the same journal to its end."""

    def __init__(self, store: LedgerStore, directory: Path) -> None:
        self._store = store
        self._directory = directory

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        if self._directory.exists():
            self._directory.rename(self._directory.with_name(self._directory.name + ".done"))
        return await self._store.register(journal_id, host)

    async def books(self) -> str:
        return ""

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        return await self._store.take_over(journal_id, epoch)

    def expect(self, entries: bytes) -> None:
        pass

    async def post(self, batch: Batch) -> int:
        return await self._store.post(batch)


async def test_a_journal_that_is_put_by_meanwhile_does_not_end_the_search(database: Database, tmp_path: Path) -> None:
    first, second = Journal(tmp_path, journal_id(1)), Journal(tmp_path, journal_id(2))
    for number, journal in enumerate((first, second)):
        record_call(journal, number)
        journal.release()
    store = Interrupting(PostgresLedger(database), first.directory)
    async with looking(Survivor(tmp_path, 3, store)):
        await until_put_by(tmp_path, first.id, second.id)


async def test_one_that_cannot_be_read_does_not_keep_the_others_out(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer, unlockable, fine = (Journal(tmp_path, journal_id(number)) for number in (1, 2, 3))
    for number, journal in enumerate((newer, unlockable, fine)):
        record_call(journal, number)
        journal.release()
    path = segment_path(newer.directory, 1)
    content = of_format(9, path.read_bytes())
    path.write_bytes(content)
    (unlockable.directory / "lock").unlink()
    (unlockable.directory / "lock").mkdir()  # as little to be opened as somebody else's file, also for root
    with caplog.at_level(logging.ERROR):
        async with looking(Survivor(tmp_path, 4, PostgresLedger(database))):
            await until_put_by(tmp_path, fine.id)
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["journal.not_adopted"] * 2
    assert "Upgrade bursar" in caplog.text
    assert path.read_bytes() == content, "it waits for the release that knows it"
    assert len(await rows(database, 'SELECT 1 FROM "LiteLLM_SpendLogs"')) == 1


async def test_a_tail_torn_anywhere_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """From the empty file, whose process died before it wrote the header, to the whole one."""
    whole = Journal(tmp_path / "whole", journal_id(1))
    ends = []
    for number in range(2):
        whole.append(encode_entries([open_entry(number)]))
        ends.append(segment_path(whole.directory, 1).stat().st_size)
    whole.release()
    content = segment_path(whole.directory, 1).read_bytes()
    near_ends = (end + off for end in (HEADER_BYTES, *ends) for off in (-1, 0, 1, FRAME_BYTES))
    for cut in {*range(0, len(content), 23), *near_ends} - {len(content) + 1}:
        store, root = Remembering(), tmp_path / str(cut)
        dead = Journal(root, journal_id(1))
        dead.release()
        segment_path(dead.directory, 1).write_bytes(content[:cut])
        survivor = Survivor(root, 2, store)
        async with looking(survivor):
            await until_put_by(root, dead.id)
            acknowledged = {str(ids(number)[1]) for number, end in enumerate(ends) if end <= cut}
            assert survivor.marked() == acknowledged
            assert store.attempts == acknowledged


class Remembering:
    """A store that only remembers what it was given, and is away at first."""

    def __init__(self, away: int = 0) -> None:
        self.attempts: set[str] = set()
        self._away = away
        self._position = 0

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        if self._away:
            self._away -= 1
            raise StoreUnavailable("away")
        return JournalPosition(sequence=self._position, epoch=0)

    async def books(self) -> str:
        return ""

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        return epoch + 1

    def expect(self, entries: bytes) -> None:
        pass

    async def post(self, batch: Batch) -> int:
        entries = msgspec.json.decode(batch.entries)
        self.attempts |= {entry["attempt_id"] for entry in entries}
        self._position = batch.upto
        return len(entries)


async def test_a_new_segment_without_a_header_is_nothing(tmp_path: Path) -> None:
    dead = Journal(tmp_path, journal_id(1))
    dead.append(encode_entries([open_entry(1)]))
    dead.release()
    segment_path(dead.directory, 2).touch()
    store = Remembering()
    async with looking(Survivor(tmp_path, 2, store)):
        await until_put_by(tmp_path, dead.id)
    assert store.attempts == {str(ids(1)[1])}


@pytest.mark.parametrize("turns", range(4))
async def test_it_ends_when_told_to_also_when_told_to_look_at_the_same_time(tmp_path: Path, turns: int) -> None:
    survivor = Survivor(tmp_path, 1, Remembering())
    running = asyncio.get_running_loop().create_task(survivor.adopter.run())
    await asyncio.sleep(0.2)  # now it waits
    survivor.went_back.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait([running])
    assert running.cancelled()
    survivor.journal.release()


async def test_it_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    dead = Journal(tmp_path, journal_id(1))
    record_call(dead, 1)
    dead.release()
    async with looking(Survivor(tmp_path, 2, Remembering(away=2))):
        await until_put_by(tmp_path, dead.id)


async def test_what_was_put_by_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, recent, dead = (Journal(tmp_path, journal_id(number)) for number in (1, 2, 3))
    for journal in (old, recent, dead):
        journal.release()
    for journal, age_s in ((old, DAY_S + 60), (recent, DAY_S - 60)):
        done = journal.directory.rename(journal.directory.with_name(f"{journal.id}.done"))
        at = done.stat().st_mtime - age_s
        os.utime(done, (at, at))
    async with looking(Survivor(tmp_path, 4, Remembering())):
        await until_put_by(tmp_path, dead.id)
        async with asyncio.timeout(PATIENCE_S):
            while (tmp_path / f"{old.id}.done").exists():
                await asyncio.sleep(0.01)
    assert (tmp_path / f"{recent.id}.done").exists()


async def test_open_attempts_are_those_without_an_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path, journal_id(1), segment_bytes=300)  # several segments
    for number in range(6):
        journal.append(encode_entries([open_entry(number)]))
    for number in (0, 3):
        journal.append(encode_entries([settle_entry(number, 5), call_entry(number)]))
    journal.release()
    assert segment_path(journal.directory, 3).exists()
    open_now = {ids(number)[1]: ids(number)[0] for number in (1, 2, 4, 5)}

    async def found() -> dict[AttemptId, CallId]:
        return {attempt: opened.call_id for attempt, opened in (await open_attempts(journal.directory)).items()}

    assert await found() == open_now
    for number in segment_numbers(journal.directory):  # as room that was set aside shows where files are copied
        path = segment_path(journal.directory, number)
        path.write_bytes(path.read_bytes() + bytes(5000))
    assert await found() == open_now


async def test_a_damaged_journal_is_adopted_as_far_as_it_can_be_read(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Journal(tmp_path, journal_id(1))
    for number in range(4):
        record_call(dead, number, 100 + number)
    dead.append(b"no entries at all")
    dead.append(encode_entries([open_entry(9)]))
    dead.release()
    path = segment_path(dead.directory, 1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"cost_nano_usd":102', b'"cost_nano_usd":902'))
    survivor = Survivor(tmp_path, 2, PostgresLedger(database))
    async with looking(survivor):
        await until_put_by(tmp_path, dead.id)
        assert survivor.marked() == {ids(2)[1], ids(9)[1]}, "its end was there, and cannot be read"
    costs = await rows(database, "SELECT cost_nano_usd AS c FROM bursar.entries WHERE kind = 'settle' ORDER BY 1")
    assert [row["c"] for row in costs] == [100, 101, 103]
    [aside] = await rows(database, "SELECT sequence, content FROM bursar.quarantine")
    assert (aside["sequence"], aside["content"]) == (9, b"no entries at all")
    damaged = [r.getMessage() for r in caplog.records if r.getMessage().startswith("journal.damaged")]
    assert len(damaged) == 1
    assert "missing=1" in damaged[0]
    [kept] = (tmp_path / "damaged").iterdir()
    assert b'"cost_nano_usd":902' in kept.read_bytes()


async def test_what_the_database_has_forgotten_is_posted_again(database: Database, tmp_path: Path) -> None:
    """Journals that were put by before it was restored: one it knows less of, one it does not know, one it has."""
    partly, wholly, not_at_all = ours = [Journal(tmp_path, journal_id(number)) for number in (1, 2, 3)]
    for number, journal in enumerate(ours):
        record_call(journal, number * 2)
        record_call(journal, number * 2 + 1)
        journal.release()
    store = PostgresLedger(database)
    async with looking(Survivor(tmp_path, 4, store)):
        await until_put_by(tmp_path, *[journal.id for journal in ours])
    everything = "SELECT attempt_id::text, kind, cost_nano_usd FROM bursar.entries ORDER BY 1, 2"
    before = await rows(database, everything)

    async def until_as_before() -> None:
        async with asyncio.timeout(30):
            while await rows(database, everything) != before or not done(tmp_path, *ours):
                await asyncio.sleep(0.01)

    await forget(database, partly, 1, upto=2)
    await forget(database, wholly, 2, 3)
    survivor = Survivor(tmp_path, 5, store)
    async with looking(survivor):
        await until_as_before()
        await forget(database, partly, 0, 1)
        await forget(database, not_at_all, 4, 5)
        survivor.went_back.set()  # as its own poster does when it notices
        await until_as_before()
    assert await rows(database, "SELECT 1 FROM bursar.quarantine") == []
    assert len(await rows(database, 'SELECT 1 FROM "LiteLLM_SpendLogs"')) == 6


async def forget(database: Database, journal: Journal, *calls: int, upto: int = 0) -> None:
    """Have the database go back to where it had not heard of these calls."""
    async with database.transaction() as connection:
        if upto:
            await connection.execute(
                "UPDATE bursar.journals SET posted_sequence = $1 WHERE journal_id = $2", upto, journal.id
            )
        else:
            await connection.execute("DELETE FROM bursar.journals WHERE journal_id = $1", journal.id)
        for number in calls:
            await connection.execute("DELETE FROM bursar.entries WHERE bursar.call_id(attempt_id) = $1", ids(number)[0])
            await connection.execute('DELETE FROM "LiteLLM_SpendLogs" WHERE request_id = $1', f"chatcmpl-{number}")


def done(root: Path, *journals: Journal) -> bool:
    return all((root / f"{journal.id}.done").is_dir() for journal in journals)


async def test_what_belongs_to_other_books_is_left_to_them(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, other_database: Database
) -> None:
    """A directory that was used with another database before: what that one has, put by or not, is not this one's."""
    kept, dead, unposted = (Journal(tmp_path, journal_id(number)) for number in (1, 2, 3))
    for number, journal in enumerate((kept, dead, unposted)):
        record_call(journal, number)
    theirs = PostgresLedger(other_database)
    for journal in (kept, dead):
        reader = JournalReader(journal.directory, journal.id)
        await Poster(theirs, reader, journal_id=journal.id, host="test").run(follow=False)
        reader.close()
    kept.release(done=True)
    record_call(dead, 4)
    dead.release()
    unposted.release()
    survivor = Survivor(tmp_path, 5, PostgresLedger(database))
    async with looking(survivor):
        await until_put_by(tmp_path, unposted.id)
        assert await survivor.adopter.look() == 1
    told = [line for line in caplog.messages if "journal.not_adopted" in line]
    assert len(told) == 1
    assert str(dead.directory) in told[0]
    assert "another database's books" in told[0]
    assert any("journal.of_other_books count=1" in line for line in caplog.messages)
    costs = "SELECT count(*) AS calls FROM bursar.entries WHERE kind = 'settle'"
    assert await rows(database, costs) == [{"calls": 1}]
    survivor = Survivor(tmp_path, 6, theirs)
    async with looking(survivor):
        await until_put_by(tmp_path, dead.id)
    assert await rows(other_database, costs) == [{"calls": 3}]
