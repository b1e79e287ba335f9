"""What must hold of a gateway again and again."""

import asyncio
from collections.abc import Sequence

from tests.process.books import Differences, books_when, compare
from tests.process.caller import Received, call_all
from tests.process.calls import Kind
from tests.process.gateway import Gateway, Oracle

GREETING = Kind("greeting", "demo")


async def check_books(gateway: Gateway, oracle: Oracle, received: Sequence[Received]) -> None:
    """Everything answered is on record, at the bill's price; what was cut off is marked."""
    answered = {call.mark for call in received if call.answered}
    books = await books_when(gateway.database_url(), lambda books: books.unmarked == 0 and answered <= books.marks)
    recorded = [call for call in received if call.mark in books.marks]
    assert compare(books, [line for line in oracle.bill() if line.attempt in books.marks], recorded) == Differences()


async def check_served(gateway: Gateway, kind: Kind = GREETING) -> None:
    """A call is answered, now."""
    [received] = await call_all(gateway.port, gateway.key, [kind], concurrency=1)
    assert received.answered, received


async def until_served(gateway: Gateway, kind: Kind = GREETING) -> None:
    """Until a call is answered."""
    async with asyncio.timeout(30):
        while not (await call_all(gateway.port, gateway.key, [kind], concurrency=1))[0].answered:
            await asyncio.sleep(0.05)
