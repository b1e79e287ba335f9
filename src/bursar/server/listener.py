"""The HTTP server of one worker: accepts connections, has requests answered, watches deadlines, ends gracefully."""

import asyncio
import logging
import ssl
import time
from email.utils import formatdate
from socket import socket

from bursar.ports.http import Handler
from bursar.server.connection import Exchange, HttpConnection
from bursar.server.limits import Limits
from bursar.tasks import TaskOwner
from bursar.wire.http import JSON, Request
from bursar.wire.openai_error import error_body

log = logging.getLogger(__name__)

_SWEEP_S = 0.5
"""How often deadlines are looked at: one timer for all connections, since a timer for each costs more than they are
worth and no deadline here needs to be exact."""


_LINGER_S = 0.5


class HttpServer:
    """Serves `handler` on listening sockets. Made inside a running loop."""

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.closing = False
        self._handler = handler
        self._tasks = TaskOwner("http")
        self._loop = asyncio.get_running_loop()
        self._connections: set[HttpConnection] = set()
        self._listeners: list[asyncio.Server] = []
        self._date = b""
        self._empty = asyncio.Event()
        self._empty.set()
        self._sweep()

    async def listen(self, sock: socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Begin to accept on a bound socket."""
        self._listeners.append(
            await self._loop.create_server(
                lambda: HttpConnection(self, self._loop), sock=sock, ssl=tls, backlog=2048, start_serving=True
            )
        )

    @property
    def in_flight(self) -> int:
        """Requests being answered, those whose client has left included."""
        return len(self._tasks)

    # What connections ask of their server

    def opened(self, connection: HttpConnection) -> None:
        self._connections.add(connection)
        self._empty.clear()

    def closed(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def date_line(self) -> bytes:
        """The Date field (RFC 9110, 6.6.1), made once for each sweep."""
        return self._date

    def serve(self, request: Request, exchange: Exchange) -> None:
        self._tasks.start(self._serve(request, exchange))

    async def _serve(self, request: Request, exchange: Exchange) -> None:
        try:
            await self._handler(request, exchange)
        except Exception:  # the outermost edge of a request: logged, and answered without details
            log.exception("http.handler_failed method=%s path=%s", request.method, request.path)
            if not exchange.started:
                body = error_body("An internal error occurred.", "internal_server_error", None, "500")
                exchange.send(500, JSON, body)
        finally:
            exchange.done()

    def _sweep(self) -> None:
        now = self._loop.time()
        self._date = b"date: %b\r\n" % formatdate(time.time(), usegmt=True).encode("ascii")
        for connection in [c for c in self._connections if c.deadline_s < now]:
            connection.timed_out()
        stuck = now - self.limits.write_timeout_s
        for connection in [c for c in self._connections if c.writing_paused_at is not None]:
            if connection.writing_paused_at is not None and connection.writing_paused_at < stuck:
                connection.transport.abort()
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep)

    async def _linger(self, seconds: float) -> None:
        """Give idle connections time for a request that may be on its way: it is answered, and then they are closed. A
        connection that is closed under a request fails it, and its client cannot know whether to repeat it."""
        until_s = self._loop.time() + seconds
        while self._connections and not self._tasks and self._loop.time() < until_s:  # noqa: ASYNC110  # three conditions
            await asyncio.sleep(0.02)

    async def close(self, grace_s: float) -> bool:
        """Stop accepting, let what is under way end within `grace_s` seconds, then cancel it.

        Handlers see `CancelledError` and book what they have. True when nothing had to be cancelled.
        """
        self.closing = True
        for listener in self._listeners:
            listener.close()
        until_s = self._loop.time() + grace_s
        while finished := await self._tasks.finish(max(until_s - self._loop.time(), 0.0)):
            await self._linger(min(until_s - self._loop.time(), _LINGER_S))
            if not self._tasks:
                break
        if not finished:
            log.warning("http.grace_expired in_flight=%d grace_s=%g", len(self._tasks), grace_s)
            await self._tasks.cancel()
        for connection in list(self._connections):
            connection.transport.close()
        try:
            async with asyncio.timeout(1.0):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.transport.abort()
        self._timer.cancel()
        return finished
