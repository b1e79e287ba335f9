"""The front door under every kind of sender: each is answered precisely, and none keeps it open for ever."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import uvloop

from bursar.ports.http import Handler, Reply
from bursar.server.connection import Exchange, HttpConnection
from bursar.server.limits import Limits
from bursar.server.listener import HttpServer
from bursar.wire.http import Request
from tests.patience import PATIENCE_S

Runner = Callable[[Coroutine[None, None, None]], None]
POST = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
FAST = Limits(
    header_timeout_s=0.2, body_timeout_s=0.2, keepalive_timeout_s=0.4, body_max_bytes=1000, head_max_bytes=4096
)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine on each of the event loops people use."""
    runner: Runner = request.param
    return runner


@dataclass
class Echo:
    """Answers with what it got; keeps it for the test."""

    seen: list[Request] = field(default_factory=list)

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.seen.append(request)
        reply.send(200, b"content-type: text/plain\r\n", request.body)


class Front:
    """A server on a free port, and raw connections to it."""

    def __init__(self, server: HttpServer, port: int) -> None:
        self.server = server
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, data: bytes) -> bytes:
        """Send `data`, leave the connection open, read until the server closes or is silent."""
        reader, writer = await self.connect()
        writer.write(data)
        received = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while piece := await reader.read(65536):
                    received += piece
        except ConnectionResetError:
            pass
        writer.close()
        return received


@asynccontextmanager
async def front(handler: Handler, limits: Limits = FAST) -> AsyncIterator[Front]:
    sock = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(handler, limits)
    await server.listen(sock)
    try:
        yield Front(server, sock.getsockname()[1])
    finally:
        await server.close(grace_s=1)


def test_an_ordinary_request(run: Runner) -> None:
    async def scenario() -> None:
        echo = Echo()
        async with front(echo) as door:
            answer = await door.exchange(
                b"POST /v1/a%20b/?q=1 HTTP/1.1\r\nHost: h\r\nX-Y: z\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
            )
        assert answer.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\ndate: ")
        assert b"\r\nx-content-type-options: nosniff\r\n" in answer
        assert answer.endswith(b"\r\nconnection: close\r\n\r\nhi")
        [request] = echo.seen
        assert (request.method, request.path, request.query) == ("POST", "/v1/a b", "q=1")
        assert request.header(b"x-y") == b"z"
        assert request.client_host == "127.0.0.1"

    run(scenario())


def test_keep_alive_and_pipelining(run: Runner) -> None:
    async def scenario() -> None:
        async with front(Echo()) as door:
            answer = await door.exchange(POST * 40)
            assert answer.count(b"HTTP/1.1 200 OK") == 40
            assert b"connection: close" not in answer

    run(scenario())


def test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector(run: Runner) -> None:
    async def scenario() -> None:
        async with front(Echo()) as door:
            for _ in range(5):
                await door.exchange(POST.replace(b"host: h", b"host: h\r\nconnection: close"))
            await asyncio.sleep(0.05)  # the last one's end
            left = sum(isinstance(thing, HttpConnection) for thing in gc.get_objects())
        assert left == 0

    gc.collect()
    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: h\r\nauthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: h\r\nauthorization: Bearer a\x00b\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: h\r\nauthorization: Bearer a\rb\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: h\r\n folded: value\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost : h\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET /a/../b HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET /a/%2e%2e/b HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: h\r\nauthorization: Bearer sk-" + b"k" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"p" * 100_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n", 431),
        (b"GET /x HTTP/1.1\r\nhost: h\r\n" + b"a: b\r\n" * 5000 + b"\r\n", 431),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 1001\r\n\r\n", 413),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999\r\n\r\n", 400),
        (CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\n", 408),
        (CHUNKED + (b"1f4\r\n" + b"x" * 500 + b"\r\n") * 3 + b"0\r\n\r\n", 413),
        (b"POST /x HTTP/1.1\r\nho", 408),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhi", 408),
    ],
)
def test_what_is_no_request_gets_an_answer_and_no_handler(run: Runner, data: bytes, status: int) -> None:
    async def scenario() -> None:
        echo = Echo()
        async with front(echo) as door:
            answer = await door.exchange(data)
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
            assert answer.count(b"HTTP/1.1") == 1
            assert b'{"error":{"message":"' in answer
            assert b"connection: close" in answer
        assert echo.seen == []

    run(scenario())


def test_a_wish_to_upgrade_is_ignored(run: Runner) -> None:
    async def scenario() -> None:
        async with front(Echo()) as door:
            wish = b"GET /x HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
            answer = await door.exchange(wish)  # returns, so the connection was closed
            assert answer.startswith(b"HTTP/1.1 200 ")

    run(scenario())


def test_a_large_body_is_refused_while_it_is_being_sent(run: Runner) -> None:
    async def scenario() -> None:
        async with front(Echo()) as door:
            head = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 50000000\r\n\r\n"
            answer = await door.exchange(head + b"x" * 2_000_000)  # the answer is not lost to a reset
            assert answer.startswith(b"HTTP/1.1 413 ")

    run(scenario())


def test_chunked_bodies_and_expect_continue(run: Runner) -> None:
    async def scenario() -> None:
        async with front(Echo()) as door:
            reader, writer = await door.connect()
            writer.write(b"POST /x HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            for piece in (b"2\r\nhi\r\n", b"3;ext=1\r\n yo\r\n", b"0\r\n\r\n"):
                writer.write(piece)
                await writer.drain()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(5) == b"hi yo"
            writer.close()

    run(scenario())


def test_a_body_that_trickles_in_is_accepted_while_it_moves(run: Runner) -> None:
    async def scenario() -> None:
        async with front(Echo()) as door:
            reader, writer = await door.connect()
            writer.write(b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 8\r\n\r\n")
            for _ in range(8):
                writer.write(b"x")
                await asyncio.sleep(0.1)  # longer in all than the time-out, each pause shorter
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()

    run(scenario())


def test_an_idle_connection_is_closed(run: Runner) -> None:
    async def scenario() -> None:
        async with front(Echo()) as door:
            assert (await door.exchange(POST)).count(b"HTTP/1.1 200") == 1  # returns, so it was closed

    run(scenario())


def test_a_client_that_shuts_its_sending_side_still_reads_its_answer(run: Runner) -> None:
    async def scenario() -> None:
        async def slow(request: Request, reply: Reply) -> None:
            await asyncio.sleep(0.1)
            reply.send(200, b"", request.body)

        async with front(slow) as door:
            reader, writer = await door.connect()
            writer.write(POST)
            writer.write_eof()
            assert (await reader.read()).endswith(b"\r\n\r\nhi")
            writer.close()
            reader, writer = await door.connect()
            writer.write(POST[:-1])
            writer.write_eof()
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()

    run(scenario())


def test_a_client_that_shuts_its_sending_side_has_left_where_the_limits_say_so(run: Runner) -> None:
    async def scenario() -> None:
        left = asyncio.Event()

        async def silent(request: Request, reply: Reply) -> None:
            reply.when_ended(left.set)
            await asyncio.sleep(60)

        async with front(silent, replace(FAST, half_close=False)) as door:
            _, writer = await door.connect()
            writer.write(POST)
            writer.close()
            async with asyncio.timeout(PATIENCE_S):
                await left.wait()

    run(scenario())


def test_a_connection_that_is_taken_over_carries_what_the_handler_writes(run: Runner) -> None:
    async def scenario() -> None:
        async def bare(request: Request, reply: Reply) -> None:
            assert isinstance(reply, Exchange)
            reply.take_over().write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n" + b"x" * 300_000)

        async with front(bare) as door:
            answer = await door.exchange(POST * 2)  # returns, so the connection was closed
            assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n" + b"x" * 300_000

    run(scenario())


def test_the_handler_learns_that_its_client_has_left(run: Runner) -> None:
    async def scenario() -> None:
        left = asyncio.Event()
        finished = asyncio.Event()

        async def stream(request: Request, reply: Reply) -> None:
            reply.when_ended(left.set)
            reply.start(200, b"")
            while not reply.gone:
                reply.write(b"data\n")
                await reply.drained()
                await asyncio.sleep(0.01)
            reply.write(b"to nobody")
            reply.finish()
            finished.set()

        async with front(stream) as door:
            reader, writer = await door.connect()
            writer.write(POST)
            await reader.readuntil(b"data\n")
            writer.close()
            async with asyncio.timeout(PATIENCE_S):
                await left.wait()
                await finished.wait()

    run(scenario())


def test_a_stream_is_chunked_and_ends(run: Runner) -> None:
    async def scenario() -> None:
        async def stream(request: Request, reply: Reply) -> None:
            reply.start(200, b"")
            for piece in (b"one", b"", b"two"):
                reply.write(piece)
            reply.finish()

        async with front(stream) as door:
            answer = await door.exchange(b"POST /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            assert b"transfer-encoding: chunked" in answer
            assert answer.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
            old = await door.exchange(b"POST /x HTTP/1.0\r\n\r\n")
            assert b"chunked" not in old
            assert old.endswith(b"\r\n\r\nonetwo")

    run(scenario())


def test_a_handler_that_fails_is_a_500_or_a_broken_stream(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def fail(request: Request, reply: Reply) -> None:
            if request.path == "/late":
                reply.start(200, b"")
                reply.write(b"some")
            raise RuntimeError("secret detail")

        async with front(fail) as door:
            answer = await door.exchange(POST)
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert b"secret" not in answer
            late = await door.exchange(POST.replace(b"/x", b"/late"))
            assert b"0\r\n\r\n" not in late.partition(b"\r\n\r\n")[2]  # nobody takes it for complete

    run(scenario())
    assert "secret detail" in caplog.text


def test_closing_lets_what_is_under_way_end_then_cancels(run: Runner) -> None:
    async def scenario() -> None:
        cancelled = asyncio.Event()

        async def wait(request: Request, reply: Reply) -> None:
            try:
                await asyncio.sleep(0.3 if request.path == "/x" else 60)
                reply.send(200, b"", b"done")
            except asyncio.CancelledError:
                cancelled.set()
                raise

        sock = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(wait, FAST)
        await server.listen(sock)
        door = Front(server, sock.getsockname()[1])
        quick = asyncio.ensure_future(door.exchange(POST))
        stuck = asyncio.ensure_future(door.exchange(POST.replace(b"/x", b"/y")))
        await asyncio.sleep(0.1)
        assert await server.close(grace_s=0.6) is False
        assert cancelled.is_set()
        assert (await quick).endswith(b"done")
        assert b"connection: close" in await quick
        assert b"done" not in await stuck
        with pytest.raises(OSError):
            await door.connect()

    run(scenario())
