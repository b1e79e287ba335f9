"""What a model's name means: group, alias, wildcard, id; and deployments that answer by themselves, or not at all."""

from collections import Counter

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, MESSAGES, Books, Gateway

CHAT = "/v1/chat/completions"

# --- names ---

NAMES = """
- model_name: gpt-4o
  litellm_params: {{model: openai/gpt-4o, api_base: '{base}', api_key: x}}
  model_info: {{id: the-4o}}
- model_name: any/*
  litellm_params: {{model: openai/*, api_base: '{base}', api_key: x}}
- model_name: any/gpt-*
  litellm_params: {{model: openai/narrow-*, api_base: '{base}', api_key: x}}
- model_name: openai/*
  litellm_params: {{model: openai/*, api_base: '{base}', api_key: x}}
"""
ALIASES = """
router_settings:
  model_group_alias:
    fast: gpt-4o
    quiet: {model: gpt-4o, hidden: true}
    several: [gpt-4o, oracle]
    wild: any/thing
"""


@pytest.mark.parametrize(
    ("name", "upstream"),
    [
        ("gpt-4o", "gpt-4o"),
        ("fast", "gpt-4o"),
        ("quiet", "gpt-4o"),
        ("several", "gpt-4o"),
        ("wild", "thing"),
        ("any/thing", "thing"),
        ("any/a/b/c", "a/b/c"),
        ("any/gpt-5", "narrow-5"),
        ("the-4o", "gpt-4o"),
        ("openai/whatever", "whatever"),
        ("gpt-4o-mini", "gpt-4o-mini"),
    ],
)
async def test_what_a_name_means(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books, name: str, upstream: str
) -> None:
    """The client sees the name it used; the provider its own; the books both."""
    gateway = await start_gateway(models=NAMES, settings=ALIASES)
    answer = await gateway.chat(name)
    assert (answer.status, answer.json["model"]) == (200, name)
    assert oracle.bill()[0].model == upstream
    row = await books.row()
    assert (row["model_group"], row["model"]) == (name, f"openai/{upstream}")
    assert answer.headers["x-litellm-model-name"] == f"openai/{upstream}"
    streamed = await gateway.stream(name)
    assert {chunk["model"] for chunk in streamed.chunk_objects} == {name}


@pytest.mark.parametrize("name", ["nobody", "any", "gpt-4o ", " gpt-4o", "*", "any/", "openai/", "the-4O"])
async def test_what_a_name_does_not_mean(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books, name: str
) -> None:
    """Also where a pattern fits it and leaves no model to ask for."""
    gateway = await start_gateway(models=NAMES, settings=ALIASES)
    answer = await gateway.chat(name)
    assert (answer.status, answer.json["error"]["param"]) == (400, "model"), answer.body
    assert not oracle.requests
    assert await books.kinds() == ["call"]


async def test_the_list(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=NAMES, settings=ALIASES)
    listed = await gateway.model_ids()
    assert listed == sorted(listed)
    assert {"oracle", "gpt-4o", "fast", "several", "wild"} <= set(listed)
    assert "quiet" not in listed
    assert not any("*" in name for name in listed)
    assert {"openai/gpt-4o", "openai/gpt-4o-mini"} <= set(listed), "what the price book knows of the pattern"
    patterns = (await gateway.request("GET", "/v1/models?return_wildcard_routes=true")).json["data"]
    assert {"any/*", "openai/*"} <= {model["id"] for model in patterns}


async def test_one_of_the_list(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=NAMES, settings=ALIASES)
    one = (await gateway.request("GET", "/v1/models/gpt-4o")).json
    assert (one["mode"], one["max_input_tokens"]) == ("chat", 128_000)
    assert (await gateway.request("GET", "/v1/models/openai/gpt-4o")).json["id"] == "openai/gpt-4o"


async def test_aliases_are_permitted_by_their_own_name(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=NAMES, settings=ALIASES)
    by_alias, by_target = await gateway.new_key(models=["fast"]), await gateway.new_key(models=["gpt-4o"])
    assert (await gateway.chat("fast", key=by_alias)).status == 200
    assert (await gateway.chat("gpt-4o", key=by_alias)).status == 403
    assert (await gateway.chat("gpt-4o", key=by_target)).status == 200
    assert (await gateway.chat("fast", key=by_target)).status == 200


async def test_one_model_for_all(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings="general_settings: {completion_model: oracle}")
    assert (await gateway.chat("nobody")).json["model"] == "oracle"
    assert (await gateway.request("POST", CHAT, {"messages": MESSAGES})).status == 200


# --- deployments ---


async def test_weights(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(
        models="""
        - model_name: group
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x, weight: 3}}
          model_info: {{id: three}}
        - model_name: group
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x, weight: 1}}
          model_info: {{id: one}}
        - model_name: group
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x, weight: 0}}
          model_info: {{id: none}}
        """
    )
    answers = [await gateway.chat("group") for _ in range(200)]
    counts = Counter(answer.headers["x-litellm-model-id"] for answer in answers)
    assert counts["none"] == 0
    assert 120 < counts["three"] < 180  # 150, by five standard deviations
    assert counts == Counter(row["model_id"] for row in await books.rows())


async def test_paused_deployments(start_gateway: StartGateway, oracle: RunningOracle, books: Books) -> None:
    gateway = await start_gateway(
        models="""
        - model_name: half
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x}}
          blocked: true
          model_info: {{id: paused}}
        - model_name: half
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x}}
          model_info: {{id: running}}
        - model_name: whole
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x}}
          blocked: true
        """
    )
    assert {(await gateway.chat("half")).headers["x-litellm-model-id"] for _ in range(20)} == {"running"}
    answer = await gateway.chat("whole")
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    assert "paused" in answer.json["error"]["message"]
    assert len(oracle.requests) == 20
    assert [row["status"] for row in await books.rows()].count("failure") == 1


async def test_a_provider_of_another_dialect(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(
        models="""
        - model_name: claude
          litellm_params: {{model: bedrock/anthropic.claude-sonnet-4-5, api_key: x}}
        """
    )
    answer = await gateway.chat("claude")
    assert (answer.status, answer.json["error"]["type"]) == (501, "not_implemented_error")
    assert await books.kinds() == ["call"]


MOCKED = """
- model_name: mocked
  litellm_params: {{model: openai/gpt-4o, mock_response: 'Hello ☃', input_cost_per_token: 0.000001,
    output_cost_per_token: 0.000002}}
"""


async def test_a_mock(start_gateway: StartGateway, oracle: RunningOracle, books: Books) -> None:
    """Answered here, and charged like any other answer."""
    gateway = await start_gateway(models=MOCKED)
    answer = await gateway.chat("mocked")
    assert (answer.status, answer.json["model"]) == (200, "mocked")
    assert answer.json["choices"][0]["message"] == {"role": "assistant", "content": "Hello ☃"}
    assert answer.json["usage"] == {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    assert answer.headers["x-litellm-response-cost"] == "5e-05"
    streamed = await gateway.stream("mocked", usage=True)
    assert streamed.text() == "Hello ☃"
    assert streamed.chunk_objects[-1]["usage"]["cost"] == 5e-05
    assert streamed.events[-1] == "[DONE]"
    assert not oracle.requests
    assert [row["spend"] for row in await books.rows()] == [5e-05, 5e-05]
    assert await books.kinds() == ["settle", "call"] * 2


async def test_defaults_of_a_deployment(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    """Under the caller's own values."""
    gateway = await start_gateway(
        models="""
        - model_name: tuned
          litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x, temperature: 0.5, max_tokens: 3,
            extra_headers: {{x-team: t}}, extra_body: {{top_k: 5}}}}
        """
    )
    answer = await gateway.chat("tuned", temperature=1)
    assert answer.json["usage"]["completion_tokens"] == 3
    sent = oracle.requests[-1]
    assert (b'"temperature":1' in sent.body, b'"top_k":5' in sent.body) == (True, True)
    assert sent.header(b"x-team") == b"t"
    assert sent.header(b"authorization") == b"Bearer x"


@pytest.mark.parametrize(
    ("setting", "asked", "gets"), [("true", False, True), ("false", True, True), ("false", False, False)]
)
async def test_usage_for_everybody(
    start_gateway: StartGateway, oracle: RunningOracle, setting: str, asked: bool, gets: bool
) -> None:
    gateway = await start_gateway(settings=f"general_settings: {{always_include_stream_usage: {setting}}}")
    answer = await gateway.stream(usage=asked)
    assert any(chunk.get("usage") for chunk in answer.chunk_objects) == gets
    assert (b"include_usage" in oracle.requests[-1].body) == (setting == "true")


async def test_a_gateway_of_gateways(gateway: Gateway, start_gateway: StartGateway, books: Books) -> None:
    """A gateway behind a gateway is a provider like any other: each books the call, both the same."""
    front = await start_gateway(
        models=f"""
        - model_name: behind
          litellm_params: {{{{model: openai/oracle, api_base: '{gateway.base_url}', api_key: {MASTER_KEY},
            input_cost_per_token: 0.000001, output_cost_per_token: 0.000004}}}}
        """
    )
    for stream in (False, True):
        answer = await front.chat("behind", stream=stream)
        assert answer.status == 200
        assert answer.headers["llm_provider-x-litellm-model-group"] == "oracle"
        assert answer.headers["x-litellm-model-group"] == "behind"
    rows = await books.rows()
    assert sorted(row["model_group"] for row in rows) == ["behind", "behind", "oracle", "oracle"]
    assert len({row["spend"] for row in rows}) == 1
    assert len({row["request_id"] for row in rows}) == 4
