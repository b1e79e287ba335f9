"""Requests that are wrong: each gets a precise 4xx in the envelope, and nothing is sent, booked or lost for it."""

import asyncio
import json
import random
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, MESSAGES, Books, Gateway, request_bytes
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"model": "oracle", "messages": MESSAGES}


def check_envelope(answer: Answer, status: int, param: str | None = None) -> str:
    """OpenAI's envelope with every member, and `code` as text; returns the message."""
    assert answer.status == status, answer.raw
    assert answer.complete
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error"}
    error = answer.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["code"], str)
    assert isinstance(error["type"], str)
    assert error["param"] == param
    message = error["message"]
    assert isinstance(message, str)
    assert message
    assert "Traceback" not in message
    return message


async def untouched(books: Books, oracle: RunningOracle) -> bool:
    """Nothing was sent to the provider, and nothing is on the books."""
    return await books.nothing() and not oracle.requests


# --- bodies ---

BODIES: list[tuple[bytes, str, str]] = [
    (b"{", "request_body", "Invalid JSON"),
    (b"not json", "request_body", "Invalid JSON"),
    (b'{"model":"oracle","messages":[{"role":"user"}]', "request_body", "Invalid JSON"),
    (b'{"model":"oracle",}', "request_body", "Invalid JSON"),
    (b"{'model':'oracle'}", "request_body", "Invalid JSON"),
    (b'{"model":"oracle"} trailing', "request_body", "Invalid JSON"),
    (b'{"model":NaN}', "request_body", "Invalid JSON"),
    (b'\xff\xfe{\x00"\x00', "request_body", "Invalid JSON"),
    (b'{"model":"oracle","messages":"caf\xe9"}', "request_body", "UTF-8"),
    (b'{"x":' * 100_000 + b"1" + b"}" * 100_000, "request_body", "nested too deeply"),
    (b"[" * 200_000, "request_body", "Invalid JSON"),
    (b"[]", "request_body", "expected an object"),
    (b'"text"', "request_body", "expected an object"),
    (b"null", "request_body", "expected an object"),
    (b"", "model", "model"),
    (b"{}", "model", "model"),
]


@pytest.mark.parametrize(("body", "param", "word"), BODIES)
async def test_bodies_that_are_no_requests(
    gateway: Gateway, oracle: RunningOracle, books: Books, body: bytes, param: str, word: str
) -> None:
    answer = await gateway.request("POST", CHAT, body)
    assert word in check_envelope(answer, 400, param)
    assert await untouched(books, oracle)


MEMBERS: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": 7}, "model"),
    ({"model": ["oracle"]}, "model"),
    ({"model": ""}, "model"),
    ({"model": "   "}, "model"),
    ({"model": "https://evil.example/v1"}, "model"),
    ({"model": "oracle\r\nx: y"}, "model"),
    ({"model": "nul\x00"}, "model"),
    ({"model": "m" * 10_000}, "model"),
    ({"model": "file-abc"}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": {"role": "user"}}, "messages"),
    ({"messages": 7}, "messages"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream": True, "stream_options": "usage"}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "include_usage"),
    ({"n": 0}, "n"),
    ({"n": -1}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": "many"}, "n"),
    ({"n": 2**40}, "n"),
    ({"max_tokens": -5}, "max_tokens"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"user": 7}, "user"),
    ({"user": {"id": 1}}, "user"),
    ({"metadata": 7}, "metadata"),
    ({"metadata": ["a"]}, "metadata"),
    ({"metadata": "not json"}, "metadata"),
    ({"metadata": "[]"}, "metadata"),
    ({"litellm_metadata": True}, "litellm_metadata"),
    ({"tags": {"a": 1}}, "tags"),
    ({"tags": [1, 2]}, "tags"),
    ({"request_tags": 7}, "request_tags"),
    ({"timeout": "soon"}, "timeout"),
    ({"timeout": -1}, "timeout"),
    ({"timeout": 1e300}, "timeout"),
    ({"num_retries": -1}, "num_retries"),
    ({"num_retries": "x"}, "num_retries"),
    ({"fallbacks": "other"}, "fallbacks"),
    ({"extra_headers": "x: y"}, "extra_headers"),
    ({"extra_headers": {"x": "a\r\nhost: evil"}}, "extra_headers"),
    ({"extra_headers": {"x\r\ny": "a"}}, "extra_headers"),
    ({"extra_headers": {"": "a"}}, "extra_headers"),
    ({"extra_headers": {"x": ["a"]}}, "extra_headers"),
    ({"extra_headers": {"x": "\x00"}}, "extra_headers"),
    ({"extra_body": "x"}, "extra_body"),
    ({"extra_body": {"messages": []}, "messages": None}, "messages"),
    ({"litellm_session_id": 7}, "litellm_session_id"),
    ({"drop_params": "perhaps"}, "drop_params"),
]


@pytest.mark.parametrize(("members", "param"), MEMBERS, ids=lambda value: str(value)[:40])
async def test_members_that_are_wrong(
    gateway: Gateway, oracle: RunningOracle, books: Books, members: dict[str, Any], param: str
) -> None:
    answer = await gateway.request("POST", CHAT, GOOD | members)
    check_envelope(answer, 400, param)
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert await untouched(books, oracle)


async def test_what_is_null_is_not_there(gateway: Gateway) -> None:
    """Clients write null for what they leave out."""
    names = ["stream", "n", "max_tokens", "user", "metadata", "tags", "timeout", "stream_options", "extra_headers"]
    members: dict[str, Any] = dict.fromkeys(names)
    assert (await gateway.chat(**members)).status == 200


async def test_an_unknown_model(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """A known caller's call that could not be routed: refused, on record as such, and free."""
    answer = await gateway.chat("nobody")
    assert "model=nobody" in check_envelope(answer, 400, "model")
    assert await books.kinds() == ["call"]
    assert await books.cost_nano_usd() == 0
    assert not oracle.requests


async def test_a_body_over_the_limit(start_gateway: StartGateway, oracle: RunningOracle, books: Books) -> None:
    """Refused by its length before it comes, and while it comes where no length is told."""
    gateway = await start_gateway(settings="bursar_settings: {max_request_bytes: 100000}")
    big = GOOD | {"x": "x" * 100_000}
    check_envelope(await gateway.request("POST", CHAT, big), 413)
    head = request_bytes("POST", CHAT).replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
    connection = await gateway.connect()
    connection.writer.write(head)
    for _ in range(11):
        connection.writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    check_envelope(await connection.answer(), 413)
    await connection.close()
    assert await untouched(books, oracle)
    assert (await gateway.chat()).status == 200


async def test_a_limit_in_megabytes(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(settings="general_settings: {max_request_size_mb: 1}")
    assert (await gateway.chat(x="x" * 900_000)).status == 200
    assert (await gateway.chat(x="x" * 1_100_000)).status == 413


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # a TLS client
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request_bytes("POST", CHAT, GOOD).replace(b"host: gateway\r\n", b""),
        request_bytes("POST", CHAT, GOOD, headers={"host": "again"}),
        request_bytes("POST", CHAT, GOOD, headers={"content-length": "5"}),
        request_bytes("POST", CHAT, GOOD, headers={"transfer-encoding": "chunked"}),
        request_bytes("POST", CHAT, GOOD, headers={"x-nul": "a\x00b"}),
        request_bytes("POST", CHAT, GOOD, headers={"x-cr": "a\rb"}),
        request_bytes("POST", CHAT, GOOD, headers={"x-lf": "a\nb"}),
        request_bytes("POST", CHAT, GOOD, headers={"x y": "z"}),
        request_bytes("POST", "/v1/chat/\x00completions", GOOD),
        request_bytes("POST", "/v1/../v1/chat/completions", GOOD),
        request_bytes("POST", "/v1/%2e%2e/v1/chat/completions", GOOD),
        request_bytes("POST", "/v1/chat%5ccompletions", GOOD),
        request_bytes("POST", "//evil.example/v1/chat/completions", GOOD),
    ],
)
async def test_what_is_no_http(gateway: Gateway, oracle: RunningOracle, books: Books, request_: bytes) -> None:
    answer = await gateway.exchange(request_)
    assert 400 <= answer.status < 500, answer.raw
    check_envelope(answer, answer.status)
    assert await untouched(books, oracle)
    assert (await gateway.chat()).status == 200, "the others are served as ever"


async def test_headers_without_end(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    check_envelope(await gateway.chat(headers={"x": "y" * 100_000}), 431)
    check_envelope(await gateway.chat(headers={f"x-{number}": "y" for number in range(10_000)}), 431)
    check_envelope(await gateway.request("POST", CHAT + "?" + "x" * 100_000, GOOD), 431)
    assert await untouched(books, oracle)


SLOW = "bursar_settings: {header_timeout_s: 0.2, body_timeout_s: 0.2, keepalive_timeout_s: 0.2}"


@pytest.mark.parametrize("cut", [1, 20, 60, -1, -20])
async def test_senders_that_stop(start_gateway: StartGateway, oracle: RunningOracle, books: Books, cut: int) -> None:
    gateway = await start_gateway(settings=SLOW)
    connection = await gateway.connect()
    connection.writer.write(request_bytes("POST", CHAT, GOOD)[:cut])
    check_envelope(await connection.answer(), 408)
    await connection.close()
    assert await untouched(books, oracle)


async def test_a_client_that_says_nothing_is_not_waited_for(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(settings=SLOW)
    connection = await gateway.connect()
    async with asyncio.timeout(PATIENCE_S):
        assert await connection.reader.read() == b""
    await connection.close()


@pytest.mark.parametrize("cut", [20, -5])
async def test_a_request_whose_sender_shuts_down_halfway(
    gateway: Gateway, oracle: RunningOracle, books: Books, cut: int
) -> None:
    connection = await gateway.connect()
    connection.writer.write(request_bytes("POST", CHAT, GOOD)[:cut])
    connection.writer.write_eof()
    check_envelope(await connection.answer(), 400)
    await connection.close()
    assert await untouched(books, oracle)


# --- what a caller may not choose ---

EVIL = "http://169.254.169.254/latest"
ELSEWHERE: list[tuple[dict[str, Any], str]] = [
    ({"api_base": EVIL}, "api_base"),
    ({"base_url": EVIL}, "base_url"),
    ({"api_key": "sk-mine"}, "api_key"),
    ({"user_config": {"model_list": []}}, "user_config"),
    ({"metadata": {"a": [{"b": {"api_base": EVIL}}]}}, "api_base"),
    ({"metadata": '{"api_base": "x"}'}, "api_base"),
    ({"extra_body": {"base_url": EVIL}}, "base_url"),
    ({"extra_body": {"extra_body": {"api_base": EVIL}}}, "api_base"),
    ({"fallbacks": [{"model": "oracle", "api_base": EVIL}]}, "api_base"),
    ({"fallbacks": [{"model": "oracle", "api_key": "x"}]}, "api_key"),
    ({"messages": [{"role": "user", "content": "x", "api_base": EVIL}]}, "api_base"),
    ({"tools": [{"type": "function", "function": {"name": "f", "api_base": EVIL}}]}, "api_base"),
    ({"litellm_params": {"api_base": EVIL}}, "api_base"),
    ({"aws_bedrock_runtime_endpoint": EVIL}, "aws_bedrock_runtime_endpoint"),
    ({"vertex_credentials": "{}"}, "vertex_credentials"),
    ({"langfuse_host": EVIL}, "langfuse_host"),
    ({"extra_headers": {"Host": "evil"}}, "extra_headers.host"),
    ({"extra_headers": {"AUTHORIZATION": "Bearer x"}}, "extra_headers.authorization"),
    ({"extra_headers": {"x-api-key": "x"}}, "extra_headers.x-api-key"),
    ({"extra_headers": {"Transfer-Encoding": "chunked"}}, "extra_headers.transfer-encoding"),
    ({"extra_headers": {"Content-Length": 0}}, "extra_headers.content-length"),
    ({"extra_body": {"extra_headers": {"host": "evil"}}}, "extra_headers.host"),
]


@pytest.mark.parametrize(("members", "name"), ELSEWHERE, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("path", [CHAT, "/openai/deployments/oracle/chat/completions"])
async def test_where_a_call_goes_is_not_the_callers_choice(
    gateway: Gateway, oracle: RunningOracle, books: Books, members: dict[str, Any], name: str, path: str
) -> None:
    answer = await gateway.request("POST", path, GOOD | members)
    message = check_envelope(answer, 400, name)
    assert name in message
    assert EVIL not in message
    assert await untouched(books, oracle)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"oracle","messages":[{"role":"user","content":"x"}],"api\\u005fbase":"http://evil"}',
        b'{"model":"oracle","messages":[{"role":"user","content":"x"}],"\\u0061pi_base":"http://evil"}',
        b'{"model":"oracle","messages":[{"role":"user","content":"x"}],"x":{"api_base":1},"x":{}}',
        b'{"model":"oracle","messages":[{"role":"user","content":"x"}],"base_url" \n\t: null}',
        b'{"api_base":"http://evil","model":"oracle","messages":[{"role":"user","content":"x"}],"api_base":null}',
    ],
)
async def test_no_spelling_hides_it(gateway: Gateway, oracle: RunningOracle, books: Books, body: bytes) -> None:
    check = check_envelope(
        await gateway.request("POST", CHAT, body), 400, "base_url" if b"base_url" in body else "api_base"
    )
    assert "not allowed in request body" in check
    assert await untouched(books, oracle)


async def test_talking_about_it_is_allowed(gateway: Gateway) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"api_base": {}}}}}
    text = 'Write {"api_base": "http://x"} into user_config.'
    answer = await gateway.chat(messages=[{"role": "user", "content": text}], tools=[tool])
    assert answer.status == 200


# --- anything at all ---


async def test_random_damage(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """Bodies and heads with random bytes changed, cut out and put in: an answer of the 2xx or 4xx kind (501 where
    the path became another of the contract's); and every call that reached the provider is on the books."""
    whole = request_bytes("POST", CHAT, GOOD | {"stream": False, "metadata": {"a": 1}, "user": "u", "n": 1})
    dice = random.Random(20261121)
    damaged = []
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(data))
            match dice.randrange(3):
                case 0:
                    data[place] = dice.randrange(256)
                case 1:
                    del data[place : place + dice.randint(1, 9)]
                case _:
                    data[place:place] = dice.randbytes(dice.randint(1, 9))
        damaged.append(bytes(data))
    gate = asyncio.Semaphore(20)

    async def exchange(request: bytes) -> Answer:
        async with gate:
            connection = await gateway.connect()
            connection.writer.write(request)
            connection.writer.write_eof()
            answer = await connection.answer()
            await connection.close()
            return answer

    answers = await asyncio.gather(*(exchange(request) for request in damaged))
    for request, answer in zip(damaged, answers, strict=True):
        assert answer.status // 100 in (2, 4) or answer.status == 501, (request, answer.raw)
        if answer.status // 100 == 4:
            assert isinstance(json.loads(answer.body)["error"]["message"], str), (request, answer.raw)
    kinds = await books.kinds()
    assert len(oracle.requests) == kinds.count("settle") + kinds.count("void")
    assert kinds.count("settle") == len(oracle.bill())
    assert MASTER_KEY not in str(await books.rows())
