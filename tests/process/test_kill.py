"""kill -9 of everything, under load: what a client was told is on record, once, at the provider's price."""

import asyncio
import random

import pytest

from tests.process.caller import Received, load
from tests.process.calls import EXACT, PACED, PLAIN, STREAM, Kind
from tests.process.checks import check_after_deaths
from tests.process.gateway import Gateway, MakeGateway, Oracle

SEED = 20_261_121
CLIENTS: list[list[Kind]] = [
    *([[PLAIN]] * 6),
    *([[STREAM]] * 4),
    *([[PACED]] * 8),
    *([[kind for kind in EXACT if kind.name != "late"]] * 6),
]


async def one_round(gateway: Gateway, answers: int) -> list[Received]:
    """Start, call, kill after so many answers; what the clients saw."""
    gateway.start()
    async with load(gateway.port, gateway.key, CLIENTS) as clients:
        await clients.until(answered=answers)
        await asyncio.to_thread(gateway.program.kill_all)
        await clients.ended()
    return clients.received


async def survives(rounds: int, workers: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway("--workers", str(workers), oracle=oracle)
    draw = random.Random(SEED)
    received: list[Received] = []
    for _ in range(rounds):
        received += await one_round(gateway, draw.randrange(50, 800))
    gateway.start()
    answered = {call.mark for call in received if call.answered}
    await check_after_deaths(gateway, oracle, received)
    assert gateway.stop() == 0
    cut_off = len(received) - len(answered)
    print(f"{rounds} kills, {workers} workers: {len(answered)} answers, all in the ledger once; {cut_off} cut off")


@pytest.mark.parametrize("workers", [1, 2])
async def test_two_rounds(workers: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    await survives(2, workers, oracle, make_gateway)


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
async def test_ten_rounds(workers: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    await survives(10, workers, oracle, make_gateway)
