"""The headers of answers: LiteLLM's names, on every way an answer can go."""

import asyncio
import re
from collections.abc import Mapping
from decimal import Decimal

import pytest

from bursar import LITELLM_CONTRACT_VERSION, __version__
from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.gateway.scripted_upstream import scripted_upstream, streaming, whole
from tests.oracle.raw_client import Answer

EVERY_ANSWER = {
    "date",
    "x-content-type-options",
    "x-frame-options",
    "content-security-policy",
    "vary",
    "access-control-allow-origin",
    "access-control-expose-headers",
}
OF_THE_CALL = {"x-litellm-call-id", "x-litellm-version", "x-bursar-version", "x-litellm-key-spend"}
OF_THE_DEPLOYMENT = {
    "x-litellm-model-group",
    "x-litellm-model-name",
    "x-litellm-model-id",
    "x-litellm-model-api-base",
    "x-litellm-attempted-retries",
    "x-litellm-attempted-fallbacks",
}
DURATIONS = {"x-litellm-response-duration-ms", "x-litellm-overhead-duration-ms"}
COST = {
    "x-litellm-response-cost",
    "x-litellm-response-cost-original",
    "x-litellm-response-cost-input",
    "x-litellm-response-cost-output",
}
RATE_LIMITS = {f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")}
PLAIN = re.compile(r"\d+(\.\d+)?(e-\d+)?")


def own(answer: Answer) -> set[str]:
    """Names of all headers but those that stand on every answer and those of the provider's."""
    return {
        name
        for name in answer.headers
        if name not in EVERY_ANSWER and name not in RATE_LIMITS and not name.startswith("llm_provider-")
    }


def exactly(cost: str) -> int:
    """US dollars as nano-dollars; fails where the text stands for something finer."""
    nano = Decimal(cost) * 10**9
    assert nano == int(nano), cost
    return int(nano)


# --- which headers there are ---


async def test_of_a_whole_answer(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    key = await gateway.new_key(max_budget=10, tpm_limit=100_000, rpm_limit=60)
    answer = await gateway.chat("at/tokens=7&cached=2&reasoning=3", key=key)
    headers = answer.headers
    assert own(answer) == {
        *("content-type", "content-length", "request-id"),
        *OF_THE_CALL,
        *OF_THE_DEPLOYMENT,
        *DURATIONS,
        *COST,
        *("x-litellm-response-cost-cache-read", "x-litellm-response-cost-reasoning"),
        "x-bursar-max-tokens",
        *("x-litellm-key-max-budget", "x-litellm-key-tpm-limit", "x-litellm-key-rpm-limit"),
        *(f"x-ratelimit-api_key-{what}-{of}" for what in ("limit", "remaining") for of in ("requests", "tokens")),
    }
    row = await books.row()
    assert headers["content-type"] == "application/json"
    assert headers["x-litellm-call-id"] == row["litellm_call_id"]
    assert headers["x-litellm-version"] == LITELLM_CONTRACT_VERSION
    assert headers["x-bursar-version"] == __version__
    assert headers["x-litellm-model-group"] == "at/tokens=7&cached=2&reasoning=3"
    assert headers["x-litellm-model-name"] == row["model"] == "openai/oracle?tokens=7&cached=2&reasoning=3"
    assert headers["x-litellm-model-id"] == row["model_id"]
    assert headers["x-litellm-model-api-base"] == row["api_base"] == oracle.base_url
    assert (headers["x-litellm-attempted-retries"], headers["x-litellm-attempted-fallbacks"]) == ("0", "0")
    assert headers["x-litellm-key-max-budget"] == "10.0"
    assert headers["x-litellm-key-tpm-limit"] == "100000"
    assert headers["x-litellm-key-rpm-limit"] == "60"
    assert headers["request-id"] == oracle.bill()[0].provider_request_id


async def test_of_a_stream(gateway: Gateway, oracle: RunningOracle) -> None:
    """What it costs is not known when it begins: no cost is better than LiteLLM's 0.0."""
    answer = await gateway.stream()
    assert own(answer) == {
        *("content-type", "cache-control", "x-accel-buffering", "transfer-encoding", "request-id"),
        *OF_THE_CALL,
        *OF_THE_DEPLOYMENT,
        *DURATIONS,
    }
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-litellm-model-id"] == "the-oracle"
    assert answer.headers["request-id"] == oracle.bill()[0].provider_request_id


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_of_a_providers_error(gateway: Gateway, books: Books, stream: bool) -> None:
    """Better than LiteLLM: who failed can be told from the headers alone."""
    answer = await gateway.chat("at/fault=status:429&retry_after=7", stream=stream)
    assert own(answer) == {
        *("content-type", "content-length", "request-id", "retry-after", "x-litellm-timeout"),
        *OF_THE_CALL,
        *OF_THE_DEPLOYMENT,
        "x-litellm-response-cost",
    }
    assert answer.headers["retry-after"] == answer.headers["llm_provider-retry-after"] == "7"
    assert answer.headers["x-litellm-response-cost"] == "0"
    assert float(answer.headers["x-litellm-timeout"]) > 0
    assert answer.headers["x-litellm-call-id"] == (await books.row())["litellm_call_id"]


async def test_of_an_error_that_may_cost_something(gateway: Gateway, books: Books) -> None:
    answer = await gateway.chat("at/fault=status:500&body=html")
    assert exactly(answer.headers["x-litellm-response-cost"]) == await books.cost_nano_usd() > 0


async def test_of_a_refusal(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(models=["other"], max_budget=5)
    answer = await gateway.chat(key=key, headers={"x-litellm-call-id": "mine"})
    assert own(answer) == {
        *("content-type", "content-length", "x-litellm-response-cost", "x-litellm-key-max-budget"),
        *OF_THE_CALL,
    }
    assert answer.headers["x-litellm-call-id"] == "mine" == (await books.row())["litellm_call_id"]
    assert (answer.headers["x-litellm-response-cost"], answer.headers["x-litellm-key-spend"]) == ("0", "0.0")


async def test_of_a_refusal_of_a_stranger(gateway: Gateway) -> None:
    """Who is nobody learns nothing about keys."""
    answer = await gateway.chat(key="sk-unknown-0000000000")
    assert own(answer) == {"content-type", "content-length", *OF_THE_CALL} - {"x-litellm-key-spend"}


async def test_of_other_routes(gateway: Gateway) -> None:
    for method, path in (("GET", "/v1/models"), ("GET", "/health/readiness"), ("POST", "/key/generate")):
        answer = await gateway.request(method, path, {} if method == "POST" else None)
        assert answer.status == 200
        assert own(answer) == {"content-type", "content-length"}, path


async def test_of_every_answer(gateway: Gateway) -> None:
    answers = [
        await gateway.chat(),
        await gateway.stream(),
        await gateway.chat("at/fault=status:500"),
        await gateway.chat(key=None),
        await gateway.request("GET", "/nowhere"),
        await gateway.request("GET", "/health/liveness"),
        await gateway.exchange(b"nonsense\r\n\r\n"),
    ]
    for answer in answers:
        assert answer.headers.keys() >= EVERY_ANSWER, answer.raw
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert answer.headers["vary"] == "Origin"
        assert answer.headers["access-control-expose-headers"] == "*"
        assert "server" not in answer.headers


# --- money ---


@pytest.mark.parametrize(
    "scenario", ["tokens=1", "tokens=33&cached=5", "prompt=1&tokens=1", "prompt=999999&tokens=12345", "reasoning=7"]
)
async def test_the_cost_is_the_booked_one(gateway: Gateway, books: Books, scenario: str) -> None:
    answer = await gateway.chat(f"at/{scenario}")
    row = await books.row()
    headers = answer.headers
    assert exactly(headers["x-litellm-response-cost"]) == await books.cost_nano_usd()
    assert float(headers["x-litellm-response-cost"]) == row["spend"]
    assert headers["x-litellm-response-cost-original"] == headers["x-litellm-response-cost"]
    parts = [exactly(headers[f"x-litellm-response-cost-{part}"]) for part in ("input", "output")]
    assert sum(parts) == await books.cost_nano_usd()
    breakdown = row["metadata"]["cost_breakdown"]
    assert breakdown["total_cost"] == row["spend"]
    assert breakdown["input_cost"] == float(headers["x-litellm-response-cost-input"])
    assert all(PLAIN.fullmatch(headers[name]) for name in headers if "cost" in name or "spend" in name)


async def test_the_cost_of_a_stream_is_in_its_usage(gateway: Gateway, books: Books) -> None:
    answer = await gateway.stream("at/tokens=33&cached=5", usage=True)
    assert answer.chunk_objects[-1]["usage"]["cost"] == (await books.row())["spend"]


async def test_costs_below_a_nano_dollar_are_rounded_up_once(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(
        models="""
        - model_name: cheap
          litellm_params: {{model: openai/oracle?tokens=1&prompt=1, api_base: '{base}', api_key: x,
            input_cost_per_token: 1.0e-10, output_cost_per_token: 1.0e-10}}
        """
    )
    answer = await gateway.chat("cheap")
    assert answer.headers["x-litellm-response-cost"] == "1e-09"
    assert answer.headers["x-litellm-response-cost-input"] == "1e-10"
    assert await books.cost_nano_usd() == 1


async def test_no_cost_is_not_zero(start_gateway: StartGateway) -> None:
    """A price nobody knows is left out; a price of 0 is told."""
    gateway = await start_gateway(
        models="""
        - model_name: unpriced
          litellm_params: {{model: openai/nobody-knows, api_base: '{base}', api_key: x}}
        - model_name: free
          litellm_params: {{model: openai/f, api_base: '{base}', api_key: x, input_cost_per_token: 0,
            output_cost_per_token: 0}}
        """
    )
    unpriced, free = await gateway.chat("unpriced"), await gateway.chat("free")
    assert not COST & unpriced.headers.keys()
    assert free.headers["x-litellm-response-cost"] == "0.0"
    usages = [(await gateway.stream(name, usage=True)).chunk_objects[-1]["usage"] for name in ("unpriced", "free")]
    assert "cost" not in usages[0]
    assert usages[1]["cost"] == 0


async def test_the_spend_of_a_key_grows(gateway: Gateway, books: Books) -> None:
    """By each call, whoever posts it when; a stream tells what was spent before it."""
    key, other = await gateway.new_key(spend=0.5), await gateway.new_key()
    await asyncio.sleep(0.5)  # until the news of their making has arrived, after which they are read anew
    spends = [exactly((await gateway.chat("at/tokens=1", key=key)).headers["x-litellm-key-spend"]) for _ in range(3)]
    each = await books.cost_nano_usd() // 3
    assert spends == [500_000_000 + each * number for number in (1, 2, 3)]
    stream = await gateway.stream("at/tokens=1&first_ms=5", key=key)
    assert exactly(stream.headers["x-litellm-key-spend"]) == spends[-1]
    failed = await gateway.chat("at/fault=status:500", key=key)
    assert exactly(failed.headers["x-litellm-key-spend"]) == spends[-1] + each
    assert (await gateway.chat("at/fault=status:500", key=other)).headers["x-litellm-key-spend"] == "0.0"
    await books.posted()
    [row] = await books.fetch('SELECT spend FROM "LiteLLM_VerificationToken" WHERE spend > 0')
    assert row["spend"] == pytest.approx(0.5 + 4 * each / 1e9)


# --- time ---


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_durations(gateway: Gateway, stream: bool) -> None:
    """Of the whole, and of our part in it, which does not hold what the provider took."""
    answer = await gateway.chat("at/head_ms=120", stream=stream)
    duration = float(answer.headers["x-litellm-response-duration-ms"])
    overhead = float(answer.headers["x-litellm-overhead-duration-ms"])
    assert 120 <= duration < 2000
    assert 0 < overhead < 100


# --- what the provider says ---

SECRET_HEADERS = {
    "set-cookie": "session=secret",
    "authorization": "Bearer secret",
    "proxy-authorization": "Basic secret",
    "x-api-key": "secret",
    "api-key": "secret",
    "x-goog-api-key": "secret",
    "x-amz-security-token": "secret",
}
UPSTREAM_HEADERS = {
    "x-request-id": "req_1",
    "openai-organization": "org-1",
    "openai-project": "proj-1",
    "openai-processing-ms": "12",
    "x-litellm-response-cost": "99",
    "x-litellm-key-spend": "99",
    "server": "nginx/1",
    "x-odd": "caf\xe9",
    "location": "/x",
    "content-encoding": "identity",
    **{name: str(number) for number, name in enumerate(sorted(RATE_LIMITS))},
}
ODD = """
- model_name: odd
  litellm_params: {{{{model: openai/m, api_base: '{}', api_key: x}}}}
"""
BODY = (
    b'{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
EVENT = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n'


def fields(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


@pytest.mark.parametrize("kind", ["whole", "streamed", "error"])
async def test_the_providers_headers(start_gateway: StartGateway, kind: str) -> None:
    sent = fields(UPSTREAM_HEADERS | SECRET_HEADERS)
    script = (
        streaming(EVENT, b"data: [DONE]\n\n", fields=sent)
        if kind == "streamed"
        else whole(
            BODY if kind == "whole" else b'{"error":{"message":"no"}}',
            *sent,
            status="200 OK" if kind == "whole" else "429 No",
        )
    )
    async with scripted_upstream(script) as upstream:
        gateway = await start_gateway(models=ODD.format(upstream.base_url))
        answer = await gateway.chat("odd", stream=kind == "streamed")
    headers = answer.headers
    assert answer.status == (429 if kind == "error" else 200)
    for name, value in UPSTREAM_HEADERS.items():
        assert headers[f"llm_provider-{name}"] == value, name
    for name in RATE_LIMITS:
        assert headers[name] == UPSTREAM_HEADERS[name]
    assert headers["request-id"] == "req_1"
    assert headers.get("x-litellm-response-cost") != "99"
    assert headers["x-litellm-key-spend"] != "99"
    assert not {"server", "location", "content-encoding", "openai-organization", "x-odd"} & headers.keys()
    for name in SECRET_HEADERS:
        assert name not in headers
        assert f"llm_provider-{name}" not in headers
    assert "secret" not in answer.raw.decode("latin-1")


async def test_an_operator_may_hide_the_organization(start_gateway: StartGateway) -> None:
    async with scripted_upstream(whole(BODY, *fields(UPSTREAM_HEADERS))) as upstream:
        gateway = await start_gateway(
            models=ODD.format(upstream.base_url), settings="bursar_settings: {forward_upstream_headers: safe}"
        )
        headers = (await gateway.chat("odd")).headers
    assert "llm_provider-openai-organization" not in headers
    assert "llm_provider-openai-project" not in headers
    assert headers["llm_provider-openai-processing-ms"] == "12"


async def test_a_name_that_no_header_can_carry(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        models="""
        - model_name: '模型 ☃'
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x}}
        """
    )
    answer = await gateway.chat("模型 ☃")
    assert answer.status == 200
    assert answer.json["model"] == "模型 ☃"
    assert answer.headers["x-litellm-model-group"] == "?? ?"
