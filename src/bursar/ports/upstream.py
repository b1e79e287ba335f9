"""The way to a provider: the transport, and what speaks over it."""

from enum import StrEnum
from typing import Protocol

import msgspec

from bursar.wire.http import FieldLines, Origin, RawHeaders
from bursar.wire.openai_answer import AnswerRules
from bursar.wire.openai_chat import ChatRequest


class FailureKind(StrEnum):
    """How the way to an upstream failed."""

    DNS = "dns"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    POOL = "pool"
    RESPONSE_TIMEOUT = "response_timeout"
    """Connected and sent, but no complete answer head in time."""
    IDLE_TIMEOUT = "idle_timeout"
    """The body stopped coming."""
    CLOSED = "closed"
    """The connection ended before the answer's head was complete."""
    TRUNCATED = "truncated"
    """The connection ended inside the body."""
    PROTOCOL = "protocol"
    """What came is not HTTP, or breaks a limit."""


class TransportError(Exception):
    """No (complete) answer came. `sent` decides the accounting: only False proves that nothing was billed."""

    def __init__(self, kind: FailureKind, detail: str, *, sent: bool, reused: bool = False) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.sent = sent
        """At least one byte of the request may have reached the peer."""
        self.reused = reused
        """It happened on a kept-alive connection that had served an earlier request."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds at the three boundaries of one attempt; each has its own FailureKind."""

    connect_s: float = 10.0
    response_s: float = 600.0
    """From the request's last byte to the complete head of the answer."""
    idle_s: float = 300.0
    """Between two pieces of the body."""


class UpstreamRequest(msgspec.Struct, kw_only=True):
    """One POST (or GET) to an upstream, complete."""

    method: str
    origin: Origin
    target: str
    """Path and query as they stand in the request line, already encoded."""
    headers: RawHeaders
    """Without host, content-length and connection, which the transport adds."""
    lines: FieldLines = b""
    """`headers` as they stand in a message, where that is known already."""
    body: bytes
    timeouts: Timeouts
    sent: bool = False
    """Set by the transport: a byte of it may have left. Until then it is certain that nothing was asked for."""


class UpstreamResponse(Protocol):
    """An answer whose head has come. Its body is read in pieces, undecoded, as the network delivers them."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> RawHeaders: ...

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its proper end.

        Raises TransportError (always `sent`): truncated, idle too long, broken framing. A piece is returned as soon as
        any of it is there, so a token is never held back for a fuller buffer.
        """

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it. Safe to repeat."""


class Transport(Protocol):
    """Carries bytes upstream. Follows no redirects, decodes nothing, uses no proxy that was not configured.

    Implementations: `providers.native` and `providers.aiohttp_transport`, held to one contract suite.
    """

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send and wait for the head of the answer.

        Raises TransportError. Cancelling closes the connection.
        """

    async def aclose(self) -> None:
        """Close all idle connections; those in use close with their response."""


class ChatUpstream(Protocol):
    """One deployment's provider, as a chat call needs it (`providers.openai_compatible`)."""

    @property
    def api_base(self) -> str:
        """Where it lives, as headers and log rows show it: stable, without credentials or query."""

    @property
    def answers(self) -> AnswerRules:
        """How its answers differ from OpenAI's."""

    def request(self, chat: ChatRequest, *, extra_headers: RawHeaders, timeouts: Timeouts) -> UpstreamRequest:
        """The request to send. Raises InvalidRequest: the provider does not know a parameter, and may not drop it."""

    def output_limit(self, chat: ChatRequest) -> int | None:
        """The bound on the tokens of each answer that the provider will be given; None: none."""

    def bounded(self, chat: ChatRequest, tokens: int) -> ChatRequest:
        """The same request with such a bound."""

    def conceal(self, text: str) -> str:
        """`text` without this deployment's credentials: providers quote them in their complaints."""

    def conceal_lines(self, lines: FieldLines) -> FieldLines:
        """The same of header fields."""

    def canned(self, chat: ChatRequest) -> UpstreamResponse | None:
        """An answer from the configuration, in place of the provider's; None nearly always."""
