"""The second transport: aiohttp. Chosen by configuration where calls must leave through a proxy, and kept green so that
the contract of `ports.upstream.Transport` is not whatever the first one happens to do.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from bursar.domain.egress import Egress, forbidden_address, forbidden_host
from bursar.ports.upstream import FailureKind, Timeouts, TransportError, UpstreamRequest, UpstreamResponse
from bursar.wire.http import RawHeaders

_HEAD_MAX_BYTES = 256 * 1024
_IDLE_MAX_S = 60.0


class AiohttpTransport:
    """Implements `ports.upstream.Transport`. Made inside a running loop."""

    def __init__(
        self,
        *,
        max_connections_per_host: int = 1000,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        """`proxy`: URL of an HTTP proxy for all calls; the environment's is never used by itself."""
        self._proxy = proxy
        self._limit = max_connections_per_host
        self._tls = tls
        self._sessions = {egress: self._session(egress) for egress in Egress}

    def _session(self, egress: Egress) -> aiohttp.ClientSession:
        """Of its own for each rule, because connections are shared within one."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        trace.on_connection_create_end.append(_note_connection)
        return aiohttp.ClientSession(
            trace_configs=[trace],
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=self._limit,
                ssl=True if self._tls is None else self._tls,
                keepalive_timeout=_IDLE_MAX_S,
                use_dns_cache=False,
                resolver=_Resolver(Egress.ANY if self._proxy is not None else egress),
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            read_bufsize=512 * 1024,
            max_line_size=_HEAD_MAX_BYTES,
            max_field_size=_HEAD_MAX_BYTES,
        )

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """See `ports.upstream.Transport.send`."""
        origin, timeouts = request.origin, request.timeouts
        if (reason := forbidden_host(origin.host, origin.egress)) is not None:
            raise TransportError(FailureKind.DNS, reason, sent=False)
        way = _Way(request)
        async with _failures(way, FailureKind.RESPONSE_TIMEOUT, timeouts.connect_s + timeouts.response_s):
            response = await self._sessions[origin.egress].request(
                request.method,
                URL(f"{origin.scheme}://{origin.authority}{request.target}", encoded=True),
                data=request.body,
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers],
                allow_redirects=False,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect_s),
                trace_request_ctx=way,
            )
        return _Response(response, timeouts, way)

    async def aclose(self) -> None:
        """See `ports.upstream.Transport.aclose`."""
        for session in self._sessions.values():
            await session.close()


class _Resolver(aiohttp.ThreadedResolver):
    """Finds only what may be connected to: of a host that leads elsewhere, too, nothing."""

    def __init__(self, egress: Egress) -> None:
        super().__init__()
        self._egress = egress

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for one in found:
            if (reason := forbidden_address(one["host"], self._egress)) is not None:
                raise OSError(f"the host leads to where it may not: {reason}")
        return found


class _Way:
    """What one request learnt about its connection."""

    def __init__(self, request: UpstreamRequest) -> None:
        self.request = request
        self.reused = False


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _facts: object) -> None:
    context.trace_request_ctx.reused = True
    context.trace_request_ctx.request.sent = True


async def _note_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _facts: object) -> None:
    context.trace_request_ctx.request.sent = True


class _Response:
    """One answer: implements `ports.upstream.UpstreamResponse`."""

    def __init__(self, response: aiohttp.ClientResponse, timeouts: Timeouts, way: _Way) -> None:
        self.status = response.status
        self.headers: RawHeaders = [(name.lower(), value) for name, value in response.raw_headers]
        self._response = response
        self._idle_s = timeouts.idle_s
        self._way = way

    async def read(self) -> bytes:
        """See `ports.upstream.UpstreamResponse.read`."""
        async with _failures(self._way, FailureKind.IDLE_TIMEOUT, self._idle_s, in_body=True):
            return await self._response.content.readany()

    def close(self) -> None:
        """See `ports.upstream.UpstreamResponse.close`."""
        if self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()


@asynccontextmanager
async def _failures(
    way: _Way, timeout_kind: FailureKind, timeout_s: float, *, in_body: bool = False
) -> AsyncIterator[None]:
    """Turns the library's errors, and our deadline, into TransportError."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except aiohttp.ConnectionTimeoutError as error:
        raise TransportError(FailureKind.CONNECT_TIMEOUT, "no connection in time", sent=False) from error
    except aiohttp.ClientConnectorError as error:
        raise TransportError(_connect_kind(error), str(error.os_error), sent=False) from error
    except TimeoutError as error:
        raise TransportError(timeout_kind, "the provider sent nothing in time", sent=True, reused=way.reused) from error
    except aiohttp.ClientResponseError as error:
        raise TransportError(FailureKind.PROTOCOL, f"not HTTP: {error.message}", sent=True) from error
    except (aiohttp.ClientError, ConnectionError) as error:
        kind = FailureKind.TRUNCATED if in_body else FailureKind.CLOSED
        raise TransportError(kind, str(error) or type(error).__name__, sent=True, reused=way.reused) from error


def _connect_kind(error: aiohttp.ClientConnectorError) -> FailureKind:
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(error.os_error, socket.gaierror):
        return FailureKind.DNS
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(error.os_error, ssl.SSLError):
        return FailureKind.TLS
    return FailureKind.CONNECT
