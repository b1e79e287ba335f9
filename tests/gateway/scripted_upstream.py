"""An upstream that answers exactly the bytes a test gives it, on every connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class ScriptedUpstream:
    """Where it is, and what it was sent."""

    base_url: str
    requests: list[bytes] = field(default_factory=list)


def answering(*pieces: bytes) -> Script:
    """Writes `pieces` and closes."""

    async def script(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


def whole(body: bytes, *fields: str, status: str = "200 OK", content_type: str = "application/json") -> Script:
    """A complete answer with a length."""
    head = [f"HTTP/1.1 {status}", f"content-type: {content_type}", f"content-length: {len(body)}", *fields]
    return answering("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)


def streaming(*events: bytes, fields: Sequence[str] = ()) -> Script:
    """A stream that ends with its connection."""
    head = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "connection: close", *fields]
    return answering("\r\n".join(head).encode("latin-1") + b"\r\n\r\n", *events)


@asynccontextmanager
async def scripted_upstream(script: Script) -> AsyncIterator[ScriptedUpstream]:
    """Runs `script` for each request that has come completely."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            upstream.requests.append(head + await reader.readexactly(length))
            await script(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = ScriptedUpstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        yield upstream
    finally:
        server.close()
        await server.wait_closed()
