"""Sessions of processes that are frozen: the database ends them, wherever in a statement they stopped."""

import asyncio
import struct

import pytest

from bursar.store.database import DatabaseOptions, connect, end_stalled

_LOCKED = "SELECT pg_advisory_xact_lock(4711)"


def parse_message(query: str) -> bytes:
    """The first message of an extended query; whoever sends it has to bind, execute and sync."""
    body = b"\x00" + query.encode() + b"\x00" + struct.pack("!h", 0)
    return b"P" + struct.pack("!i", len(body) + 4) + body


@pytest.mark.long
@pytest.mark.parametrize("in_a_statement", [False, True])
async def test_a_client_that_stops_gives_its_locks_up(empty_database: str, *, in_a_statement: bool) -> None:
    """Between two statements, and between the messages of one, when no timer of idle sessions runs."""
    options = DatabaseOptions({"dsn": empty_database})
    frozen, waiting, other = [await connect(options) for _ in range(3)]
    try:
        await frozen.execute("BEGIN")
        await frozen.execute(_LOCKED)
        if in_a_statement:
            frozen._transport.write(parse_message("SELECT 1") + b"H\x00\x00\x00\x04")
        async with asyncio.timeout(30):
            lock = asyncio.create_task(waiting.execute(_LOCKED))
            while not lock.done():
                await end_stalled(other)
                await asyncio.sleep(1)
            await lock
        assert frozen.is_closed()
    finally:
        frozen.terminate()
        waiting.terminate()
        other.terminate()
