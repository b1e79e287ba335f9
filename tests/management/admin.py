"""What an administrator does over HTTP, for tests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.gateway.running import MASTER_KEY, Gateway
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S


async def does(gateway: Gateway, method: str, path: str, body: object = None, *, key: str = MASTER_KEY) -> Any:
    """A request that has to succeed; what it answers."""
    answer = await gateway.request(method, path, body, key=key)
    assert answer.status == 200, (path, body, answer.body)
    return answer.json


async def refused(
    gateway: Gateway, method: str, path: str, body: object = None, *, status: int, word: str, key: str = MASTER_KEY
) -> Answer:
    """A request that has to be refused, in words that hold `word`."""
    answer = await gateway.request(method, path, body, key=key)
    assert (answer.status, word in answer.body.decode()) == (status, True), (path, answer.status, answer.body)
    return answer


async def soon(call: Callable[[], Awaitable[Answer]], status: int, word: str = "") -> Answer:
    """The first answer with `status` and `word`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await call()
            if answer.status == status and word in answer.body.decode():
                return answer
            await asyncio.sleep(0.02)


def error_of(answer: Answer) -> tuple[int, str]:
    """Status and type."""
    return answer.status, answer.json["error"]["type"]
