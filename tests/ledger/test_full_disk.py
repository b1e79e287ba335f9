"""A disk that is really full: calls are refused before they are sent, none that runs loses its end, and it passes."""

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from bursar.domain.accounting import Entry, encode_entries
from bursar.domain.errors import JournalError
from bursar.ledger.brief import brief
from bursar.ledger.group_commit import END_ROOM_BYTES, GroupCommit
from bursar.ledger.journal import Journal
from tests.ledger.entries import call_entry, ids, open_entry, settle_entry
from tests.ledger.journals import ID, fill, mounted, numbered, read_all
from tests.patience import PATIENCE_S


def an_end(number: int, words: int) -> bytes:
    """As a call ends whose caller said so many bytes about it."""
    said = msgspec.Raw(msgspec.json.encode("w" * words))
    cost = 1000 + number
    return encode_entries([settle_entry(number, cost), call_entry(number, metadata={"x": said})])


async def call_until_refused(commit: GroupCommit, first: int) -> None:
    for number in range(first, first + 10_000):
        await commit.promise(encode_entries([open_entry(number)]))
        commit.end(an_end(number, 0))


class Calls:
    """Many at a time, each from its promise to its end."""

    def __init__(self, journal: Journal, seed: int) -> None:
        self.commit = GroupCommit(journal, appended=lambda: None)
        self.random = random.Random(seed)
        self.served: set[int] = set()
        self.refused = 0
        self._numbers = iter(range(1_000_000))
        self._stop = False

    async def client(self) -> None:
        while not self._stop:
            number = next(self._numbers)
            try:
                await self.commit.promise(encode_entries([open_entry(number)]))
            except JournalError:
                self.refused += 1
                await asyncio.sleep(0.001)
                continue
            for _ in range(self.random.randrange(20)):
                await asyncio.sleep(0)
            words = self.random.choice([0, 10, 100, 1000, 3000, 50_000])
            self.commit.end(an_end(number, words))
            await self.commit.written()
            self.served.add(number)

    async def until(self, *, served: int = 0, refused: int = 0) -> None:
        """So many more of them."""
        served, refused = served + len(self.served), refused + self.refused
        async with asyncio.timeout(30):
            while len(self.served) < served or self.refused < refused:
                await asyncio.sleep(0)

    async def finish(self, clients: "asyncio.Future[list[None]]") -> None:
        self._stop = True
        await clients


def ended(directory: Path) -> dict[str, int]:
    """What each attempt cost, by the records that can be read."""
    found = {}
    for record in read_all(directory, max_bytes=1 << 20):
        for entry in msgspec.json.decode(record):
            if entry["kind"] == "settle":
                assert entry["attempt_id"] not in found
                found[entry["attempt_id"]] = entry["cost_nano_usd"]
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_ends_have_their_room(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    with mounted(tmp_path / "disk", "-o", "size=12m") as disk:
        journal = Journal(disk, ID, segment_bytes=200_000)
        calls = Calls(journal, seed)
        clients = asyncio.gather(*[calls.client() for _ in range(50)])
        await calls.until(served=100)
        filler = fill(disk)
        for _ in range(20):
            await calls.until(refused=50)
            assert calls.commit.flush(), "nothing waits in memory"
            fill(disk)  # others take what a sealed segment gives back
        # At the height of it, as kill -9 would leave it:
        assert set(ended(journal.directory).values()) >= {1000 + number for number in calls.served}
        filler.unlink()
        await calls.until(served=100)
        await calls.finish(clients)
        assert calls.commit.flush()
        assert ended(journal.directory) == {ids(number)[1]: 1000 + number for number in calls.served}
        assert [sequence for sequence, _ in numbered(journal.directory)] == list(range(1, journal.last_sequence + 1))
        assert not (disk / "damaged").exists()
        assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["journal.refuses"], "told once"
        journal.release()


async def test_an_end_that_is_too_large_is_cut_to_the_money(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "size=3m") as disk:
        journal = Journal(disk, ID)
        commit = GroupCommit(journal, appended=lambda: None)
        await commit.promise(encode_entries([open_entry(1)]))
        commit.end(an_end(1, 100_000))
        for number in (2, 3, 4):
            await commit.promise(encode_entries([open_entry(number)]))
        filler = fill(disk)
        with pytest.raises(JournalError, match="No space left"):
            await call_until_refused(commit, 100)  # only the room that is set aside is left
        commit.report(an_end(5, 200_000))  # on which no money depends
        for number in (2, 3, 4):
            commit.end(an_end(number, 100_000 if number == 3 else 1000))
        assert commit.flush()
        records = {msgspec.json.decode(r)[0]["attempt_id"]: r for r in read_all(journal.directory, max_bytes=1 << 20)}
        assert records[ids(1)[1]] == an_end(1, 100_000)
        assert records[ids(2)[1]] == an_end(2, 1000)
        assert records[ids(4)[1]] == an_end(4, 1000)
        assert len(records[ids(3)[1]]) < END_ROOM_BYTES
        settle, call = msgspec.json.decode(records[ids(3)[1]])
        assert (settle["kind"], settle["cost_nano_usd"], settle["body"]["usage"]["answer_tokens"]) == (
            "settle",
            1003,
            42,
        )
        assert (call["kind"], call["body"]["attempt_id"], call["body"]["metadata"]) == ("call", ids(3)[1], {})
        assert ids(5)[1] not in records
        filler.unlink()
        await commit.promise(encode_entries([open_entry(6)]))
        journal.release()


async def test_when_even_the_room_is_lost_ends_wait_in_memory(tmp_path: Path) -> None:
    """The directory is deleted while the disk is full: the last resort, and it passes by itself."""
    with mounted(tmp_path / "disk", "-o", "size=3m") as disk:
        journal = Journal(disk / "journal", ID)
        commit = GroupCommit(journal, appended=lambda: None)
        await commit.promise(encode_entries([open_entry(1)]))
        journal.seal()
        filler = fill(disk)
        commit.end(an_end(1, 10))
        assert not commit.flush()
        filler.unlink()
        async with asyncio.timeout(PATIENCE_S):
            while commit._waiting:  # nobody calls: it tries by itself
                await asyncio.sleep(0.01)
        assert ended(journal.directory) == {ids(1)[1]: 1001}
        journal.release()


def test_brief_keeps_what_is_small() -> None:
    payload = an_end(1, 10)
    assert brief(payload, len(payload)) is payload
    assert brief(b"x" * 100, 50) == b"x" * 100, "what it does not understand it does not touch"


def test_brief_cuts_what_was_said_then_the_row_never_the_money() -> None:
    void = encode_entries([settle_entry(1, 7), call_entry(1, model="m" * 1000)])

    def kinds(payload: bytes) -> list[str]:
        return [entry.kind for entry in msgspec.json.decode(payload, type=list[_Kind])]

    assert kinds(brief(an_end(1, 5000), 4000)) == ["settle", "call"]
    assert kinds(brief(void, 1000)) == ["settle"]
    assert kinds(brief(void, 10)) == ["settle"]


class _Kind(msgspec.Struct):
    kind: str


def test_an_ordinary_end_fits_into_its_room() -> None:
    """With what a caller commonly says, and a provider's usual report."""
    usage = (
        b'{"prompt_tokens":402,"completion_tokens":42,"total_tokens":444,"prompt_tokens_details":{"cached_tokens":0}}'
    )
    entries: list[Entry] = [settle_entry(1, 5), call_entry(1, user_agent="u" * 100)]
    assert len(encode_entries(entries)) + len(usage) < END_ROOM_BYTES / 2
