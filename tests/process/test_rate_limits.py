"""Rate limits over the workers of `bursar serve`: never more than the limit, and all of it."""

import asyncio
import json
import signal
import time
from collections.abc import Sequence

import asyncpg
import pytest

from tests.gateway.windows import within_one_minute
from tests.patience import PATIENCE_S
from tests.process.caller import Load, Received, load
from tests.process.calls import PLAIN, Kind
from tests.process.checks import GREETING, check_served
from tests.process.gateway import Gateway, MakeGateway, Oracle

QUICK = Kind("quick", "oracle?tokens=7")
ENDED = "SELECT lease_until - now() AS left FROM bursar.rate_workers WHERE ended"
TOKENS = 10 + 7
"""Of one such call: 27 bytes of prompt and a message, and the answer."""


async def new_key(gateway: Gateway, **limits: int) -> str:
    """A key with limits, made through the management API."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    body = json.dumps(limits).encode()
    writer.write(
        b"POST /key/generate HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
        % (gateway.key.encode(), len(body), body)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n", 1)[0])
    answer = json.loads(await reader.readexactly(length))
    writer.close()
    key = answer["key"]
    assert isinstance(key, str)
    return key


def tokens_of(received: Sequence[Received]) -> int:
    """What the answered ones have used."""
    return sum(json.loads(call.body)["usage"]["total_tokens"] for call in received if call.answered)


async def quiet(clients: Load, seconds: float) -> None:
    """Until nobody has been answered for so long."""
    answered, since = clients.answered, time.monotonic()
    while time.monotonic() - since < seconds:
        await asyncio.sleep(0.05)
        if clients.answered != answered:
            answered, since = clients.answered, time.monotonic()


@pytest.mark.parametrize(
    ("limits", "calls"), [({"rpm_limit": 300}, 300), ({"tpm_limit": 300 * TOKENS}, 300)], ids=["requests", "tokens"]
)
async def test_four_workers_together(
    oracle: Oracle, make_gateway: MakeGateway, limits: dict[str, int], calls: int
) -> None:
    gateway = make_gateway("--workers", "4", oracle=oracle)
    gateway.start()
    key = await new_key(gateway, **limits)
    await within_one_minute(25)
    minute = time.time() // 60
    async with load(gateway.port, key, [[QUICK]] * 12) as clients:
        await clients.until(answered=int(0.95 * calls))
        await quiet(clients, 2.0)
        received = list(clients.received)
    assert time.time() // 60 == minute, "the test took too long"
    assert tokens_of(received) <= calls * TOKENS
    assert {call.status for call in received if not call.answered} <= {0, 429}
    gateway.stop()


async def test_calls_at_a_time_over_two_workers(oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway("--workers", "2", oracle=oracle)
    gateway.start()
    key = await new_key(gateway, max_parallel_requests=4)
    slow = Kind("slow", "oracle?tokens=1&head_ms=3000")
    async with load(gateway.port, key, [[slow]] * 12) as clients:
        await clients.until(answered=1)
        received = list(clients.received)
    assert 1 <= sum(call.answered for call in received) <= 4
    assert any(call.status == 429 for call in received)
    gateway.stop()


async def test_what_a_killed_worker_had_is_free_once_its_journal_is_adopted(
    oracle: Oracle, make_gateway: MakeGateway
) -> None:
    gateway = make_gateway("--workers", "2", oracle=oracle, environ={"LITELLM_LOG": "INFO"})
    gateway.start()
    key = await new_key(gateway, rpm_limit=1000)
    async with load(gateway.port, key, [[PLAIN]] * 6) as clients:
        await clients.until(answered=50)
        gateway.workers()[0].signal(signal.SIGKILL)
        gateway.program.wait_for("journal.adopted")
        await clients.until(answered=1)
    connection = await asyncpg.connect(gateway.database_url())
    async with asyncio.timeout(PATIENCE_S):
        while not (
            rows := await connection.fetch("SELECT lease_until - now() AS left FROM bursar.rate_workers WHERE ended")
        ):
            await asyncio.sleep(0.05)
    await connection.close()
    [row] = rows
    assert row["left"].total_seconds() <= 60
    gateway.stop()


@pytest.mark.long
async def test_a_frozen_worker_admits_nothing_when_it_wakes(oracle: Oracle, make_gateway: MakeGateway) -> None:
    """Its share is others' by then: they have used up the limit while it slept."""
    gateway = make_gateway("--workers", "2", oracle=oracle)
    gateway.configure(
        (gateway.place / "config.yaml").read_text() + "bursar_settings: {rate_lease_s: 5}\n",
    )
    gateway.start()
    key = await new_key(gateway, rpm_limit=200)
    async with load(gateway.port, key, [[QUICK]] * 8) as clients:
        await clients.until(answered=20)
    frozen = gateway.workers()[0]
    frozen.signal(signal.SIGSTOP)
    await asyncio.sleep(75)  # the lease, and the end of the minute it ended in
    await within_one_minute(30)
    minute = time.time() // 60
    async with load(gateway.port, key, [[QUICK]] * 8) as clients:
        await clients.until(answered=190)
        frozen.signal(signal.SIGCONT)
        await quiet(clients, 3.0)
        received = list(clients.received)
    assert time.time() // 60 == minute, "the test took too long"
    assert 190 <= sum(call.answered for call in received) <= 200
    await check_served(gateway, GREETING)
    gateway.stop()
