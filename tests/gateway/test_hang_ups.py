"""Clients that leave before their answer is complete: read on for them within a bound, then booked like any other."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MESSAGES, PRICE, PROMPT_TOKENS, Books, Gateway, Row, request_bytes
from tests.gateway.scripted_upstream import scripted_upstream
from tests.oracle.raw_client import Connection
from tests.patience import PATIENCE_S

SHORT = "bursar_settings: {drain_s: 0.2}"
CANCEL = "bursar_settings: {on_disconnect: cancel}"


async def close(connection: Connection) -> None:
    """As most clients leave: FIN, and a reset for what still comes."""
    connection.writer.close()
    await connection.writer.wait_closed()


async def reset(connection: Connection) -> None:
    """As a crashed client, or a load balancer, leaves."""
    sock = connection.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.writer.transport.abort()


Leave = Callable[[Connection], Awaitable[None]]
leaving = pytest.mark.parametrize("leave", [close, reset])


def chat_bytes(model: str, **members: object) -> bytes:
    return request_bytes("POST", "/v1/chat/completions", {"model": model, "messages": MESSAGES} | members)


async def asked(gateway: Gateway, model: str, **members: object) -> Connection:
    """A connection on which a question has been asked."""
    connection = await gateway.connect()
    connection.writer.write(chat_bytes(model, **members))
    await connection.writer.drain()
    return connection


async def arrived(oracle: RunningOracle, calls: int = 1) -> None:
    """The provider has the request."""
    async with asyncio.timeout(PATIENCE_S):
        while len(oracle.requests) < calls:
            await asyncio.sleep(0.002)


async def check_drained(books: Books, oracle: RunningOracle) -> Row:
    """The call is on the books as the provider bills it: it has generated, and been read, to its end."""
    [row] = await books.ended()
    [line] = oracle.bill()
    assert await books.kinds() == ["settle", "call"]
    assert await books.cost_nano_usd() == line.cost_nano_usd
    assert (row["prompt_tokens"], row["completion_tokens"]) == (line.prompt_tokens, line.completion_tokens)
    assert (row["request_id"], row["status"]) == (line.id, "success")
    assert line.client_there, "the gateway stayed"
    return row


# --- drained ---


@leaving
async def test_before_a_whole_answer(gateway: Gateway, oracle: RunningOracle, books: Books, leave: Leave) -> None:
    connection = await asked(gateway, "at/head_ms=100")
    await arrived(oracle)
    await leave(connection)
    row = await check_drained(books, oracle)
    if leave is reset:  # who closes properly may still be reading, for all we know
        assert row["metadata"]["bursar"]["evidence"] == "drained"
        assert row["metadata"]["bursar"]["client_left"] is True


@leaving
async def test_before_a_stream_begins(gateway: Gateway, oracle: RunningOracle, books: Books, leave: Leave) -> None:
    connection = await asked(gateway, "at/head_ms=100&delay_ms=5", stream=True)
    await arrived(oracle)
    await leave(connection)
    row = await check_drained(books, oracle)
    assert row["metadata"]["bursar"]["evidence"] == "drained"


@leaving
async def test_in_the_middle_of_a_stream(gateway: Gateway, oracle: RunningOracle, books: Books, leave: Leave) -> None:
    connection = await asked(gateway, "at/tokens=30&delay_ms=5", stream=True)
    await connection.until(b'"content":"')
    await leave(connection)
    row = await check_drained(books, oracle)
    assert row["metadata"]["bursar"]["evidence"] == "drained"
    assert row["metadata"]["bursar"]["client_left"] is True
    assert row["completion_tokens"] == 30


@leaving
async def test_after_the_last_chunk_and_before_the_end(start_gateway: StartGateway, books: Books, leave: Leave) -> None:
    gone = asyncio.Event()
    chunk = b'data: {"id":"c1","model":"m","choices":[%b]%b}\n\n'

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        writer.write(chunk % (b'{"index":0,"delta":{"content":"abc"},"finish_reason":null}', b""))
        writer.write(chunk % (b'{"index":0,"delta":{},"finish_reason":"stop"}', b""))
        await writer.drain()
        await gone.wait()
        usage = b',"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}'
        writer.write(chunk % (b"", usage) + b"data: [DONE]\n\n")
        await writer.drain()

    async with scripted_upstream(script) as upstream:
        gateway = await start_gateway(
            models=f"""
            - model_name: odd
              litellm_params: {{{{model: openai/m, api_base: '{upstream.base_url}', api_key: x,
                input_cost_per_token: 0.000001, output_cost_per_token: 0.000004}}}}
            """
        )
        connection = await asked(gateway, "odd", stream=True)
        await connection.until(b'"finish_reason":"stop"')
        await leave(connection)
        gone.set()
        [row] = await books.ended()
    assert await books.cost_nano_usd() == 100 * PRICE[0] + 50 * PRICE[2]
    assert (row["status"], row["total_tokens"]) == ("success", 150)


@leaving
async def test_with_the_whole_stream_still_unread(
    gateway: Gateway, oracle: RunningOracle, books: Books, leave: Leave
) -> None:
    """A client that does not read holds back the provider, by backpressure, only while it is there."""
    connection = await asked(gateway, "at/tokens=60000", stream=True)
    await connection.until(b'"content":"')
    await leave(connection)
    await check_drained(books, oracle)


async def test_without_usage_the_drained_answer_is_estimated(
    gateway: Gateway, oracle: RunningOracle, books: Books
) -> None:
    connection = await asked(gateway, "at/tokens=30&delay_ms=5&usage=none", stream=True)
    await connection.until(b'"content":"')
    await close(connection)
    [row] = await books.ended()
    assert row["metadata"]["bursar"]["evidence"] == "estimated"
    assert row["completion_tokens"] == 40, "all of it, not only what the client saw"


async def test_a_request_that_was_still_waiting_is_never_made(
    gateway: Gateway, oracle: RunningOracle, books: Books
) -> None:
    """Two on one connection: when the client leaves, the second has not begun, and costs nothing."""
    connection = await gateway.connect()
    connection.writer.write(chat_bytes("at/head_ms=100&label=first") + chat_bytes("at/label=second"))
    await arrived(oracle)
    await reset(connection)
    await check_drained(books, oracle)
    assert len(oracle.requests) == 1


@leaving
async def test_before_there_was_a_connection_to_the_provider(
    start_gateway: StartGateway, books: Books, leave: Leave
) -> None:
    """Nothing was sent, so nothing can be charged: void, though the provider may still be alive."""
    deaf = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = deaf.getsockname()[1]
    waiting = [socket.socket() for _ in range(4)]  # they fill its queue: the next one's SYN is not answered
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(("127.0.0.1", port))
    try:
        gateway = await start_gateway(
            settings=SHORT,
            models=f"""
            - model_name: deaf
              litellm_params: {{{{model: openai/m, api_base: 'http://127.0.0.1:{port}/v1', api_key: x,
                input_cost_per_token: 0.000001, output_cost_per_token: 0.000004}}}}
            """,
        )
        connection = await asked(gateway, "deaf")
        await asyncio.sleep(0.1)
        await leave(connection)
        [row] = await books.ended()
        assert (row["status"], row["spend"]) == ("failure", 0.0)
        assert [entry["kind"] for entry in await books.entries() if entry["kind"] != "call"] == ["void"]
    finally:
        for each in [deaf, *waiting]:
            each.close()


async def test_many_at_once(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """Half of them leave somewhere in their stream; all are booked, each once."""

    async def call(number: int) -> None:
        connection = await asked(gateway, f"at/tokens={5 + number % 7}&delay_ms=3&label={number}", stream=True)
        await connection.until(b'"content":"' if number % 2 else b"[DONE]")
        await (reset if number % 4 == 1 else close)(connection)

    await asyncio.gather(*(call(number) for number in range(60)))
    rows = await books.ended(60)
    assert len(rows) == 60
    assert {row["request_id"]: round(row["spend"] * 1e9) for row in rows} == {
        line.id: line.cost_nano_usd for line in oracle.bill()
    }


# --- the bound ---


@leaving
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_reading_on_has_a_bound(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books, leave: Leave, stream: bool
) -> None:
    gateway = await start_gateway(settings=SHORT)
    connection = await asked(gateway, "at/fault=stall:5c&delay_ms=2" if stream else "at/fault=stall", stream=stream)
    await arrived(oracle)
    if stream:
        await connection.until(b'"content":"')
    await leave(connection)
    [row] = await books.ended()
    assert await books.kinds() == ["unknown", "settle", "call"]
    own = row["metadata"]["bursar"]
    assert (own["evidence"], row["status"]) == ("estimated", "failure")
    assert row["metadata"]["error_information"]["error_code"] == "499"
    assert (row["completion_tokens"] > 0) == stream
    assert row["prompt_tokens"] == PROMPT_TOKENS
    assert row["request_duration_ms"] < 3000
    if leave is reset:
        assert own["client_left"] is True


async def test_an_error_after_the_client_has_left(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    connection = await asked(gateway, "at/head_ms=50&fault=cut:3c", stream=True)
    await arrived(oracle)
    await reset(connection)
    [row] = await books.ended()
    assert await books.kinds() == ["unknown", "settle", "call"]
    assert (row["status"], row["completion_tokens"]) == ("failure", 4)


# --- on_disconnect: cancel ---


@leaving
async def test_cancelled_at_once_where_the_operator_wants_it(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books, leave: Leave
) -> None:
    """The provider is hung up on; what had come is estimated, and close to what one that stops then bills."""
    gateway = await start_gateway(settings=CANCEL)
    connection = await asked(gateway, "at/tokens=1000&delay_ms=5&hangup=stop", stream=True)
    for _ in range(10):
        await connection.until(b'"content":"')
    await leave(connection)
    [row] = await books.ended()
    async with asyncio.timeout(PATIENCE_S):
        while not oracle.bill():
            await asyncio.sleep(0.01)
    [line] = oracle.bill()
    assert not line.client_there
    assert 9 <= line.completion_tokens < 500
    assert row["metadata"]["error_information"]["error_code"] == "499"
    assert row["metadata"]["bursar"]["evidence"] == "estimated"
    # By three bytes a token where four are one; what was under way when the client left is missing.
    assert row["completion_tokens"] == pytest.approx(line.completion_tokens * 4 / 3, abs=10)


# --- half-closed ---


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("scenario", ["head_ms=50", "tokens=5&delay_ms=5"])
async def test_who_only_ends_its_sending_side_gets_its_answer(
    gateway: Gateway, oracle: RunningOracle, books: Books, stream: bool, scenario: str
) -> None:
    connection = await asked(gateway, f"at/{scenario}", stream=stream)
    connection.writer.write_eof()
    answer = await connection.answer()
    assert (answer.status, answer.complete) == (200, True)
    if stream:
        assert answer.events[-1] == "[DONE]"
    else:
        assert json.loads(answer.body)["choices"]
    assert await connection.reader.read() == b"", "and then the connection ends"
    await close(connection)
    row = await check_drained(books, oracle)
    assert row["metadata"]["bursar"]["evidence"] == "provider"
    assert "client_left" not in row["metadata"]["bursar"]


async def test_a_half_closed_client_does_not_wait_for_ever(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books
) -> None:
    """It cannot be told from one that has left, so the bound holds for it too; but it is told so."""
    gateway = await start_gateway(settings=SHORT)
    connection = await asked(gateway, "at/fault=stall")
    await arrived(oracle)
    connection.writer.write_eof()
    answer = await connection.answer()
    await close(connection)
    assert (answer.status, answer.json["error"]["code"]) == (499, "499")
    assert (await books.row())["metadata"]["bursar"]["evidence"] == "estimated"


# --- before there is a call ---


@leaving
async def test_before_the_request_is_complete(
    gateway: Gateway, oracle: RunningOracle, books: Books, leave: Leave
) -> None:
    connection = await gateway.connect()
    connection.writer.write(chat_bytes("oracle")[:-5])
    await connection.writer.drain()
    await leave(connection)
    assert (await gateway.request("GET", "/health/liveness")).status == 200
    assert await books.nothing()
    assert not oracle.requests
