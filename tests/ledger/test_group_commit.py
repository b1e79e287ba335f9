"""Records of one turn of the loop are written together; nobody goes on before their own is on disk."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bursar.domain.errors import JournalError
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.group_commit import GroupCommit
from bursar.ledger.journal import Journal
from bursar.ledger.places import segment_path
from bursar.ledger.reader import JournalReader
from bursar.ledger.segment import FRAME_BYTES

ID = JournalId(uuid7(1_790_000_000_000, 12345))


class Desk:
    """A journal, its group commit, and what a reader finds."""

    def __init__(self, root: Path) -> None:
        self.journal = Journal(root, ID)
        self.writes = 0
        self._skipped = 0
        self.commit = GroupCommit(self.journal, appended=self._note)

    def _note(self) -> None:
        self.writes += 1

    async def crowd(self) -> None:
        """Make it used to company: from now on records wait for the end of their turn."""
        for _ in range(20):
            self.commit.report(b"company")
        await self.commit.written()
        self._skipped = len(self.on_disk())
        self.writes = 0

    def on_disk(self) -> list[bytes]:
        reader = JournalReader(self.journal.directory, ID)
        reader.seek(1)
        found: list[bytes] = []
        while batch := reader.read():
            found += [payload.tobytes() for payload in batch]
        reader.close()
        return found[self._skipped :]

    def size(self) -> int:
        """Of the first segment."""
        return os.path.getsize(segment_path(self.journal.directory, 1))

    @contextmanager
    def largest_file(self, size: int) -> Iterator[None]:
        """Files cannot become larger; of a few bytes not even a new segment's header fits."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous)


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_records_that_come_singly_are_written_at_once(desk: Desk) -> None:
    for number in range(100):
        promise = desk.commit.promise(b"%d" % number)
        assert promise.done() == (desk.on_disk() == [b"%d" % n for n in range(number + 1)])
        await promise
        assert len(desk.on_disk()) == desk.writes == number + 1
        await asyncio.sleep(0)


async def test_a_turn_is_one_write_however_many_records_it_has(desk: Desk) -> None:
    await desk.crowd()
    promises = [desk.commit.promise(b"%d" % number) for number in range(50)]
    desk.commit.report(b"end")
    written = desk.commit.written()
    assert desk.on_disk() == []
    assert not written.done()
    await asyncio.gather(*promises, written)
    assert desk.on_disk() == [*(b"%d" % number for number in range(50)), b"end"]
    assert desk.writes == 1


async def test_there_may_be_nothing_to_wait_for(desk: Desk) -> None:
    await desk.crowd()
    await asyncio.wait_for(desk.commit.written(), 1.0)
    desk.commit.report(b"one")
    desk.commit.report(b"two")
    assert desk.commit.flush()
    assert desk.on_disk() == [b"one", b"two"]
    await asyncio.wait_for(desk.commit.written(), 1.0)
    assert desk.writes == 1


async def test_a_cancelled_promise_is_not_recorded(desk: Desk) -> None:
    await desk.crowd()
    kept, dropped = desk.commit.promise(b"kept"), desk.commit.promise(b"dropped")
    dropped.cancel()
    await kept
    assert desk.on_disk() == [b"kept"]


async def test_one_who_stops_waiting_does_not_stop_the_others(desk: Desk) -> None:
    await desk.crowd()
    desk.commit.report(b"one")
    impatient, patient = desk.commit.written(), desk.commit.written()
    impatient.cancel()
    await patient
    assert desk.on_disk() == [b"one"]


@pytest.mark.parametrize("crowded", [False, True])
async def test_a_full_disk_breaks_promises_and_keeps_reports(
    crowded: bool, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    if crowded:
        await desk.crowd()
    await desk.commit.promise(b"before")
    with desk.largest_file(10):
        with pytest.raises(JournalError):
            await desk.commit.promise(b"refused")
        desk.commit.end(b"an end")
        desk.commit.report(b"a refusal's row")
        await desk.commit.written()
        assert not desk.commit.flush()
        with pytest.raises(JournalError):
            await desk.commit.promise(b"refused too")
    assert "journal.refuses" in caplog.text
    await desk.commit.promise(b"after")
    assert desk.on_disk() == [b"before", b"an end", b"after"]
    assert desk.commit.flush()


async def test_of_a_group_that_is_cut_short_the_whole_records_count(desk: Desk) -> None:
    await desk.crowd()
    promises = [desk.commit.promise(b"x" * 100) for _ in range(5)]
    room = 2 * (FRAME_BYTES + 100) + 50
    before = desk.size()
    with desk.largest_file(before + room):
        outcomes = await asyncio.gather(*promises, return_exceptions=True)
    assert [outcome is None for outcome in outcomes] == [True, True, False, False, False]
    assert desk.size() == before + room  # the torn one is there
    await desk.commit.promise(b"after")
    assert desk.on_disk() == [b"x" * 100, b"x" * 100, b"after"]


async def test_a_journal_that_is_well_again_says_so(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and not at each call that a full disk lets pass."""
    with desk.largest_file(10):
        for _ in range(3):
            with pytest.raises(JournalError):
                await desk.commit.promise(b"refused")
    for _ in range(3):
        await desk.commit.promise(b"well")
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["journal.refuses"]
    monkeypatch.setattr("bursar.ledger.group_commit._CALM_S", -1.0)
    for _ in range(3):
        await desk.commit.promise(b"well for long")
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == [
        "journal.refuses",
        "journal.accepts_again",
    ]


async def test_what_stands_for_itself_needs_no_room_and_is_refused_like_a_promise(desk: Desk) -> None:
    await desk.commit.record(b"a mark")
    assert desk.on_disk() == [b"a mark"]
    with desk.largest_file(10), pytest.raises(JournalError):
        await desk.commit.record(b"refused")
    await desk.commit.promise(b"after")
    assert desk.on_disk() == [b"a mark", b"after"]


async def test_a_promise_says_whether_it_is_on_record(desk: Desk) -> None:
    await desk.crowd()
    promises = [desk.commit.promise(b"x" * 100) for _ in range(3)]
    assert not any(promise.recorded for promise in promises)
    promises[0].cancel()
    with desk.largest_file(desk.size() + FRAME_BYTES + 150):
        await asyncio.gather(*promises, return_exceptions=True)
    assert [promise.recorded for promise in promises] == [False, True, False]
