"""The ledger equals the provider's bill, whatever the calls were."""

import random

import pytest

from tests.process.books import Differences, compare, read_books
from tests.process.caller import call_all
from tests.process.calls import EXACT, HANG_UPS, REFUSED, UNTOLD, Kind
from tests.process.gateway import MakeGateway, Oracle

SEED = 20_261_121


def mixed(count: int) -> list[Kind]:
    """So many calls of all kinds, shuffled the same way each time."""
    draw = random.Random(SEED)
    weighted = [(EXACT, 70), (HANG_UPS, 12), (REFUSED, 13), (UNTOLD, 5)]
    groups = draw.choices([kinds for kinds, _ in weighted], [weight for _, weight in weighted], k=count)
    every = [*EXACT, *HANG_UPS, *REFUSED, *UNTOLD]
    return [*every, *(draw.choice(kinds) for kinds in groups)][:count]


async def equal_after(
    calls: int, workers: int, oracle: Oracle, make_gateway: MakeGateway, database_url: str, *, concurrency: int = 32
) -> None:
    gateway = make_gateway("--workers", str(workers), oracle=oracle, environ={"DATABASE_URL": database_url})
    gateway.start()
    received = await call_all(gateway.port, gateway.key, mixed(calls), concurrency=concurrency)
    assert gateway.stop() == 0
    books = await read_books(database_url)
    assert len(received) == len(books.rows) == calls
    bill = oracle.bill()
    assert compare(books, bill, received) == Differences()
    assert (books.unended, books.quarantined) == (0, 0)
    billed = sum(line.cost_nano_usd for line in bill)
    print(f"{calls} calls, {workers} workers: {len(bill)} billed at {billed} nano-dollars; 0 missing, 0 twice, 0 apart")


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_thousand_mixed_calls(
    workers: int, oracle: Oracle, make_gateway: MakeGateway, database_url: str
) -> None:
    await equal_after(1000, workers, oracle, make_gateway, database_url)


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
async def test_twenty_thousand_mixed_calls(
    workers: int, oracle: Oracle, make_gateway: MakeGateway, database_url: str
) -> None:
    await equal_after(20_000, workers, oracle, make_gateway, database_url, concurrency=64)
