"""One client connection: HTTP/1.1 by llhttp's strict rules, with bounds on size and time, keep-alive and pipelining.

A connection is in one of four phases:

    idle ── first byte ──> head ── header complete ──> body ── body complete ──> (request queued) ──> idle
                             └─────────── anything wrong: refuse ──────────────────┘──> closing

Requests are answered one after another by the handler, in a task the server owns; the next one may be read meanwhile.
While an answer is being written the phase still follows what the client sends, so that its leaving is noticed at once.
After a refusal the connection lingers: it sends the refusal, then reads and forgets what the client is still sending
for a moment, since closing with unread input makes the kernel reset the connection and destroy the answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from time import perf_counter
from typing import Protocol, cast
from urllib.parse import unquote_to_bytes

import httptools

from bursar.server.limits import Limits
from bursar.server.status import status_line
from bursar.wire.http import JSON, FieldLines, RawHeaders, Request
from bursar.wire.openai_error import error_body

_LINGER_S = 2.0
_WRITE_HIGH_WATER = 256 * 1024
EVERY_ANSWER: FieldLines = (
    b"x-content-type-options: nosniff\r\n"
    b"x-frame-options: DENY\r\n"
    b"content-security-policy: frame-ancestors 'none'\r\n"
    b"vary: Origin\r\n"
    # Keys travel in headers, not in cookies, so any page may call; and it may read what the headers say.
    b"access-control-allow-origin: *\r\n"
    b"access-control-expose-headers: *\r\n"
)


class Phase(Enum):
    """What the client is sending."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    CLOSING = auto()
    """Nothing more is read as a request."""


class Server(Protocol):
    """What a connection needs of the server it belongs to."""

    limits: Limits
    closing: bool

    def opened(self, connection: "HttpConnection") -> None: ...

    def closed(self, connection: "HttpConnection") -> None: ...

    def serve(self, request: Request, exchange: "Exchange") -> None:
        """Have `request` answered; `exchange.done()` follows in any case."""

    def date_line(self) -> bytes: ...


class HttpConnection(asyncio.Protocol):
    """Callbacks of the transport (asyncio) and of the parser (llhttp, `on_…`)."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._limits = server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._exchange: Exchange | None = None
        self._phase = Phase.IDLE
        self._arriving = 0
        self._paused_reading = False
        self._half_closed = False
        self._ended = False
        self._drain_waiter: asyncio.Future[None] | None = None
        self.writing_paused_at: float | None = None
        self.deadline_s = loop.time() + self._limits.keepalive_timeout_s
        self.gone = False
        self._old_client = False
        self._peer = ""
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: RawHeaders = []
        self._fields: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_until_s = 0.0
        self._received_s = 0.0

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.gone = True
        self._phase = Phase.CLOSING
        self._queue.clear()
        self._wake_writer()
        if self._exchange is not None:
            self._exchange.client_left()
        self._server.closed(self)
        del self._parser  # it holds our methods: together we are a cycle, which only the garbage collector ends

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.CLOSING:
            return
        if self._phase is Phase.BODY:
            self.deadline_s = min(self._loop.time() + self._limits.body_timeout_s, self._body_until_s)
        self._arriving = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Ignored, as a server may (RFC 9110, 7.8): the request has its answer, the connection takes no other.
            self._phase = Phase.CLOSING
            self._half_closed = True
        except httptools.HttpParserError as error:
            # A callback that has refused already leaves the parser by an exception too: refuse() ignores the second.
            self.refuse(400, f"Malformed HTTP request: {_reason(error)}", code="bad_request")
        if self._phase is Phase.HEAD:
            # The parser keeps an unfinished field to itself, so what came is counted, not what it has handed over.
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_max_bytes:
                self._refuse_head()

    def eof_received(self) -> bool:
        """The client will send no more. It may still read: a request that is complete gets its answer."""
        if self._phase in (Phase.HEAD, Phase.BODY):
            self.refuse(400, "The request ended before it was complete.", code="bad_request")
        self._half_closed = self._ended = True
        self._phase = Phase.CLOSING
        if not self._limits.half_close:
            return False
        if self._exchange is not None:
            self._exchange.client_ended()
        return self.busy

    def pause_writing(self) -> None:
        self.writing_paused_at = self._loop.time()

    def resume_writing(self) -> None:
        self.writing_paused_at = None
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    async def drained(self) -> None:
        """Wait until the client has read what was written, down to the low-water mark."""
        if self.writing_paused_at is not None and not self.gone:
            self._drain_waiter = self._loop.create_future()
            await self._drain_waiter

    # The parser

    def on_message_begin(self) -> None:
        if self._phase is Phase.CLOSING:
            return
        self._phase = Phase.HEAD
        self._received_s = perf_counter()
        self.deadline_s = self._loop.time() + self._limits.header_timeout_s

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._phase is Phase.CLOSING:
            return
        self._old_client = self._parser.get_http_version() == "1.0"
        headers = self._headers
        self._fields = fields = dict(reversed(headers))
        repeated = len(fields) < len(headers)
        if self._head_bytes + self._arriving > self._limits.head_max_bytes and self._head_size() > (
            self._limits.head_max_bytes
        ):
            self._refuse_head()
        elif (b"host" not in fields and not self._old_client) or (repeated and self._count(b"host") > 1):
            self.refuse(400, "A request needs exactly one Host header.", code="bad_request")
        elif repeated and self._count(b"authorization") > 1:  # two programs in a row may each read another one
            self.refuse(400, "More than one Authorization header was sent.", code="bad_request")
        elif int(fields.get(b"content-length", 0)) > self._limits.body_max_bytes:
            self._refuse_body()
        else:
            self._phase = Phase.BODY
            now = self._loop.time()
            self.deadline_s = now + self._limits.body_timeout_s
            self._body_until_s = now + 10 * self._limits.body_timeout_s
            if fields.get(b"expect", b"").lower() == b"100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) for name, value in self._headers)

    def _count(self, name: bytes) -> int:
        return sum(field == name for field, _ in self._headers)

    def on_body(self, body: bytes) -> None:
        if self._phase is not Phase.BODY:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_max_bytes:
            self._refuse_body()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._phase is not Phase.BODY:
            return
        try:
            path, query, raw_path = _split_target(self._url)
        except ValueError as error:
            self.refuse(400, str(error), code="bad_request")
            return
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=path,
            query=query,
            headers=self._headers,
            fields=self._fields,
            body=b"".join(self._body),
            client_host=self._peer,
            received_s=self._received_s,
            raw_path=raw_path,
        )
        exchange = Exchange(self, request, self._parser.should_keep_alive(), self._old_client)
        self._phase = Phase.IDLE
        self.deadline_s = self._loop.time() + self._limits.keepalive_timeout_s
        self._reset()
        if self._exchange is None:
            self._answer(exchange)
        else:
            self._queue.append(exchange)
            if len(self._queue) >= self._limits.pipeline_max:
                self._paused_reading = True
                self.transport.pause_reading()

    # Answers

    @property
    def busy(self) -> bool:
        """A request is being answered or waits for it."""
        return self._exchange is not None or bool(self._queue)

    def timed_out(self) -> None:
        """The deadline of what the client is sending has passed."""
        if self._phase in (Phase.HEAD, Phase.BODY):
            self.refuse(408, "The request did not arrive in time.", code="request_timeout")
        elif not self.busy:
            self.transport.abort()

    def _answer(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        exchange.ended = self._ended
        self._server.serve(exchange.request, exchange)

    def answered(self, *, reusable: bool) -> None:
        """The current answer is complete, or broken off (`reusable` False)."""
        self._exchange = None
        if self.gone:
            return
        if not reusable:
            self.transport.close()
        elif self._queue:
            if self._paused_reading:
                self._paused_reading = False
                self.transport.resume_reading()
            self._answer(self._queue.popleft())
        elif self._half_closed:
            self.transport.close()
        elif self._phase is Phase.IDLE:
            self.deadline_s = self._loop.time() + self._limits.keepalive_timeout_s

    def refuse(self, status: int, message: str, *, code: str) -> None:
        """Answer what cannot be read as a request, and close; while another answer is under way, close after that."""
        if self._phase is Phase.CLOSING:
            return
        self._phase = Phase.CLOSING
        self._half_closed = True
        if self.busy:
            return
        body = error_body(message, "invalid_request_error", None, code)
        self.transport.write(
            b"%b%bcontent-length: %d\r\n%b%bconnection: close\r\n\r\n%b"
            % (status_line(status), JSON, len(body), self._server.date_line(), EVERY_ANSWER, body)
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.deadline_s = self._loop.time() + _LINGER_S
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        limit = self._limits.head_max_bytes
        self.refuse(431, f"The request's header is larger than {limit} bytes.", code="request_header_fields_too_large")

    def _refuse_body(self) -> None:
        limit = self._limits.body_max_bytes
        self.refuse(413, f"The request body is larger than {limit} bytes.", code="request_too_large")


class Exchange:
    """One request and its answer: the server's side of `ports.http.Reply`."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_finished",
        "_keep_alive",
        "_old_client",
        "_on_ended",
        "_started",
        "ended",
        "gone",
        "request",
    )

    def __init__(self, connection: HttpConnection, request: Request, keep_alive: bool, old_client: bool) -> None:
        self.request = request
        self.ended = False
        self.gone = False
        self._connection = connection
        self._keep_alive = keep_alive
        self._old_client = old_client
        self._chunked = False
        self._started = False
        self._finished = False
        self._on_ended: Callable[[], None] | None = None

    @property
    def started(self) -> bool:
        return self._started

    def _head(self, status: int, fields: FieldLines, framing: bytes) -> bytes:
        server = self._connection._server  # the two classes are one thing in two lifetimes
        if not self._keep_alive or server.closing:
            self._keep_alive = False
            end = b"connection: close\r\n\r\n"
        else:
            end = b"connection: keep-alive\r\n\r\n" if self._old_client else b"\r\n"
        return b"".join((status_line(status), fields, framing, server.date_line(), EVERY_ANSWER, end))

    def send(self, status: int, fields: FieldLines, body: bytes) -> None:
        assert not self._started, "an answer is sent once"
        self._started = self._finished = True
        if not self.gone:
            head = self._head(status, fields, b"content-length: %d\r\n" % len(body))
            self._connection.transport.write(head if self.request.method == "HEAD" else head + body)

    def start(self, status: int, fields: FieldLines) -> None:
        assert not self._started, "an answer is started once"
        self._started = True
        if self._old_client:
            self._keep_alive = False
        else:
            self._chunked = True
        if not self.gone:
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
            self._connection.transport.write(self._head(status, fields, framing))

    def write(self, data: bytes) -> None:
        if data and not self.gone:
            self._connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self) -> None:
        self._finished = True
        if self._chunked and not self.gone:
            self._connection.transport.write(b"0\r\n\r\n")

    def abort(self) -> None:
        self._finished = True
        self._keep_alive = False
        if not self.gone:
            self._connection.transport.abort()

    def take_over(self) -> asyncio.Transport:
        """The bare connection, for an answer that `ports.http.Reply` cannot express (the oracle's faults).

        Nothing more is added to what the handler writes; when it returns, the connection is closed once that is out.
        """
        self._started = self._finished = True
        self._keep_alive = False
        return self._connection.transport

    async def drained(self) -> None:
        if not self.gone:
            await self._connection.drained()

    def when_ended(self, callback: Callable[[], None]) -> None:
        self._on_ended = callback
        if self.ended:
            callback()

    def client_ended(self) -> None:
        """The client has ended its side of the connection."""
        self.ended = True
        if self._on_ended is not None:
            self._on_ended()

    def client_left(self) -> None:
        """The connection is lost."""
        self.gone = True
        self.client_ended()

    def done(self) -> None:
        """The handler has returned. One that did not finish its answer has failed: the client must not take what it
        got for whole."""
        if not self._finished and not self.gone:
            self._keep_alive = False
            if self._started:
                self._connection.transport.abort()
        self._connection.answered(reusable=self._keep_alive and self._finished)


def _reason(error: httptools.HttpParserError) -> str:
    return str(error.__cause__ or error) or "unreadable"


def _split_target(url: bytes) -> tuple[str, str, bytes]:
    """Path and query of a request target, and the path before it was decoded if it was encoded, else nothing. The path
    is decoded once; what could be read in two ways is refused. A backslash that was sent as `%5C` is part of a name.

    Raises ValueError with a message for the client.
    """
    if not url.startswith(b"/"):
        parsed = httptools.parse_url(url) if b"://" in url else None
        if parsed is None or parsed.path is None:
            raise ValueError("The request target must be a path.")
        url = parsed.path + (b"?" + parsed.query if parsed.query else b"")
    raw_path, _, query = url.partition(b"?")
    encoded = b"%" in raw_path
    try:
        path = (unquote_to_bytes(raw_path) if encoded else raw_path).decode("utf-8")
        query_text = query.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("The request target is not valid UTF-8.") from None
    if not path.isprintable() or b"\\" in raw_path or "/../" in f"{path}/" or "/./" in f"{path}/":
        raise ValueError("The request path holds characters or segments that are not allowed.")
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    return path, query_text, raw_path.removesuffix(b"/") if encoded else b""
