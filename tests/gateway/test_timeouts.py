"""How long a call may take: by deployment, router and request, and what is told and booked when it takes longer."""

from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway

SLOW = """
- model_name: by-deployment
  litellm_params: {{model: openai/oracle?head_ms=5000, api_base: '{base}', api_key: x, timeout: 0.1}}
- model_name: by-deployment-streamed
  litellm_params: {{model: openai/oracle?head_ms=5000, api_base: '{base}', api_key: x, timeout: 100,
    stream_timeout: 0.1}}
- model_name: slow
  litellm_params: {{model: openai/oracle?head_ms=5000, api_base: '{base}', api_key: x}}
"""


def check_late(answer: Any, seconds: str) -> None:
    assert (answer.status, answer.json["error"]["code"]) == (408, "408"), answer.raw
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert "litellm.Timeout" in answer.json["error"]["message"]
    assert answer.headers["x-litellm-timeout"] == seconds


async def test_of_the_deployment(start_gateway: StartGateway, oracle: RunningOracle, books: Books) -> None:
    gateway = await start_gateway(models=SLOW)
    check_late(await gateway.chat("by-deployment"), "0.1")
    check_late(await gateway.chat("by-deployment", stream=True), "0.1")
    check_late(await gateway.chat("by-deployment-streamed", stream=True), "0.1")
    assert await books.kinds() == ["unknown", "settle", "call"] * 3
    for row in await books.rows():
        assert row["metadata"]["error_information"]["error_class"] == "Timeout"
        assert "usage_estimated" in row["metadata"]["bursar"]["flags"]
        assert row["request_duration_ms"] < 2000


@pytest.mark.parametrize(
    ("settings", "stream"),
    [
        ("router_settings: {timeout: 0.1}", False),
        ("router_settings: {timeout: 0.1}", True),
        ("router_settings: {timeout: 100, stream_timeout: 0.1}", True),
        ("litellm_settings: {request_timeout: 0.1}", False),
        ("litellm_settings: {request_timeout: 0.1}\nrouter_settings: {stream_timeout: 0.1}", True),
    ],
)
async def test_of_the_router(start_gateway: StartGateway, settings: str, stream: bool) -> None:
    gateway = await start_gateway(models=SLOW, settings=settings)
    check_late(await gateway.chat("slow", stream=stream), "0.1")


@pytest.mark.parametrize(
    ("members", "headers", "stream"),
    [
        ({"timeout": 0.1}, {}, False),
        ({"timeout": "0.1"}, {}, False),
        ({"timeout": 100, "stream_timeout": 0.1}, {}, True),
        ({"timeout": 0.1}, {}, True),
        ({"timeout": 100}, {"x-litellm-timeout": "0.1"}, False),
        ({"stream_timeout": 100}, {"x-litellm-stream-timeout": "0.1", "x-litellm-timeout": "50"}, True),
        ({}, {"x-litellm-timeout": "0.1"}, True),
    ],
)
async def test_of_the_request(
    start_gateway: StartGateway, members: dict[str, Any], headers: dict[str, str], stream: bool
) -> None:
    """The most particular wins; a header over the body."""
    gateway = await start_gateway(models=SLOW)
    check_late(await gateway.chat("slow", headers=headers, stream=stream, **members), "0.1")


async def test_a_request_may_ask_for_more_time(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(settings="router_settings: {timeout: 0.05}")
    assert (await gateway.chat("at/head_ms=300", timeout=20)).status == 200


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf", "1e9", "", "1,5"])
async def test_headers_that_are_no_time(gateway: Gateway, oracle: RunningOracle, books: Books, value: str) -> None:
    answer = await gateway.chat(headers={"x-litellm-timeout": value})
    assert (answer.status, answer.json["error"]["param"]) == (400, "x-litellm-timeout")
    assert not oracle.requests
    assert {"open", "settle", "void"}.isdisjoint(await books.kinds())


async def test_in_the_middle_of_a_stream(gateway: Gateway, books: Books) -> None:
    """The client is told so in the stream; what came is booked."""
    answer = await gateway.stream("at/tokens=1000&delay_ms=20", timeout=0.4)
    assert answer.status == 200
    assert answer.complete
    assert answer.chunk_objects[-1]["error"]["code"] == "408"
    assert "[DONE]" not in answer.events
    row = await books.row()
    assert row["status"] == "failure"
    assert 5 < row["completion_tokens"] < 100


async def test_between_two_pieces(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings="bursar_settings: {upstream_idle_timeout_s: 0.2}")
    answer = await gateway.stream("at/fault=stall:3c")
    assert answer.chunk_objects[-1]["error"]["code"] == "408"
    steady = await gateway.stream("at/tokens=20&delay_ms=30")
    assert steady.events[-1] == "[DONE]", "as long as something comes, there is no hurry"
