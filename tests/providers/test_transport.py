"""The contract of `ports.upstream.Transport`, over both implementations.

What it is about: every failure is told apart, and `sent` is False only where nothing can have reached the provider,
because that alone lets the books call an attempt void.
"""

import asyncio
import gc
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bursar.domain.egress import Egress
from bursar.ports.upstream import FailureKind, Timeouts, Transport, TransportError, UpstreamRequest
from bursar.providers.aiohttp_transport import AiohttpTransport
from bursar.providers.native import NativeTransport
from bursar.wire.http import Origin, header
from tests.patience import PATIENCE_S
from tests.providers.faulty_server import Peer, serving

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
QUICK = Timeouts(connect_s=0.5, response_s=0.5, idle_s=0.5)


@pytest.fixture(params=["native", "aiohttp"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    made: Transport = NativeTransport() if request.param == "native" else AiohttpTransport()
    yield made
    await made.aclose()


def to(
    port: int,
    *,
    host: str = "127.0.0.1",
    body: bytes = b"{}",
    timeouts: Timeouts = QUICK,
    egress: Egress = Egress.ANY,
) -> UpstreamRequest:
    return UpstreamRequest(
        method="POST",
        origin=Origin("http", host, port, egress),
        target="/v1/chat/completions?a=b%20c",
        headers=[(b"content-type", b"application/json"), (b"x-two", b"1"), (b"x-two", b"2")],
        body=body,
        timeouts=timeouts,
    )


async def whole(transport: Transport, request: UpstreamRequest) -> tuple[int, bytes]:
    response = await transport.send(request)
    body = b""
    try:
        while piece := await response.read():
            body += piece
    finally:
        response.close()
    return response.status, body


async def failure(transport: Transport, request: UpstreamRequest) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await whole(transport, request)
    return caught.value


def answering(*pieces: bytes) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        while await peer.request():
            for piece in pieces:
                await peer.send(piece)
                await asyncio.sleep(0.01)

    return script


async def test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector() -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    transport = NativeTransport()
    gc.collect()
    gc.disable()
    try:
        async with serving(once) as port:
            for _ in range(5):
                assert await whole(transport, to(port)) == (200, b"hello")
                await asyncio.sleep(0.02)  # the peer has closed it
            left = [thing for thing in gc.get_objects() if type(thing).__name__ == "HttpResponseParser"]
    finally:
        gc.enable()
        await transport.aclose()
    assert left == []


async def test_the_request_arrives_as_it_was_given(transport: Transport) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(
            b"HTTP/1.1 201 Created\r\nX-A: 1\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 2\r\n\r\nhi"
        )

    async with serving(script) as port:
        response = await transport.send(to(port, body=b'{"x":1}'))
        assert response.status == 201
        assert header(response.headers, b"x-a") == b"1"
        assert [v for n, v in response.headers if n == b"set-cookie"] == [b"a", b"b"]
        assert await response.read() == b"hi"
        assert await response.read() == b""
        response.close()
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/chat/completions?a=b%20c HTTP/1.1"
    fields = [(n.lower(), v.strip()) for n, _, v in (line.partition(b":") for line in lines[1:])]
    assert (b"host", b"127.0.0.1:%d" % port) in fields
    assert (b"content-length", b"7") in fields
    assert [v for n, v in fields if n == b"x-two"] == [b"1", b"2"]
    assert {n for n, _ in fields} <= {b"host", b"content-length", b"content-type", b"x-two"}
    assert body == b'{"x":1}'


async def test_a_connection_is_used_again(transport: Transport) -> None:
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        while await peer.request():
            await peer.send(OK)

    async with serving(script) as port:
        for _ in range(5):
            assert await whole(transport, to(port)) == (200, b"hello")
    assert connections == 1


async def test_an_answer_that_says_close_is_not_reused(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello")

    async with serving(script) as port:
        for _ in range(3):
            assert await whole(transport, to(port)) == (200, b"hello")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"he", b"llo"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"2\r\nhe\r\n3\r", b"\nllo\r\n0\r\n", b"\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        (b"HTTP/1.1 20", b"0 OK\r\ncontent-", b"length: 5\r\n\r", b"\nhello"),
    ],
    ids=["length", "chunks", "interim", "split head"],
)
async def test_bodies_however_they_are_framed_and_cut(transport: Transport, pieces: tuple[bytes, ...]) -> None:
    async with serving(answering(*pieces)) as port:
        assert await whole(transport, to(port)) == (200, b"hello")
        assert await whole(transport, to(port)) == (200, b"hello")


async def test_a_body_that_ends_with_the_connection(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await peer.send(b"lo")

    async with serving(script) as port:
        assert await whole(transport, to(port)) == (200, b"hello")


async def test_the_first_piece_is_not_held_back(transport: Transport) -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await release.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with serving(script) as port:
        response = await transport.send(to(port))
        assert await response.read() == b"one"
        release.set()
        assert await response.read() == b"two"
        assert await response.read() == b""
        response.close()


async def test_refused(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.CONNECT, False)


async def test_a_name_that_does_not_resolve(transport: Transport) -> None:
    error = await failure(transport, to(80, host="no-such-host.invalid", timeouts=Timeouts(connect_s=5)))
    assert (error.kind, error.sent) == (FailureKind.DNS, False)


async def test_a_connection_that_does_not_come_about(transport: Transport) -> None:
    # A listener whose queue is full: the kernel drops further attempts to connect.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    filling = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        filling.append(sock)
    error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.CONNECT_TIMEOUT, False)
    for sock in [*filling, listener]:
        sock.close()


async def test_tls_with_a_peer_that_does_not_speak_it(transport: Transport) -> None:
    async with serving(answering(OK)) as port:
        request = to(port)
        error = await failure(
            transport,
            UpstreamRequest(
                method="POST",
                origin=Origin("https", "127.0.0.1", port),
                target="/",
                headers=[],
                body=b"",
                timeouts=request.timeouts,
            ),
        )
    assert not error.sent
    assert error.kind in (FailureKind.TLS, FailureKind.CONNECT, FailureKind.CONNECT_TIMEOUT)


async def test_accepted_then_closed(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        peer.close()

    async with serving(script) as port:
        error = await failure(transport, to(port))
    assert (error.kind, error.sent, error.reused) == (FailureKind.CLOSED, True, False)


async def test_closed_after_the_request(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with serving(script) as port:
        error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.CLOSED, True)


async def test_reset_after_the_request(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with serving(script) as port:
        error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.CLOSED, True)


async def test_cut_in_the_status_line(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 2")

    async with serving(script) as port:
        error = await failure(transport, to(port))
    assert error.sent
    assert error.kind in (FailureKind.CLOSED, FailureKind.PROTOCOL)


async def test_not_http(transport: Transport) -> None:
    async with serving(answering(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.PROTOCOL, True)


async def test_silence_before_the_answer(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serving(script) as port:
        error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.RESPONSE_TIMEOUT, True)


async def test_silence_inside_the_body(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")
        await peer.gone()

    async with serving(script) as port:
        error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.IDLE_TIMEOUT, True)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nl",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n",
    ],
    ids=["by length", "inside a chunk", "between chunks"],
)
async def test_truncated(transport: Transport, data: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)

    async with serving(script) as port:
        error = await failure(transport, to(port))
    assert (error.kind, error.sent) == (FailureKind.TRUNCATED, True)


async def test_a_redirect_is_an_answer(transport: Transport) -> None:
    other = 0

    async def elsewhere(peer: Peer) -> None:
        nonlocal other
        other += 1
        await peer.request()

    async with serving(elsewhere) as there:
        location = b"http://127.0.0.1:%d/" % there
        redirect = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % location
        async with serving(answering(redirect)) as port:
            assert await whole(transport, to(port)) == (307, b"")
    assert other == 0


async def test_compressed_bytes_pass_as_they_are(transport: Transport) -> None:
    packed = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    async with serving(answering(head + packed)) as port:
        response = await transport.send(to(port))
        body = b""
        while piece := await response.read():
            body += piece
        assert header(response.headers, b"content-encoding") == b"gzip"
        assert body == packed
        response.close()


async def test_a_kept_connection_that_the_peer_has_closed_meanwhile(transport: Transport) -> None:
    """Closed and noticed: a new connection. Closed at this very moment: a failure that says it was a reused one."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serving(script) as port:
        outcomes = []
        failures = []
        for pause in (0.05, 0.0, 0.0, 0.05, 0.0):
            try:
                outcomes.append(await whole(transport, to(port)))
            except TransportError as error:
                failures.append((error.kind, error.sent, error.reused))
            await asyncio.sleep(pause)
    assert set(failures) <= {(FailureKind.CLOSED, True, True)}
    assert outcomes.count((200, b"hello")) >= 3
    assert set(outcomes) == {(200, b"hello")}


async def test_cancelling_closes_the_connection(transport: Transport) -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        closed.set()

    async with serving(script) as port:
        task = asyncio.ensure_future(transport.send(to(port, timeouts=Timeouts())))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(PATIENCE_S):
            await closed.wait()


async def test_closing_a_response_early_closes_the_connection(transport: Transport) -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await peer.gone()
        closed.set()

    async with serving(script) as port:
        response = await transport.send(to(port, timeouts=Timeouts()))
        assert await response.read() == b"one"
        response.close()
        response.close()
        async with asyncio.timeout(PATIENCE_S):
            await closed.wait()


async def test_a_slow_reader_slows_the_sender(transport: Transport) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(1000):
            await peer.send(piece)
            sent += 1
        await peer.send(b"0\r\n\r\n")

    async with serving(script) as port:
        response = await transport.send(to(port, timeouts=Timeouts()))
        await asyncio.sleep(0.5)
        assert sent < 500  # of 64 MB, what the kernel and one buffer hold
        total = 0
        while piece := await response.read():
            total += len(piece)
        assert total == 1000 * 65536
        response.close()


async def test_an_answer_with_an_endless_head_is_given_up(transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        for i in range(20000):
            await peer.send(b"x-%d: %b\r\n" % (i, b"y" * 100))

    async with serving(script) as port:
        error = await failure(transport, to(port, timeouts=Timeouts(response_s=3)))
    assert (error.kind, error.sent) == (FailureKind.PROTOCOL, True)


async def test_many_at_once(transport: Transport) -> None:
    async with serving(answering(OK)) as port:
        answers = await asyncio.gather(*[whole(transport, to(port, timeouts=Timeouts())) for _ in range(200)])
    assert answers == [(200, b"hello")] * 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_private_addresses_by_name_where_they_are_allowed(transport: Transport, host: str) -> None:
    async with serving(answering(OK)) as port:
        assert await whole(transport, to(port, host=host, egress=Egress.NO_METADATA)) == (200, b"hello")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "2130706433"])
async def test_and_where_they_are_not(transport: Transport, host: str) -> None:
    """A connection that is open already is no way around it."""
    async with serving(answering(OK)) as port:
        assert await whole(transport, to(port, host="127.0.0.1")) == (200, b"hello")
        request = to(port, host=host, egress=Egress.PUBLIC)
        error = await failure(transport, request)
    assert (error.kind, error.sent, request.sent) == (FailureKind.DNS, False, False)


async def test_one_forbidden_address_of_a_name_is_enough(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name service is whoever's who owns the name."""

    async def leads_to(_host: str, port: int, **_: object) -> list[object]:
        addresses = ("192.0.2.1", "169.254.169.254")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", leads_to)
    error = await failure(transport, to(80, host="models.example", egress=Egress.NO_METADATA))
    assert (error.kind, error.sent) == (FailureKind.DNS, False)
    assert "credentials of their machines" in str(error)


async def test_metadata_services_are_never_connected_to(transport: Transport) -> None:
    error = await failure(transport, to(80, host="169.254.169.254", egress=Egress.NO_METADATA))
    assert (error.kind, error.sent) == (FailureKind.DNS, False)
