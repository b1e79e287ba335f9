"""`bursar` with a trap: at the point that a file names, the process that gets there kills itself.

The file is one byte, the number of the point from 1; 0 is none. It is set to 0 by whoever dies, so that one death is
armed at a time. Run as `python -m tests.process.crashing serve …` with `CRASH_POINT` naming the file.
"""

import functools
import mmap
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

POINTS = (
    "before open",
    "after open",
    "after send",
    "mid stream",
    "after the last byte",
    "before the end",
    "after the end",
    "in the transaction",
    "before its acknowledgement",
)


class Trap:
    """The file, from the test's side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"\0")
        path.chmod(0o666)

    def arm(self, point: str) -> None:
        self._write(POINTS.index(point) + 1)

    @property
    def sprung(self) -> bool:
        """Somebody has died of it."""
        return self.path.read_bytes() == b"\0"

    def _write(self, number: int) -> None:
        with self.path.open("r+b") as file:  # in place: others have it mapped
            file.write(bytes([number]))


def _open_trap() -> Callable[[str], None]:
    file = os.open(os.environ["CRASH_POINT"], os.O_RDWR)
    armed = mmap.mmap(file, 1)
    numbers = {point: number for number, point in enumerate(POINTS, 1)}

    def here(point: str) -> None:
        if armed[0] == numbers[point]:
            armed[0] = 0
            os.kill(os.getpid(), signal.SIGKILL)

    return here


def set_trap() -> None:
    """Put the points where they belong."""
    from bursar.gateway.books import Books  # here, since the test's side needs none of it
    from bursar.gateway.chat import ChatCompletions
    from bursar.gateway.stream import StreamRelay
    from bursar.providers.native import NativeTransport
    from bursar.server import supervisor
    from bursar.store.database import Database
    from bursar.store.ledger import PostgresLedger

    supervisor._STABLE_S = 0.0  # whoever dies here has not died of being started
    here = _open_trap()

    def around(kind: Any, name: str, before: str | None = None, after: str | None = None) -> None:
        """A coroutine method with a point before or after it."""
        original: Callable[..., Awaitable[object]] = getattr(kind, name)

        @functools.wraps(original)
        async def wrapped(*arguments: Any, **named: Any) -> object:
            if before:
                here(before)
            result = await original(*arguments, **named)
            if after:
                here(after)
            return result

        setattr(kind, name, wrapped)

    around(Books, "open", before="before open", after="after open")
    around(NativeTransport, "send", after="after send")
    around(PostgresLedger, "post", after="before its acknowledgement")
    posting = ContextVar("posting", default=False)
    post = PostgresLedger._post

    @functools.wraps(post)
    async def marked_post(*arguments: Any, **named: Any) -> int:
        token = posting.set(True)
        try:
            return await post(*arguments, **named)
        finally:
            posting.reset(token)

    feed, charge, settle, transaction = StreamRelay.feed, ChatCompletions._charge, Books.settle, Database.transaction

    def trapped_feed(self: StreamRelay, *arguments: Any) -> bytes:
        if self.produced_output:
            here("mid stream")
        return feed(self, *arguments)

    def trapped_charge(self: ChatCompletions, *arguments: Any, **named: Any) -> Any:
        here("after the last byte")
        return charge(self, *arguments, **named)

    def trapped_settle(self: Books, *arguments: Any, **named: Any) -> None:
        here("before the end")
        settle(self, *arguments, **named)
        self.flush()
        here("after the end")

    @asynccontextmanager
    async def trapped_transaction(self: Database) -> AsyncIterator[Any]:
        async with transaction(self) as connection:
            yield connection
            if posting.get():
                here("in the transaction")

    StreamRelay.feed = trapped_feed  # type: ignore[method-assign,assignment]
    ChatCompletions._charge = trapped_charge  # type: ignore[method-assign]
    Books.settle = trapped_settle  # type: ignore[method-assign]
    PostgresLedger._post = marked_post  # type: ignore[method-assign]
    Database.transaction = trapped_transaction  # type: ignore[method-assign]


if __name__ == "__main__":
    from bursar.cli import main

    set_trap()
    main()
