"""The default transport: HTTP/1.1 over asyncio streams of our own, one pool of kept-alive connections per origin.

Why not a library: the accounting must know whether a byte was written (only then may a failure be booked as void), and
a relayed chunk costs a third of what the fastest library needs (docs/decisions/0003-own-http.md).

An idle connection keeps reading, so one that the peer closes leaves the pool at once. What is left is the race where
the peer closes while a request is on its way: that request fails with `reused=True`.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import cast

import httptools

from bursar.domain.egress import Egress
from bursar.ports.upstream import FailureKind, TransportError, UpstreamRequest, UpstreamResponse
from bursar.providers.resolving import ForbiddenAddress, resolved
from bursar.wire.http import Origin, RawHeaders, field_lines, header

_HEAD_MAX_BYTES = 256 * 1024
_READ_HIGH_WATER = 512 * 1024
_IDLE_MAX_S = 60.0
"""An unused connection is closed after so long: below the keep-alive times of the common servers and load balancers
in front of providers, so that we close first."""
_SWEEP_S = 0.25


class NativeTransport:
    """Implements `ports.upstream.Transport`. Made inside a running loop."""

    def __init__(self, *, max_connections_per_host: int = 1000, tls: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._limit = max_connections_per_host
        self._pools: dict[Origin, _Pool] = {}
        self._active: set[_Connection] = set()
        self._sweep()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """See `ports.upstream.Transport.send`."""
        pool = self._pools.get(request.origin)
        if pool is None:
            pool = self._pools[request.origin] = _Pool(request.origin)
        connection = pool.take()
        if connection is None:
            connection = await self._open(pool, request.timeouts.connect_s)
        self._active.add(connection)
        try:
            await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _open(self, pool: "_Pool", connect_s: float) -> "_Connection":
        """A new connection, as soon as the pool's bound allows one; or one that came back while waiting."""
        deadline = self._loop.time() + connect_s
        while pool.open >= self._limit:
            waiter = pool.wait(self._loop)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                raise TransportError(
                    FailureKind.POOL, f"all {self._limit} connections are in use", sent=False
                ) from None
            finally:
                pool.waiting.discard(waiter)
            if (connection := pool.take()) is not None:
                return connection
        pool.open += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await self._connect(pool)
        except BaseException as error:
            pool.closed()
            if isinstance(error, TimeoutError):
                raise TransportError(
                    FailureKind.CONNECT_TIMEOUT, f"no connection in {connect_s:g} s", sent=False
                ) from None
            raise

    async def _connect(self, pool: "_Pool") -> "_Connection":
        origin = pool.origin
        tls = self._context() if origin.scheme == "https" else None
        try:
            return await self._connect_to(pool, origin.host, tls)
        except ForbiddenAddress as error:
            raise TransportError(FailureKind.DNS, str(error), sent=False) from error
        except socket.gaierror as error:
            raise TransportError(FailureKind.DNS, error.strerror or "name not found", sent=False) from error
        except ssl.SSLError as error:
            raise TransportError(FailureKind.TLS, error.reason or "handshake failed", sent=False) from error
        except OSError as error:
            raise TransportError(FailureKind.CONNECT, error.strerror or type(error).__name__, sent=False) from error

    async def _connect_to(self, pool: "_Pool", host: str, tls: ssl.SSLContext | None) -> "_Connection":
        """Where not every address will do, to one that was looked at: a second look-up could find others.

        Raises ForbiddenAddress, OSError.
        """
        origin = pool.origin
        hosts = [host] if origin.egress is Egress.ANY else await resolved(origin)
        name = host if tls is not None else None
        for index, address in enumerate(hosts, 1):
            try:
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self, pool), address, origin.port, ssl=tls, server_hostname=name
                )
            except ssl.SSLError:
                raise
            except OSError:
                if index == len(hosts):
                    raise
            else:
                return connection
        raise OSError("no address")

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def released(self, connection: "_Connection") -> None:
        """The connection's exchange has ended, whichever way."""
        self._active.discard(connection)

    def _sweep(self) -> None:
        """One timer for all deadlines: they need not be exact, and a timer for each chunk would cost more than it."""
        now = self._loop.time()
        for connection in [c for c in self._active if c.deadline_s < now]:
            connection.timed_out()
        for pool in self._pools.values():
            while pool.idle and pool.idle[0].idle_since_s < now - _IDLE_MAX_S:
                pool.idle[0].close()
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep)

    async def aclose(self) -> None:
        """See `ports.upstream.Transport.aclose`."""
        self._timer.cancel()
        for pool in self._pools.values():
            for connection in list(pool.idle):
                connection.close()


class _Pool:
    """Connections to one origin: the idle ones, oldest first, and how many there are in all."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.idle: deque[_Connection] = deque()
        self.open = 0
        self.waiting: set[asyncio.Future[None]] = set()
        self._queue: deque[asyncio.Future[None]] = deque()

    def take(self) -> "_Connection | None":
        """The connection used last: the likeliest to be alive, and the rest grow old enough to be closed."""
        while self.idle:
            connection = self.idle.pop()
            if connection.alive:
                return connection
        return None

    def put(self, connection: "_Connection") -> None:
        self.idle.append(connection)
        self._wake()

    def closed(self) -> None:
        self.open -= 1
        self._wake()

    def wait(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        waiter = loop.create_future()
        self.waiting.add(waiter)
        self._queue.append(waiter)
        return waiter

    def _wake(self) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            if waiter in self.waiting and not waiter.done():
                waiter.set_result(None)
                return


class _Connection(asyncio.Protocol):
    """One connection and, while in use, the one exchange on it: it is its own `UpstreamResponse`."""

    def __init__(self, owner: NativeTransport, pool: _Pool) -> None:
        self._owner = owner
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._served = 0
        self.idle_since_s = 0.0
        self.deadline_s = float("inf")
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self._in_use = False
        self._head_bytes = 0
        self._head_done = False
        self._complete = False
        self._framed = False
        self._keep_alive = False
        self._interim = False
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._reading_paused = False
        self._error: TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._idle_s = 0.0

    # Used by the transport

    @property
    def alive(self) -> bool:
        """Nothing is known against it; the peer may still be closing it at this moment."""
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: UpstreamRequest) -> None:
        """Write the request and wait for the head of its answer."""
        if self._served:
            self._begin()
        self._served += 1
        self._in_use = True
        self._idle_s = request.timeouts.idle_s
        self.deadline_s = self._loop.time() + request.timeouts.response_s
        assert self._transport is not None
        request.sent = True
        self._transport.write(_encode(request))
        while not self._head_done:
            await self._event()

    def timed_out(self) -> None:
        kind = FailureKind.IDLE_TIMEOUT if self._head_done else FailureKind.RESPONSE_TIMEOUT
        self._fail(kind, "the provider sent nothing in time")
        self.close()

    # `UpstreamResponse`

    async def read(self) -> bytes:
        """See `ports.upstream.UpstreamResponse.read`."""
        while not self._pieces:
            if self._complete:
                return b""
            self.deadline_s = self._loop.time() + self._idle_s
            await self._event()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        # Between reads the client sets the pace, and a slow one is no fault of the provider's.
        self.deadline_s = float("inf")
        return data

    def close(self) -> None:
        """See `ports.upstream.UpstreamResponse.close`."""
        self._owner.released(self)
        if not self._in_use:
            self._discard()
            return
        self._in_use = False
        if self._complete and self._keep_alive and self._error is None and not self._lost:
            self.idle_since_s = self._loop.time()
            self._pool.put(self)
        else:
            self._discard()

    def _discard(self) -> None:
        if self in self._pool.idle:
            self._pool.idle.remove(self)
        if self._transport is not None:
            self._transport.abort()

    async def _event(self) -> None:
        """Wait for the next thing to happen; raise what has gone wrong."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: FailureKind, detail: str) -> None:
        if self._error is None:
            self._error = TransportError(kind, detail, sent=True, reused=self._served > 1)
        self._wake()

    # The transport beneath (asyncio)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it

    def connection_lost(self, exc: Exception | None) -> None:
        del self._parser  # it holds our methods: together we are a cycle, which only the garbage collector ends
        self._lost = True
        self._pool.closed()
        if not self._in_use:
            self._discard()
        elif self._head_done and not self._framed and exc is None:
            self._complete = True  # neither length nor chunks: the end of the connection is the end of the body
            self._wake()
        elif not self._complete:
            reason = "" if exc is None else f": {exc}"
            if self._head_done:
                self._fail(FailureKind.TRUNCATED, f"the connection ended inside the answer{reason}")
            else:
                self._fail(FailureKind.CLOSED, f"the connection ended before the answer{reason}")

    def data_received(self, data: bytes) -> None:
        if not self._in_use:
            self._discard()  # an answer nobody asked for
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(FailureKind.PROTOCOL, f"not HTTP: {error}")
            return
        if not self._head_done and self._head_bytes > _HEAD_MAX_BYTES:
            self._fail(FailureKind.PROTOCOL, f"the answer's header is larger than {_HEAD_MAX_BYTES} bytes")
        if self._head_done:
            self._wake()

    # The parser (llhttp)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim:
            self.headers = []
            return
        self.status = status
        self._framed = (
            header(self.headers, b"content-length") is not None
            or header(self.headers, b"transfer-encoding") is not None
            or status in (204, 304)
        )
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._buffered += len(body)
        if self._buffered > _READ_HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self._interim:
            self._complete = True
            self._keep_alive = self._framed and self._parser.should_keep_alive()  # meaningful in this callback only


def _encode(request: UpstreamRequest) -> bytes:
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
        request.method.encode("ascii"),
        request.target.encode("ascii"),
        request.origin.authority.encode("idna" if not request.origin.authority.isascii() else "ascii"),
        request.lines or field_lines(request.headers),
        len(request.body),
        request.body,
    )
