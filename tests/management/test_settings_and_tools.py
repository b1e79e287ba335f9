"""`/config/*`, `/utils/token_counter`, `/health/services`."""

import json
from pathlib import Path
from typing import Any

import pytest

from bursar.domain.secrets import MASK
from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway, config_text, running_gateway
from tests.management.test_key_endpoints import check_error
from tests.management.test_model_endpoints import STORED
from tests.oracle.raw_client import Answer


async def update(gateway: Gateway, **settings: object) -> Answer:
    return await gateway.request("POST", "/config/update", {"litellm_settings": settings})


async def field(gateway: Gateway, name: str) -> dict[str, Any]:
    answer = await gateway.request("GET", f"/config/field/info?field_name={name}")
    assert answer.status == 200, answer.body
    assert isinstance(answer.json, dict)
    return answer.json


async def test_how_models_are_called_changes_at_once(gateway: Gateway) -> None:
    assert (await gateway.chat("oracle")).status == 200
    answer = await update(gateway, request_timeout=0.05)
    assert answer.status == 200
    assert answer.json["litellm_settings"] == ["request_timeout"]
    assert (await gateway.chat("at/head_ms=300")).status == 408
    found = await field(gateway, "request_timeout")
    assert (found["field_value"], found["stored_in_db"]) == (0.05, True)
    assert (await update(gateway, request_timeout=None)).json["litellm_settings"] == []
    assert (await gateway.chat("at/head_ms=300")).status == 200


async def test_the_rest_holds_from_the_next_start(oracle: RunningOracle, database_url: str, tmp_path: Path) -> None:
    text = config_text(oracle.base_url, settings=STORED)
    async with running_gateway(text, database_url=database_url, directory=tmp_path / "a") as first:
        await update(first, timezone="Europe/Berlin", request_timeout=0.05)
        assert (await field(first, "timezone"))["field_value"] == "UTC"
    async with running_gateway(text, database_url=database_url, directory=tmp_path / "a") as again:
        found = await field(again, "timezone")
        assert (found["field_value"], found["stored_in_db"], found["field_default_value"]) == (
            "Europe/Berlin",
            True,
            "UTC",
        )
        assert (await again.chat("at/head_ms=300")).status == 408
        await update(again, request_timeout=None)
        assert (await again.chat("at/head_ms=300")).status == 200, "back to the file's"


async def test_router_settings_are_taken_as_a_file_s_are(gateway: Gateway) -> None:
    answer = await gateway.request("POST", "/config/update", {"router_settings": {"num_retries": 3, "timeout": 0.05}})
    assert answer.status == 200, answer.body
    assert answer.json["router_settings"] == ["num_retries", "timeout"]
    assert answer.json["litellm_settings"] == []
    [warning] = answer.json["warnings"]
    assert warning.startswith("router_settings.num_retries: not active yet")
    assert (await gateway.chat("at/head_ms=300")).status == 408, "how models are called follows at once"
    found = await field(gateway, "num_retries")
    assert (found["field_value"], found["stored_in_db"]) == (3, True)
    body = {"router_settings": {"num_retries": None, "timeout": None}}
    answer = await gateway.request("POST", "/config/update", body)
    assert (answer.json["router_settings"], answer.json["warnings"]) == ([], [])
    assert (await gateway.chat("at/head_ms=300")).status == 200
    found = await field(gateway, "num_retries")
    assert (found["field_value"], found["stored_in_db"]) == (2, False)


async def test_routing_in_both_sections(start_gateway: StartGateway) -> None:
    """The router's own word wins, and the database's over the file's."""
    gateway = await start_gateway(settings=STORED + "\nrouter_settings: {num_retries: 5}")
    assert (await field(gateway, "num_retries"))["field_value"] == 5
    answer = await update(gateway, num_retries=3)
    assert answer.json["litellm_settings"] == ["num_retries"]
    assert answer.json["warnings"][0].startswith("litellm_settings.num_retries: not active yet")
    found = await field(gateway, "num_retries")
    assert (found["field_value"], found["stored_in_db"]) == (3, True)
    await gateway.request("POST", "/config/update", {"router_settings": {"num_retries": 4}})
    assert (await field(gateway, "num_retries"))["field_value"] == 4


async def test_default_fallbacks_and_fallbacks_are_two_settings(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        settings=STORED + "\nrouter_settings: {fallbacks: [{a: [b]}], default_fallbacks: [c]}"
    )

    async def rules() -> dict[str, list[str]]:
        found = await field(gateway, "fallbacks")
        return {rule["group"]: [target["model"] for target in rule["targets"]] for rule in found["field_value"]}

    assert await rules() == {"a": ["b"], "*": ["c"]}
    await gateway.request("POST", "/config/update", {"router_settings": {"default_fallbacks": ["d"]}})
    assert await rules() == {"a": ["b"], "*": ["d"]}
    await gateway.request("POST", "/config/update", {"router_settings": {"fallbacks": [{"x": ["y"]}]}})
    assert await rules() == {"x": ["y"], "*": ["d"]}
    await gateway.request("POST", "/config/update", {"router_settings": {"default_fallbacks": None}})
    assert await rules() == {"x": ["y"], "*": ["c"]}


async def test_what_is_no_setting_is_kept_and_told(gateway: Gateway) -> None:
    answer = await update(gateway, drop_param=True, drop_params=True)
    assert answer.json["litellm_settings"] == ["drop_param", "drop_params"]
    assert answer.json["warnings"] == [
        "litellm_settings.drop_param: unknown key, so it has no effect; did you mean drop_params?"
    ]


async def test_router_settings_hold_from_the_start(oracle: RunningOracle, database_url: str, tmp_path: Path) -> None:
    text = config_text(oracle.base_url, settings=STORED)
    body = {"router_settings": {"timeout": 0.05, "redis_password": "canary"}}
    async with running_gateway(text, database_url=database_url, directory=tmp_path / "a") as first:
        answer = await first.request("POST", "/config/update", body)
        assert "canary" not in answer.body.decode()
    async with running_gateway(text, database_url=database_url, directory=tmp_path / "a") as again:
        assert (await again.chat("at/head_ms=300")).status == 408
        assert (await field(again, "redis_password"))["field_value"] == MASK


async def test_secrets_in_settings_are_sealed_and_masked(gateway: Gateway, books: Books) -> None:
    answer = await update(gateway, cache_params={"host": "h", "password": "canary-1"}, drop_params=True)
    assert answer.status == 200, answer.body
    (row,) = await books.fetch('SELECT * FROM "LiteLLM_Config"')
    assert row["param_value"]["drop_params"] is True
    assert row["param_value"]["cache_params"]["host"] == "h"
    assert row["param_value"]["cache_params"]["password"].startswith("bursar:v1:")
    audited = await books.fetch('SELECT * FROM "LiteLLM_AuditLog"')
    assert [(entry["action"], entry["table_name"]) for entry in audited] == [("updated", "LiteLLM_Config")]
    assert "canary" not in str(audited)
    await update(gateway, drop_params=False)
    (row,) = await books.fetch('SELECT * FROM "LiteLLM_Config"')
    assert row["param_value"]["cache_params"]["password"].startswith("bursar:v1:")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "nothing in litellm_settings"),
        ({"router_settings": {}}, "nothing in litellm_settings or router_settings"),
        ({"litellm_settings": {"drop_params": True}, "router_settings": {"num_retries": -1}}, "num_retries"),
        ({"litellm_settings": {"drop_params": "sk-canary-0000"}}, "true or false"),
        ({"litellm_settings": {"request_timeout": -1}}, "request_timeout"),
        ({"litellm_settings": {"num_retries": "sk-canary-0000"}}, "num_retries"),
        ({"router_settings": {"health_check_interval": 1}}, "belongs under general_settings"),
        ({"general_settings": {"master_key": "sk-canary-0000"}}, "only be changed in the configuration file"),
        ({"environment_variables": {"PATH": "canary"}}, "only be changed in the configuration file"),
        ({"model_list": []}, "only be changed in the configuration file"),
    ],
)
async def test_what_cannot_be_set_is_refused(gateway: Gateway, books: Books, body: Any, word: str) -> None:
    answer = await gateway.request("POST", "/config/update", body)
    check_error(answer, 400, word)
    assert "canary" not in answer.body.decode()
    assert await books.fetch('SELECT FROM "LiteLLM_Config"') == []


async def test_settings_are_listed_without_secrets(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        settings="""
        general_settings: {database_url: 'postgresql://u:canary@h/d', alert_to_webhook_url: {a: 'https://x/canary'}}
        litellm_settings: {cache_params: {password: canary}, max_budget: 2.5}
        """
    )
    for section in ("general_settings", "litellm_settings", "router_settings"):
        answer = await gateway.request("GET", f"/config/list?config_type={section}")
        assert answer.status == 200
        assert "canary" not in answer.body.decode()
        assert len(answer.json) > 10
        assert {tuple(found) for found in answer.json} == {
            (
                "field_name",
                "field_type",
                "field_description",
                "field_value",
                "field_default_value",
                "stored_in_db",
            )
        }
    assert (await field(gateway, "database_url"))["field_value"] == MASK
    assert (await field(gateway, "max_budget"))["field_value"] == 2.5
    check_error(await gateway.request("GET", "/config/field/info?field_name=x"), 404, "no setting called 'x'")
    assert (await gateway.request("GET", "/config/list?config_type=x")).status == 422


# --- tokens ---


async def test_tokens_are_estimated_and_said_to_be(gateway: Gateway) -> None:
    key = await gateway.new_key(models=["oracle"])
    answer = await gateway.request("POST", "/utils/token_counter", {"model": "oracle", "prompt": "x" * 400}, key=key)
    assert answer.json == {
        "total_tokens": 100,
        "request_model": "oracle",
        "model_used": "openai/oracle",
        "tokenizer_type": "estimate",
    }
    messages = [{"role": "user", "content": "How many?"}]
    counted = await gateway.request("POST", "/utils/token_counter", {"model": "unknown", "messages": messages})
    assert counted.json["model_used"] == "unknown"
    assert counted.json["total_tokens"] == -(-len(json.dumps(messages, separators=(",", ":"))) // 4)


@pytest.mark.parametrize("body", [{"model": "m"}, {"model": "m", "prompt": "x", "messages": []}])
async def test_there_is_one_text_to_count(gateway: Gateway, body: Any) -> None:
    check_error(await gateway.request("POST", "/utils/token_counter", body), 400, "either")


async def test_no_integration_is_there_to_be_tested(gateway: Gateway) -> None:
    check_error(await gateway.request("GET", "/health/services?service=langfuse"), 400, "not set up")
    for query in ("", "?service=nothing"):
        assert (await gateway.request("GET", f"/health/services{query}")).status == 422


@pytest.mark.parametrize(
    ("method", "path", "param"),
    [
        ("GET", "/cache/ping", "cache_ping"),
        ("POST", "/cache/delete", "cache_delete"),
        ("POST", "/cache/flushall", "cache_flushall"),
    ],
)
async def test_there_is_no_cache(gateway: Gateway, method: str, path: str, param: str) -> None:
    answer = await gateway.request(method, path, {"keys": ["k"]} if method == "POST" else None)
    check_error(answer, 503, "Cache not initialized", error_type="cache_ping_error")
    assert answer.json["error"]["param"] == param
    assert "retry-after" not in answer.headers
