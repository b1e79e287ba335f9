"""Journal to database: whole, in order, once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bursar.domain.accounting import encode_entries
from bursar.domain.errors import JournalTaken, StoreUnavailable
from bursar.domain.ids import JournalId, uuid7
from bursar.ledger.journal import Journal
from bursar.ledger.places import segment_path
from bursar.ledger.poster import Poster, merge_entries
from bursar.ledger.reader import JournalReader
from bursar.store.auditor import books_state
from bursar.store.database import Database, DatabaseOptions
from bursar.store.ledger import PostgresLedger
from tests.ledger.entries import call_entry, ids, open_entry, settle_entry

ID = JournalId(uuid7(1_790_000_000_000, 7))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, ID)
    yield journal
    journal.release()


def poster(
    database: Database, journal: Journal, *, heir: bool = False, went_back: Callable[[], Awaitable[None]] | None = None
) -> Poster:
    reader = JournalReader(journal.directory, journal.id)
    return Poster(PostgresLedger(database), reader, journal_id=journal.id, host="test", heir=heir, went_back=went_back)


async def rows(database: Database, sql: str) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return [dict(row) for row in await connection.fetch(sql)]


def record_call(journal: Journal, number: int, cost: int, **changes: object) -> None:
    journal.append(encode_entries([open_entry(number)]))
    journal.append(encode_entries([settle_entry(number, cost), call_entry(number, **changes)]))


async def test_a_call_becomes_entries_and_a_row(database: Database, journal: Journal) -> None:
    record_call(journal, 1, 1_425_000)
    assert await poster(database, journal).run(follow=False)
    entries = await rows(database, "SELECT kind, slot, cost_nano_usd, evidence FROM bursar.entries ORDER BY at")
    assert [tuple(entry.values()) for entry in entries] == [
        ("settle", 1, 1_425_000, "provider"),
        ("call", 1, None, None),
    ]
    [row] = await rows(database, 'SELECT * FROM "LiteLLM_SpendLogs"')
    assert row["spend"] == 0.001425
    assert row["request_id"] == "chatcmpl-1"
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (402, 42, 444)
    assert row["startTime"].isoformat() == "2026-09-21T14:13:20"
    assert (row["completionStartTime"] - row["startTime"]).total_seconds() == 0.5
    assert row["request_duration_ms"] == 1250
    assert msgspec.json.decode(row["metadata"]) == {
        "agent_name": "a",
        "user_api_key": "k" * 64,
        "requester_ip_address": "127.0.0.1",
        "user_agent": "",
        "litellm_call_id": "litellm-1",
        "status": None,
        "attempted_retries": 0,
        "attempted_fallbacks": 0,
        "cost_breakdown": {"total_cost": 0.001425, "original_cost": 0.001425},
        "bursar": {"call_id": ids(1)[0], "attempt_id": ids(1)[1], "price": None, "evidence": "provider"},
    }
    assert msgspec.json.decode(row["request_tags"]) == ["t"]
    assert row["session_id"] is None
    assert row["messages"] == "{}"
    assert row["status"] == "success"


async def test_posting_again_changes_nothing(database: Database, journal: Journal) -> None:
    async with database.connection() as connection:
        await connection.execute('INSERT INTO "LiteLLM_VerificationToken" (token) VALUES ($1)', "k" * 64)
    for number in range(20):
        record_call(journal, number, 1000 + number)
    assert await poster(database, journal).run(follow=False)
    before = await rows(database, 'SELECT token, spend, total_spend FROM "LiteLLM_VerificationToken"')
    assert before[0]["spend"] == before[0]["total_spend"] == pytest.approx(sum(1000 + n for n in range(20)) / 1e9)
    async with database.connection() as connection:  # the database forgot how far it was
        await connection.execute("UPDATE bursar.journals SET posted_sequence = 0")
    assert await poster(database, journal).run(follow=False)
    assert await rows(database, 'SELECT token, spend, total_spend FROM "LiteLLM_VerificationToken"') == before
    assert len(await rows(database, 'SELECT 1 FROM "LiteLLM_SpendLogs"')) == 20
    assert len(await rows(database, "SELECT 1 FROM bursar.entries")) == 40
    assert await rows(database, "SELECT * FROM bursar.quarantine") == []


async def test_an_entry_that_contradicts_is_quarantined(database: Database, journal: Journal) -> None:
    record_call(journal, 1, 1000)
    journal.append(encode_entries([settle_entry(1, 999)]))
    journal.append(encode_entries([settle_entry(2, 5)]))
    assert await poster(database, journal).run(follow=False)
    costs = await rows(database, "SELECT cost_nano_usd FROM bursar.entries WHERE kind = 'settle' ORDER BY 1")
    assert [row["cost_nano_usd"] for row in costs] == [5, 1000]
    [aside] = await rows(database, "SELECT reason, content FROM bursar.quarantine")
    assert "contradicts the settle entry" in aside["reason"]
    assert b"999" in aside["content"]


async def test_a_provider_that_repeats_its_ids_loses_no_row(database: Database, journal: Journal) -> None:
    record_call(journal, 1, 1, request_id="same")
    record_call(journal, 2, 2, request_id="same")
    assert await poster(database, journal).run(follow=False)
    record_call(journal, 3, 3, request_id="same")
    assert await poster(database, journal).run(follow=False)
    found = {r["request_id"] for r in await rows(database, 'SELECT request_id FROM "LiteLLM_SpendLogs"')}
    assert found == {"same", f"same:{ids(2)[0]}", f"same:{ids(3)[0]}"}


async def test_what_the_database_refuses_keeps_its_money(database: Database, journal: Journal) -> None:
    for number in range(7):
        poison = msgspec.Raw(b'{"x":"\\u0000"}') if number == 4 else msgspec.Raw(b"{}")
        record_call(journal, number, 100, metadata=poison)
    assert await poster(database, journal).run(follow=False)
    logs = await rows(database, 'SELECT request_id, spend, metadata FROM "LiteLLM_SpendLogs"')
    assert len(logs) == 7
    assert sum(round(row["spend"] * 1e9) for row in logs) == 700
    assert {row["request_id"] for row in logs} >= {str(ids(4)[0])}
    [aside] = await rows(database, "SELECT sequence, reason, content FROM bursar.quarantine")
    assert aside["sequence"] == 10
    assert b"u0000" in aside["content"]


async def test_what_cannot_be_read_is_set_aside_and_the_rest_is_posted(database: Database, journal: Journal) -> None:
    for record in (b'["spend","of another release"]', b"no record"):
        journal.append(record)
        record_call(journal, journal.last_sequence, 100)
    assert await poster(database, journal).run(follow=False)
    assert len(await rows(database, 'SELECT FROM "LiteLLM_SpendLogs"')) == 2
    aside = await rows(database, "SELECT content FROM bursar.quarantine ORDER BY sequence")
    assert [row["content"] for row in aside] == [b'["spend","of another release"]', b"no record"]


async def test_a_name_the_database_refuses_costs_no_money(database: Database, journal: Journal) -> None:
    """What stands outside a caller's own words (a model's name, a provider's report) may be refused as well."""
    journal.append(encode_entries([open_entry(1, model="a\x00b")]))
    journal.append(encode_entries([settle_entry(1, 700), call_entry(1, model="openai/a\x00b")]))
    assert await poster(database, journal).run(follow=False)
    [row] = await rows(database, 'SELECT model, spend FROM "LiteLLM_SpendLogs"')
    assert (row["model"], row["spend"]) == ("openai/a\ufffdb", 7e-7)
    kinds = await rows(database, "SELECT kind FROM bursar.entries ORDER BY at, kind DESC")
    assert [entry["kind"] for entry in kinds] == ["open", "settle", "call"]
    assert len(await rows(database, "SELECT FROM bursar.quarantine")) == 2


async def test_two_posters_of_a_journal_post_it_once(database: Database, journal: Journal) -> None:
    """Whoever finds that the journal has moved on goes on from there."""
    record_call(journal, 1, 1)
    first, second = poster(database, journal), poster(database, journal)
    assert await first.run(follow=False)
    await second._next_piece()  # it knows the position …
    record_call(journal, 2, 2)
    assert await first.run(follow=False)  # … which then moves
    records = second._reader.read()
    with pytest.raises(StoreUnavailable):
        await second._post(records, merge_entries(records))
    assert await second.run(follow=False)
    assert second.posted_sequence == journal.last_sequence
    assert [row["spend"] for row in await rows(database, 'SELECT spend FROM "LiteLLM_SpendLogs" ORDER BY 1')] == [
        1e-9,
        2e-9,
    ]


async def test_a_poster_taken_for_dead_cannot_commit(database: Database, journal: Journal) -> None:
    """Neither on the connection it has, nor when it asks again how far it is."""
    record_call(journal, 1, 1)
    zombie = poster(database, journal)
    assert await zombie.run(follow=False)
    heir = poster(database, journal, heir=True)
    assert await heir.run(follow=False)
    assert (zombie.epoch, heir.epoch) == (1, 2)
    record_call(journal, 2, 2)
    records = zombie._reader.read()
    with pytest.raises(JournalTaken):
        await zombie._post(records, merge_entries(records))
    with pytest.raises(JournalTaken):
        await zombie.run(follow=False)
    assert len(await rows(database, 'SELECT FROM "LiteLLM_SpendLogs"')) == 1
    assert await heir.run(follow=False)
    assert len(await rows(database, 'SELECT FROM "LiteLLM_SpendLogs"')) == 2


async def test_taking_over_waits_for_the_transaction_under_way(database: Database, journal: Journal) -> None:
    """The epoch that a transaction has checked holds until it commits."""
    ledger = PostgresLedger(database)
    await ledger.register(journal.id, "test")
    async with database.transaction() as posting:
        assert await posting.fetchval("SELECT epoch FROM bursar.instances FOR SHARE") == 1
        taking = asyncio.ensure_future(ledger.take_over(journal.id, 1))
        while not await posting.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        assert not taking.done()
    assert await taking == 2
    with pytest.raises(JournalTaken):
        await ledger.take_over(journal.id, 1)


async def test_it_waits_for_the_database_and_stops_when_told(tmp_path: Path, journal: Journal) -> None:
    away = Database(DatabaseOptions({"dsn": f"postgresql://nobody@/x?host={tmp_path}"}, connect_timeout_s=1))
    record_call(journal, 1, 1)
    waiting = poster(away, journal)
    task = asyncio.ensure_future(waiting.run())
    await asyncio.sleep(0.05)
    assert not task.done()
    waiting.stop()
    assert await task is False
    await away.close()


async def test_it_follows_and_drains_before_it_stops(database: Database, journal: Journal) -> None:
    following = poster(database, journal)
    task = asyncio.ensure_future(following.run())
    for number in range(50):
        record_call(journal, number, 1)
        following.notify()
        await asyncio.sleep(0)
    following.stop()
    assert await task is True
    assert following.posted_sequence == journal.last_sequence == 100
    assert len(await rows(database, 'SELECT 1 FROM "LiteLLM_SpendLogs"')) == 50


def _set(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def notice() -> None:
        event.set()

    return notice


async def test_a_database_that_went_back_is_told_again(
    database: Database, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """Restored under a running poster, whose connections are none the wiser."""
    noticed = asyncio.Event()
    following = poster(database, journal, went_back=_set(noticed))
    task = asyncio.ensure_future(following.run())
    for number in range(10):
        record_call(journal, number, 100)
    await following.posted(20)
    async with database.connection() as connection:
        lost = [which for number in (7, 8, 9) for which in ids(number)]
        await connection.execute("DELETE FROM bursar.entries WHERE attempt_id = ANY ($1)", lost)
        await connection.execute("UPDATE bursar.journals SET posted_sequence = 14")
    record_call(journal, 10, 100)
    following.notify()
    await asyncio.wait_for(noticed.wait(), 10)
    await following.posted(22)
    following.stop()
    assert await task
    assert len(await rows(database, "SELECT FROM bursar.entries")) == 22
    assert await rows(database, "SELECT FROM bursar.quarantine") == []
    assert f"ledger.database_went_back journal={ID} acknowledged=20 posted=14" in caplog.text


async def test_a_database_that_went_back_is_noticed_while_nothing_is_called(
    database: Database, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bursar.ledger.poster._LOOK_BACK_S", 0.05)
    noticed = asyncio.Event()
    following = poster(database, journal, went_back=_set(noticed))
    task = asyncio.ensure_future(following.run())
    record_call(journal, 1, 100)
    record_call(journal, 2, 100)
    await following.posted(4)
    await asyncio.sleep(0.2)
    assert not noticed.is_set()
    async with database.connection() as connection:
        await connection.execute("DELETE FROM bursar.entries WHERE attempt_id = ANY ($1)", list(ids(2)))
        await connection.execute("UPDATE bursar.journals SET posted_sequence = 2")
    await asyncio.wait_for(noticed.wait(), 10)
    await following.posted(4)
    assert len(await rows(database, "SELECT FROM bursar.entries")) == 4
    following.stop()
    assert await task


async def test_a_database_that_does_not_know_the_journal_any_more(database: Database, journal: Journal) -> None:
    following = poster(database, journal)
    record_call(journal, 1, 100)
    assert await following.run(follow=False)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM bursar.entries")
        await connection.execute("DELETE FROM bursar.journals")
        await connection.execute("DELETE FROM bursar.instances")
    record_call(journal, 2, 100)
    assert await following.run(follow=False)
    assert len(await rows(database, "SELECT FROM bursar.entries")) == 4


async def test_a_database_that_forgot_the_journal_before_anything_was_posted(
    database: Database, journal: Journal
) -> None:
    following = poster(database, journal)
    task = asyncio.ensure_future(following.run())
    while following.epoch is None:
        await asyncio.sleep(0.01)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM bursar.journals")
        await connection.execute("DELETE FROM bursar.instances")
    record_call(journal, 1, 100)
    await following.posted(2)
    following.stop()
    assert await task
    assert len(await rows(database, "SELECT FROM bursar.entries")) == 2


async def test_another_poster_is_not_taken_for_a_database_that_went_back(database: Database, journal: Journal) -> None:
    """It is ahead; the one it overtook goes on from there."""
    noticed = asyncio.Event()
    first, second = poster(database, journal, went_back=_set(noticed)), poster(database, journal)
    record_call(journal, 1, 1)
    task = asyncio.ensure_future(first.run())
    await first.posted(2)
    record_call(journal, 2, 2)
    assert await second.run(follow=False)
    record_call(journal, 3, 3)
    with pytest.raises(StoreUnavailable, match="is at 4, not at 2"):
        await first.posted(6)
    await first.posted(6)
    first.stop()
    assert await task
    assert not noticed.is_set()
    assert len(await rows(database, "SELECT FROM bursar.entries")) == 6


async def test_who_waits_for_a_record_learns_that_the_journal_was_taken(database: Database, journal: Journal) -> None:
    zombie = poster(database, journal)
    task = asyncio.ensure_future(zombie.run())
    record_call(journal, 1, 1)
    await zombie.posted(2)
    assert await poster(database, journal, heir=True).run(follow=False)
    record_call(journal, 2, 2)
    waiting = zombie.posted(4)
    with pytest.raises(JournalTaken):
        await task
    with pytest.raises(StoreUnavailable, match="posting has ended"):
        await waiting


async def test_what_is_no_longer_kept_is_told_and_the_rest_is_posted(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path, JournalId(uuid7(1_790_000_000_000, 8)), segment_bytes=1)
    for number in range(5):
        record_call(journal, number, 100 + number)
    for number in (2, 3, 4, 8):  # records 1 to 3, and 7
        segment_path(journal.directory, number).unlink()
    assert await poster(database, journal).run(follow=False)
    kinds = await rows(database, "SELECT kind, cost_nano_usd AS cost FROM bursar.entries ORDER BY cost, kind")
    assert [row["cost"] for row in kinds if row["cost"]] == [101, 102, 103, 104]
    assert [row["kind"] for row in kinds].count("open") == 2
    [position] = await rows(database, "SELECT posted_sequence FROM bursar.journals")
    assert position["posted_sequence"] == 10
    gone = [r.getMessage().split(" ", 2)[2] for r in caplog.records if "ledger.records_gone" in r.getMessage()]
    assert gone == ["first=1 last=3", "first=7 last=7"]
    incidents = [row["what"].split(" of ")[0] for row in await rows(database, "SELECT what FROM bursar.incidents")]
    assert incidents == ["records 1 to 3", "records 7 to 7"]
    assert (await books_state(database)).incidents == 2
    journal.release()


async def test_a_record_that_is_refused_behind_a_gap(database: Database, tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalId(uuid7(1_790_000_000_000, 8)), segment_bytes=1)
    for number in range(3):
        record_call(journal, number, 100, metadata=msgspec.Raw(b'{"x":"\\u0000"}' if number == 2 else b"{}"))
    segment_path(journal.directory, 6).unlink()  # record 5
    assert await poster(database, journal).run(follow=False)
    [aside] = await rows(database, "SELECT sequence FROM bursar.quarantine")
    assert aside["sequence"] == 6
    [position] = await rows(database, "SELECT posted_sequence FROM bursar.journals")
    assert position["posted_sequence"] == 6
    assert len(await rows(database, 'SELECT FROM "LiteLLM_SpendLogs"')) == 3
    journal.release()
