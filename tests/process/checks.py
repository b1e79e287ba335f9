"""What must hold of a gateway again and again."""

import asyncio
from collections.abc import Sequence

from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.process.books import Books, Differences, Row, books_with, compare
from tests.process.caller import Received, call_all
from tests.process.calls import Kind
from tests.process.gateway import Gateway, Oracle

GREETING = Kind("greeting", "demo")


async def check_books(gateway: Gateway, oracle: Oracle, received: Sequence[Received]) -> None:
    """Everything answered is on record, at the bill's price; what was cut off is marked."""
    answered = {call.mark for call in received if call.answered}
    books = await books_with(gateway.database_url(), lambda: answered, ended=False)
    recorded = [call for call in received if call.mark in books.marks]
    assert compare(books, [line for line in oracle.bill() if line.attempt in books.marks], recorded) == Differences()
    await check_audit(gateway)


async def check_served(gateway: Gateway, kind: Kind = GREETING) -> None:
    """A call is answered, now."""
    [received] = await call_all(gateway.port, gateway.key, [kind], concurrency=1)
    assert received.answered, received


async def until_served(gateway: Gateway, kind: Kind = GREETING) -> None:
    """Until a call is answered."""
    async with asyncio.timeout(30):
        while not (await call_all(gateway.port, gateway.key, [kind], concurrency=1))[0].answered:
            await asyncio.sleep(0.05)


async def check_after_deaths(gateway: Gateway, oracle: Oracle, received: Sequence[Received]) -> Books:
    """What was answered is booked at the bill's price; what was billed is booked, exactly or as an estimate
    that is within what was held for it, if anything was."""
    answered = {call.mark for call in received if call.answered}
    books = await books_with(gateway.database_url(), lambda: answered | set(_bill_of(oracle)), ended=True)
    assert _differences(books, _bill_of(oracle), answered) == []
    assert books.quarantined == 0
    await check_audit(gateway)
    return books


async def check_audit(gateway: Gateway) -> None:
    """The books close."""
    database = Database(DatabaseOptions({"dsn": gateway.database_url()}))
    try:
        found = await audit(database)
    finally:
        await database.close()
    assert found.closes, found.as_text()


def _bill_of(oracle: Oracle) -> dict[str, int]:
    """What the provider charges for each call."""
    return {str(line.attempt): line.cost_nano_usd for line in oracle.bill()}


def _differences(books: Books, bill: dict[str, int], answered: set[str]) -> list[tuple[str, Row | None, int | None]]:
    rows = {row.mark: row for row in books.rows}
    assert len(rows) == len(books.rows), "a call has two rows"
    found: list[tuple[str, Row | None, int | None]] = []
    for mark in rows.keys() | bill.keys():
        row, charged = rows.get(mark), bill.get(mark)
        if row is None:
            found.append((mark, row, charged))
        elif row.evidence == "estimated":
            if mark in answered or (row.hold_nano_usd is not None and row.cost_nano_usd > row.hold_nano_usd):
                found.append((mark, row, charged))
        elif row.cost_nano_usd != (charged or 0):
            found.append((mark, row, charged))
    return found
