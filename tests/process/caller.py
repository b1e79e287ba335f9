"""Clients under load: each call has a mark of its own, which arrives both in the log row and on the provider's bill."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import cycle
from uuid import uuid4

from tests.process.calls import Kind, Leave

_PATIENCE_S = 60.0


@dataclass
class Received:
    """What a client got of one call."""

    kind: Kind
    mark: str
    status: int = 0
    body: bytes = b""
    complete: bool = False
    """All of it came: by its length, or to the last chunk; of a stream, `[DONE]` as well."""
    left: bool = False
    """The client hung up, as its kind says."""
    refused: bool = False
    """There was nobody to call."""
    took_s: float = 0.0

    @property
    def answered(self) -> bool:
        """A whole answer, not an error."""
        return self.complete and self.status == 200 and b'"error"' not in self.body


class _Left(Exception):
    """The client has hung up on purpose."""


class Caller:
    """One client with one connection, which is kept alive while it can be."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, kind: Kind, *, first_content: asyncio.Event | None = None) -> Received:
        """One call, whatever becomes of it. `first_content` is set when the first piece of the answer is there."""
        received = Received(kind, f"{kind.name}-{uuid4().hex}")
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._exchange(received, first_content)
        except ConnectionRefusedError:
            received.refused = True
        except _Left:
            received.left = True
        except (OSError, asyncio.IncompleteReadError):
            pass  # it was cut off: what came stands in `received`
        received.took_s = time.monotonic() - begun
        if not received.complete:
            self.close()
        return received

    async def _exchange(self, received: Received, first_content: asyncio.Event | None) -> None:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        kind, reader = received.kind, self._reader
        self._writer.write(self._request(kind, received.mark))
        if kind.leave is Leave.BEFORE_THE_ANSWER:
            await self._writer.drain()
            raise _Left
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        received.status = int(head.split(b" ", 2)[1])
        if b"\r\ntransfer-encoding: chunked\r\n" in head:
            while piece := await self._chunk(reader):
                received.body += piece
                if first_content is not None and b'"content":"' in received.body:
                    first_content.set()
                if kind.leave is Leave.IN_THE_MIDDLE and b'"content":"' in received.body:
                    raise _Left
            received.complete = received.body.endswith(b"data: [DONE]\n\n")
        else:
            length = int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n", 1)[0])
            received.body = await reader.readexactly(length)
            received.complete = True
        if b"\r\nconnection: close\r\n" in head:
            self.close()

    async def _chunk(self, reader: asyncio.StreamReader) -> bytes:
        size = int(await reader.readuntil(b"\r\n"), 16)
        return (await reader.readexactly(size + 2))[:-2]

    def _request(self, kind: Kind, mark: str) -> bytes:
        body = json.dumps(kind.body).encode()
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer %b\r\n"
            b"x-litellm-call-id: %b\r\nx-client-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
        ) % (self._key.encode(), mark.encode(), mark.encode(), len(body), body)

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def call_all(port: int, key: str, kinds: Sequence[Kind], *, concurrency: int) -> list[Received]:
    """Make all the calls, so many at once; what came of them."""
    waiting = iter(kinds)
    received: list[Received] = []

    async def work() -> None:
        with closing(Caller(port, key)) as caller:
            for kind in waiting:  # which all workers share
                answer = await caller.call(kind)
                received.append(answer)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())
    return received


class Load:
    """Clients that call without end; `received` grows."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()

    async def ended(self) -> None:
        """Wait until nobody is answered any more, and all that had come has been read: also what came last."""
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.gather(*self.tasks)

    async def work(self, port: int, key: str, kinds: Sequence[Kind]) -> None:
        """One client, until nobody answers it any more."""
        with closing(Caller(port, key)) as caller:
            for kind in cycle(kinds):
                received = await caller.call(kind)
                if received.refused:
                    return
                async with self._news:
                    self.received.append(received)
                    self._news.notify_all()

    async def until(self, answered: int) -> None:
        """Wait until so many more calls were answered whole."""
        target = self.answered + answered
        async with asyncio.timeout(_PATIENCE_S), self._news:
            await self._news.wait_for(lambda: self.answered >= target)

    @property
    def answered(self) -> int:
        """Calls with a whole answer so far."""
        return sum(received.answered for received in self.received)


@asynccontextmanager
async def load(port: int, key: str, clients: Sequence[Sequence[Kind]]) -> AsyncIterator[Load]:
    """Clients at work, each going round its kinds, for as long as the block lasts or the gateway lives."""
    running = Load()
    running.tasks = [asyncio.ensure_future(running.work(port, key, kinds)) for kinds in clients]
    try:
        yield running
    finally:
        for task in running.tasks:
            task.cancel()
        await asyncio.gather(*running.tasks, return_exceptions=True)
