"""Reports read few at a time, for a bounded time, and change nothing."""

import asyncio

import asyncpg
import msgspec
import pytest

from bursar.domain.errors import StoreBusy, StoreRefused, StoreTooSlow
from bursar.domain.reports import Days
from bursar.store.database import Database
from bursar.store.reports import AT_ONCE, PostgresReportNames, ReportReader
from bursar.store.spend_totals import PostgresSpendTotals


async def test_so_many_at_a_time_and_the_others_wait(database: Database) -> None:
    reader = ReportReader(database)
    under_way, most = 0, 0

    async def read() -> None:
        nonlocal under_way, most
        async with reader.reading() as connection:
            under_way += 1
            most = max(most, under_way)
            await connection.fetchval("SELECT pg_sleep(0.02)")
            under_way -= 1

    await asyncio.gather(*(read() for _ in range(8)))
    assert most == AT_ONCE


async def test_who_waits_too_long_is_told(database: Database) -> None:
    reader = ReportReader(database, wait_s=0.01)
    async with reader.reading(), reader.reading():
        with pytest.raises(StoreBusy):
            async with reader.reading():
                pass
    async with reader.reading() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_statement_may_take_so_long(database: Database) -> None:
    reader = ReportReader(database, timeout_s=0.05)
    with pytest.raises(StoreTooSlow):
        async with reader.reading() as connection:
            await connection.fetchval("SELECT pg_sleep(5)")
    async with database.connection() as connection:  # what is set for a report ends with it
        assert await connection.fetchval("SHOW statement_timeout") == "0"


async def test_reports_cannot_write(database: Database) -> None:
    with pytest.raises(Exception) as caught:
        async with ReportReader(database).reading() as connection:
            await connection.execute('DELETE FROM "LiteLLM_SpendLogs"')
    assert isinstance(caught.value.__cause__, asyncpg.ReadOnlySQLTransactionError)


async def test_values_that_no_row_can_have(database: Database) -> None:
    names = PostgresReportNames(ReportReader(database))
    with pytest.raises(StoreRefused):
        await names.keys_of("a\x00b")
    assert await names.keys_of("a") == []


async def test_customers_beyond_the_greatest_are_added_up(database: Database) -> None:
    """So that a day adds up to what was spent on it."""
    async with database.connection() as connection:
        await connection.execute(
            """INSERT INTO "LiteLLM_DailyEndUserSpend" (id, end_user_id, date, api_key, model, spend, updated_at)
            SELECT 'd' || n, 'c' || n, '2026-01-02', 'k', 'm', n, now() FROM generate_series(1, 5) AS n"""
        )
    totals = PostgresSpendTotals(ReportReader(database))
    days = Days("2026-01-01", "2026-01-03")
    [day] = msgspec.json.decode(await totals.report_by_customer(days, customer_id=None, others="rest", most=2))
    assert [(one["customer"], one["total_spend"]) for one in day["customers"]] == [("c5", 5), ("c4", 4), ("rest", 6)]
    [day] = msgspec.json.decode(await totals.report_by_customer(days, customer_id="c1", others="rest", most=2))
    assert [one["customer"] for one in day["customers"]] == ["c1"]
