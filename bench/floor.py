"""The floor: Bursar's own HTTP server and HTTP client with nothing in between. No keys, no prices, no books.

    python -m bench.floor --port PORT --upstream PORT

What Bursar costs above it is what Bursar does; what it costs above nginx is Python's.
"""

import argparse
import asyncio
import gc
import signal
import socket

import uvloop

from bursar.ports.http import Reply
from bursar.ports.upstream import Timeouts, UpstreamRequest, UpstreamResponse
from bursar.providers.native import NativeTransport
from bursar.server.listener import HttpServer
from bursar.wire.http import JSON, Origin, RawHeaders, Request, field_lines, header

_PASSED_ON = frozenset({b"authorization", b"content-type"})


class Relay:
    """Implements `ports.http.Handler`: sends the request on, and the answer back."""

    def __init__(self, upstream_port: int) -> None:
        self._transport = NativeTransport()
        self._origin = Origin("http", "127.0.0.1", upstream_port)
        self._timeouts = Timeouts()

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer `request` with what the upstream answers."""
        response = await self._transport.send(
            UpstreamRequest(
                method=request.method,
                origin=self._origin,
                target=request.path,
                headers=[field for field in request.headers if field[0] in _PASSED_ON],
                body=request.body,
                timeouts=self._timeouts,
            )
        )
        try:
            if header(response.headers, b"content-length") is None:
                await _relay_stream(response, reply)
            else:
                body = b""
                while piece := await response.read():
                    body += piece
                reply.send(response.status, JSON, body)
        finally:
            response.close()


async def _relay_stream(response: UpstreamResponse, reply: Reply) -> None:
    content_type: RawHeaders = [(b"content-type", header(response.headers, b"content-type") or b"")]
    reply.start(response.status, field_lines(content_type))
    while piece := await response.read():
        reply.write(piece)
        await reply.drained()
    reply.finish()


async def _serve(port: int, upstream_port: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = HttpServer(Relay(upstream_port))
    await server.listen(socket.create_server(("127.0.0.1", port), backlog=2048))
    gc.collect()
    gc.freeze()  # as a worker does
    print("ready", flush=True)
    await ended.wait()
    await server.close(1.0)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Bursar's HTTP server and client with an empty handler in between.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True, help="port of the provider on 127.0.0.1")
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.upstream))


if __name__ == "__main__":
    main()
