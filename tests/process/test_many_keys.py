"""100,000 virtual keys: what they cost a gateway's start and its memory, and the database once they are known."""

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from tests.oracle.raw_client import Connection
from tests.process.gateway import EVERYTHING, Gateway, MakeGateway, Oracle

pytestmark = pytest.mark.long

KEYS = 100_000
WARM = 2_000
"""As many are asked with before memory is measured: what any load brings along is not the keys'."""
AGAIN = 20_000
START_MORE_S = 0.3
MEMORY_MORE_MB = 60.0
_CLIENTS = 8
_STARTS = 3
_REPORTED_S = 11.0
"""After ten seconds of rest at the latest a session of PostgreSQL's has told what it did."""
_CONFIG = EVERYTHING + "  user_api_key_cache_ttl: 600  # a key is looked at again in the background after this time\n"


def key(number: int) -> str:
    return f"sk-one-of-many-{number:09d}"


async def make_keys(connection: asyncpg.Connection) -> None:
    """As `/key/generate` leaves them, with an owner, a list of models and some metadata."""
    await connection.execute(
        """INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, user_id, models, metadata)
        SELECT encode(sha256(convert_to('sk-one-of-many-' || lpad(n::text, 9, '0'), 'UTF8')), 'hex'),
            'sk-...' || right(n::text, 4), 'key-' || n, 'user-' || n % 1000, '{oracle,at/*}', '{"team": "of many"}'
        FROM generate_series(0, $1 - 1) AS n""",
        KEYS,
    )
    await connection.execute('ANALYZE "LiteLLM_VerificationToken"')


def start_s(gateway: Gateway) -> float:
    """The quickest of some starts; the last one goes on running."""
    found = []
    for number in range(_STARTS):
        if number:
            assert gateway.stop() == 0
        gateway.start()
        found.append(gateway.program.age_s)
    return min(found)


def memory_mb(gateway: Gateway) -> float:
    """Of the worker, without what it shares with its parent."""
    [worker] = gateway.workers()
    text = Path(f"/proc/{worker.pid}/smaps_rollup").read_text()
    return sum(int(found) for found in re.findall(r"^Private_\w+: +(\d+) kB$", text, re.MULTILINE)) / 1024


async def ask_with(gateway: Gateway, numbers: Sequence[int]) -> None:
    """A request with each of these keys."""

    async def client(own: Sequence[int]) -> None:
        connection = await Connection.to(gateway.port)
        for number in own:
            connection.writer.write(
                f"GET /v1/models/none HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key(number)}\r\n\r\n".encode()
            )
            answer = await connection.answer()
            assert answer.status == 404, answer.body  # of the model, not of the key
        await connection.close()

    await asyncio.gather(*(client(numbers[first::_CLIENTS]) for first in range(_CLIENTS)))


async def transactions(connection: asyncpg.Connection) -> int:
    """All that the database has seen by now."""
    await asyncio.sleep(_REPORTED_S)
    found = await connection.fetchval(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    )
    assert isinstance(found, int)
    return found


async def test_many_keys(make_gateway: MakeGateway, oracle: Oracle, database_url: str) -> None:
    gateway = make_gateway(oracle=oracle, config=_CONFIG, environ={"DATABASE_URL": database_url})
    empty_s = await asyncio.to_thread(start_s, gateway)
    assert gateway.stop() == 0
    connection = await asyncpg.connect(database_url)
    await make_keys(connection)
    full_s = await asyncio.to_thread(start_s, gateway)

    await ask_with(gateway, range(WARM))
    before_mb = memory_mb(gateway)
    began = time.monotonic()
    await ask_with(gateway, range(WARM, KEYS))
    took_s = time.monotonic() - began
    more_mb = (memory_mb(gateway) - before_mb) * KEYS / (KEYS - WARM)

    known = await transactions(connection)
    await ask_with(gateway, range(KEYS - AGAIN, KEYS))
    asked = await transactions(connection) - known
    print(
        f"start {empty_s:.2f} s, with {KEYS} keys {full_s:.2f} s; {more_mb:.1f} MB; {took_s:.0f} s to ask with all of"
        f" them; {asked} transactions while asking with {AGAIN} again"
    )
    assert full_s - empty_s <= START_MORE_S
    assert more_mb <= MEMORY_MORE_MB
    assert asked < AGAIN / 100, "what a gateway does anyway"
    await connection.close()
    assert gateway.stop() == 0
