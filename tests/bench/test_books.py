"""A comparison that finds nothing must have been able to find something."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from bench import books
from bench.books import Agreement, Booked, BooksReader, Ledger, compare
from bench.programs import BenchError
from bursar.oracle.bill import BillLine, Ending

COST = 230_000


def billed(number: int, cost: int = COST) -> BillLine:
    return BillLine(
        worker=1,
        seq=number,
        at_s=0.0,
        dialect="openai",
        id=f"chatcmpl-{number}",
        provider_request_id=f"req-{number}",
        attempt=None,
        x_request_id=None,
        key=None,
        model="oracle",
        prompt_tokens=30,
        cached_tokens=0,
        cache_write_tokens=0,
        audio_prompt_tokens=0,
        completion_tokens=50,
        reasoning_tokens=0,
        audio_completion_tokens=0,
        cost_nano_usd=cost,
        streamed=False,
        client_there=True,
        ending=Ending.COMPLETE,
    )


def booked(number: int, cost: int = COST) -> Booked:
    return Booked(f"chatcmpl-{number}", cost / 1e9, cost)


def ledger(rows: Sequence[Booked], *, unended: int = 0, quarantined: int = 0) -> Ledger:
    total = sum(row.cost_nano_usd or 0 for row in rows)
    return Ledger(
        list(rows),
        cost_nano_usd=total,
        unended=unended,
        quarantined=quarantined,
        key_spend_usd=sum(row.spend_usd for row in rows),
    )


BILL = [billed(number) for number in range(100)]
ROWS = [booked(number) for number in range(100)]


def agreement(rows: Sequence[Booked], bill: Sequence[BillLine] = BILL, answered: int = 100) -> Agreement:
    found = compare(bill, ledger(rows), answered=answered)
    if not found.complete:
        assert found.other or found.examples, "it must say what is wrong"
    return found


def test_equal_books() -> None:
    found = agreement(ROWS)
    assert found.complete
    assert (found.answered, found.billed, found.booked, found.other, found.examples) == (100, 100, 100, [], [])


def test_order_means_nothing() -> None:
    assert agreement(ROWS[::-1]).complete


def test_a_missing_row() -> None:
    found = agreement(ROWS[1:])
    assert not found.complete
    assert (found.missing, found.unbilled, found.duplicate, found.apart) == (1, 0, 0, 0)
    assert "missing: chatcmpl-0" in found.examples


def test_a_row_that_nobody_billed() -> None:
    found = agreement([*ROWS, booked(200)])
    assert not found.complete
    assert (found.missing, found.unbilled) == (0, 1)


def test_a_row_that_stands_for_another() -> None:
    found = agreement([*ROWS[1:], booked(200)])
    assert (found.missing, found.unbilled) == (1, 1)


def test_a_call_booked_twice() -> None:
    """The second row of one provider id is told from the first by our own id."""
    again = msgspec.structs.replace(ROWS[3], request_id=f"{ROWS[3].request_id}:0199-1")
    found = agreement([*ROWS, again])
    assert not found.complete
    assert (found.missing, found.unbilled, found.duplicate) == (0, 0, 1)
    assert "booked 2 times: chatcmpl-3" in found.examples


def test_a_call_settled_twice() -> None:
    assert agreement([msgspec.structs.replace(ROWS[0], settled=2), *ROWS[1:]]).duplicate == 1


def test_a_call_billed_twice() -> None:
    assert agreement(ROWS, [*BILL, BILL[5]]).duplicate == 1


def test_one_nano_dollar_apart() -> None:
    found = agreement([booked(0, COST + 1), *ROWS[1:]])
    assert not found.complete
    assert (found.apart, found.apart_nano_usd, found.missing) == (1, 1, 0)


def test_differences_do_not_cancel_out() -> None:
    found = agreement([booked(0, COST + 7), booked(1, COST - 7), *ROWS[2:]])
    assert not found.complete
    assert (found.apart, found.apart_nano_usd) == (2, 14)


def test_a_log_row_that_shows_another_cost_than_its_entries() -> None:
    found = agreement([msgspec.structs.replace(ROWS[0], spend_usd=(COST + 5) / 1e9), *ROWS[1:]])
    assert (found.apart, found.apart_nano_usd) == (1, 5)


def test_a_log_row_without_entries() -> None:
    found = agreement([Booked("chatcmpl-0", COST / 1e9, None, 0), *ROWS[1:]])
    assert (found.apart, found.apart_nano_usd) == (1, COST)
    assert "there are log rows without a settled attempt" in found.other


def test_more_answers_than_either_knows() -> None:
    found = agreement(ROWS, answered=101)
    assert not found.complete
    assert found.other == ["101 calls were answered, 100 are booked"]


@pytest.mark.parametrize(
    "change",
    [
        {"cost_nano_usd": 100 * COST + 1},
        {"unended": 1},
        {"quarantined": 1},
        {"key_spend_usd": 101 * COST / 1e9},
    ],
)
def test_totals_that_the_rows_do_not_show(change: dict[str, float]) -> None:
    found = compare(BILL, msgspec.structs.replace(ledger(ROWS), **change), answered=100)
    assert not found.complete
    assert len(found.other) == 1


def test_empty_books_agree_with_an_empty_bill() -> None:
    assert compare([], ledger([]), answered=0).complete


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_ID = "0199c0de-0000-7000-8000-000000000{}0{}"


async def book(url: str, number: int, *, at: datetime = NOW, ended: bool = True) -> None:
    """A call with one attempt, as the poster leaves it."""
    connection = await asyncpg.connect(url)
    call, attempt = _ID.format(number, 0), _ID.format(number, 1)
    entry = "INSERT INTO bursar.entries (attempt_id, kind, slot, at, cost_nano_usd, evidence, body) "
    try:
        await connection.execute(entry + "VALUES ($1, 'open', 0, $2, NULL, NULL, '{}')", attempt, at)
        if not ended:
            return
        await connection.execute(entry + "VALUES ($1, 'settle', 1, $2, $3, 'provider', '{}')", attempt, at, COST)
        await connection.execute(
            'INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, spend, "startTime", "endTime", metadata) '
            "VALUES ($1, 'acompletion', $2, $3, $3, $4)",
            f"chatcmpl-{number}",
            COST / 1e9,
            at.replace(tzinfo=None),
            msgspec.json.encode({"bursar": {"call_id": call}}).decode(),
        )
        await connection.execute(
            "INSERT INTO \"LiteLLM_VerificationToken\" (token, spend) VALUES ('hash', $1) "
            'ON CONFLICT (token) DO UPDATE SET spend = "LiteLLM_VerificationToken".spend + excluded.spend',
            COST / 1e9,
        )
    finally:
        await connection.close()


async def test_what_the_database_holds_is_read(database_url: str) -> None:
    for number in (1, 2):
        await book(database_url, number)
    found = await _read(database_url)
    assert compare([billed(1), billed(2)], found, answered=2).complete
    assert not compare([billed(1), billed(2), billed(3)], found, answered=2).complete


async def test_an_attempt_without_an_end_is_read(database_url: str) -> None:
    await book(database_url, 1, ended=False)
    found = await _read(database_url)
    assert (found.rows, found.unended) == ([], 1)


async def test_waiting_counts_from_its_moment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await book(database_url, 1, at=NOW - timedelta(seconds=1))
    await book(database_url, 2)
    monkeypatch.setattr(books, "_SETTLE_PATIENCE_S", 0.05)

    def wait() -> None:
        reader = BooksReader(database_url)
        try:
            reader.wait_for_rows(1, since=NOW)
            reader.wait_for_rows(2, since=NOW - timedelta(seconds=1))
            with pytest.raises(BenchError, match="stays at 1 of 2"):
                reader.wait_for_rows(2, since=NOW)
            with pytest.raises(BenchError, match="1 calls were answered, and 2 are"):
                reader.wait_for_rows(1, since=NOW - timedelta(seconds=1))
        finally:
            reader.close()

    await asyncio.to_thread(wait)


async def _read(url: str) -> Ledger:
    def read() -> Ledger:
        reader = BooksReader(url)
        try:
            return reader.read()
        finally:
            reader.close()

    return await asyncio.to_thread(read)
