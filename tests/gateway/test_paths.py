"""Paths and methods, and how healthy the gateway says it is."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, MESSAGES, Books, Gateway, request_bytes
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S

CHAT = "/v1/chat/completions"


def check_error(answer: Answer, status: int, error_type: str) -> None:
    assert answer.status == status, answer.raw
    error = answer.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == (error_type, str(status))


# --- ways to the same thing ---


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        "/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions?api-version=1",
        "/openai/deployments/oracle/chat/completions",
        "/openai/deployments/oracle/chat/completions?api-version=2024-10-21",
        "/engines/oracle/chat/completions",
        "http://gateway/v1/chat/completions",
        "/v1/chat/%63ompletions",
    ],
)
async def test_ways_to_chat(gateway: Gateway, path: str) -> None:
    answer = await gateway.request("POST", path, {"model": "oracle", "messages": MESSAGES})
    assert (answer.status, answer.json["model"]) == (200, "oracle")


async def test_the_paths_model_wins(gateway: Gateway, books: Books) -> None:
    bodies: list[dict[str, Any]] = [{"model": "nobody", "messages": MESSAGES}, {"messages": MESSAGES}]
    for model in ("at/tokens=2", "at%2Ftokens=2"):
        for body in bodies:
            answer = await gateway.request("POST", f"/openai/deployments/{model}/chat/completions", body)
            assert (answer.status, answer.json["model"]) == (200, "at/tokens=2")
    assert {row["model_group"] for row in await books.rows()} == {"at/tokens=2"}


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/models?limit=5"])
async def test_ways_to_the_list(gateway: Gateway, path: str) -> None:
    answer = await gateway.request("GET", path)
    assert answer.json == {
        "object": "list",
        "data": [{"id": "oracle", "object": "model", "created": 1677610602, "owned_by": "openai"}],
    }


@pytest.mark.parametrize("path", ["/v1/models/oracle", "/models/oracle"])
async def test_ways_to_one_model(gateway: Gateway, path: str) -> None:
    assert (await gateway.request("GET", path)).json["id"] == "oracle"


# --- ways to nothing ---


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1/embeddings",
            "/embeddings",
            "/v1/completions",
            "/v1/responses",
            "/v1/messages",
            "/v1/images/generations",
        ),
        *(
            "/v1/audio/speech",
            "/v1/moderations",
            "/v1/rerank",
            "/v1/batches",
            "/v1/files/file-1/content",
            "/v1/realtime",
        ),
        *("/v1beta/models/gemini:generateContent", "/models/gemini:streamGenerateContent"),
        *("/openai/deployments/gpt-4o/embeddings", "/anthropic/v1/messages", "/vertex_ai/x/y"),
        *(
            "/team/t/callback",
            "/global/activity/cache_hits",
            "/provider/budgets",
        ),
        *("/model/metrics", "/fallback", "/ui", "/ui/x", "/redoc", "/health/history", "/settings", "/tag/user-agent/x"),
        *("/v1/access_group", "/access_group/list", "/vector_store/new", "/search_tools/list", "/v1/mcp/server"),
        *("/v1/agents", "/v1/agents/a", "/claude-code/plugins", "/email/event_settings", "/cloudzero/settings"),
        *("/vantage/export", "/jwt/key/mapping/new", "/scim/v2/Users", "/prompts/list", "/project/new"),
    ],
)
async def test_what_is_not_built_yet_says_so(gateway: Gateway, books: Books, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await gateway.request(method, path, None if method == "GET" else {})
        check_error(answer, 501, "not_implemented_error")
        assert f"{method} {path}" in answer.json["error"]["message"]
    assert await books.nothing()


def test_every_path_of_the_api_page_is_known() -> None:
    """What docs/api.md promises, this file has tried: no path of it is answered by chance."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    named = set(re.findall(r"`(?:GET|POST) (/[\w/{}.:-]*)`", page))
    assert {"/v1/chat/completions", "/v1/models", "/key/generate"} <= named


@pytest.mark.parametrize(
    "path",
    [
        *("/nowhere", "/v1", "/v1/nowhere", "/v2/chat/completions", "/v1/chat", "/v1/chat/completions/x", "/.env"),
        *("/keys", "/key", "/key/x", "/key/x/y/regenerate", "/user/x", "/user/info/x", "/team/x/y", "/organization/x"),
        *("/customer/x", "/end_user/x", "/budget/x", "/tag/x", "/model/x", "/model_group/x", "/credentials/a/b/c"),
        *("/spend/x", "/global/x", "/global/spend/x", "/config/x", "/cache/x", "/audit/x/y", "/health/x", "/v2/x"),
        *("/health/readiness/x", "/config/list/x", "/router/x", "/docs/x", "/login/x", "/jwt/x", "/email/x"),
    ],
)
async def test_what_does_not_exist(gateway: Gateway, books: Books, path: str) -> None:
    for method in ("GET", "POST"):
        check_error(await gateway.request(method, path), 404, "not_found_error")
    assert await books.nothing()


async def test_a_model_that_does_not_exist(gateway: Gateway) -> None:
    check_error(await gateway.request("GET", "/v1/models/nobody"), 404, "not_found_error")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", CHAT), ("PUT", CHAT), ("DELETE", "/chat/completions"), ("HEAD", CHAT), ("OPTIONS", CHAT)),
        *(("GET", "/openai/deployments/oracle/chat/completions"), ("PATCH", "/engines/x/chat/completions")),
        *(("POST", "/v1/models"), ("DELETE", "/v1/models/oracle"), ("POST", "/health"), ("PUT", "/health/readiness")),
    ],
)
async def test_other_methods(gateway: Gateway, books: Books, method: str, path: str) -> None:
    if method == "HEAD":
        connection = await gateway.connect()
        connection.writer.write(request_bytes(method, path))
        assert (await connection.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        await connection.close()
    else:
        check_error(await gateway.request(method, path), 405, "invalid_request_error")
    assert await books.nothing()


async def test_head_is_get_without_a_body(gateway: Gateway) -> None:
    while (await gateway.request("GET", "/health/readiness")).json["db"] != "connected":  # it has just begun
        await asyncio.sleep(0.05)
    for path in ("/v1/models", "/health/liveness", "/health/readiness", "/"):
        whole = await gateway.request("GET", path)
        connection = await gateway.connect()
        connection.writer.write(request_bytes("HEAD", path) + request_bytes("GET", "/health/liveness"))
        head = await connection.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: %d\r\n" % len(whole.body) in head
        assert (await connection.answer()).body == b'"I\'m alive!"', "nothing stands between the two"
        await connection.close()


async def test_browsers_may_ask_first(gateway: Gateway) -> None:
    """A preflight has no key."""
    for path in (CHAT, "/v1/models", "/key/generate"):
        headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
        connection = await gateway.connect()
        connection.writer.write(request_bytes("OPTIONS", path, key=None, headers=headers))
        head = await connection.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 204 ")
        assert b"access-control-allow-origin: *\r\n" in head
        assert b"access-control-allow-methods: " in head
        assert b"access-control-allow-headers: *\r\n" in head
        await connection.close()


async def test_the_front_door(gateway: Gateway) -> None:
    answer = await gateway.request("GET", "/", key=None)
    assert answer.status == 200
    assert b"/v1" in answer.body


# --- health ---


async def test_alive(gateway: Gateway) -> None:
    for path in ("/health/liveliness", "/health/liveness"):
        answer = await gateway.request("GET", path, key=None)
        assert (answer.status, answer.json) == (200, "I'm alive!")


async def test_ready(gateway: Gateway) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await gateway.request("GET", "/health/readiness", key=None)).json["db"] != "connected":
            await asyncio.sleep(0.01)
    assert (answer.status, answer.json["status"]) == (200, "healthy")


async def test_not_ready_when_shutting_down(gateway: Gateway) -> None:
    """On a connection that is busy when it begins, whose request still gets its answer."""
    connection = await gateway.connect()
    connection.writer.write(
        request_bytes("POST", CHAT, {"model": "at/head_ms=100", "messages": MESSAGES})
        + request_bytes("GET", "/health/readiness")
    )
    await asyncio.sleep(0.03)  # the request is on its way
    gateway.worker.end()
    first = await connection.answer()
    assert (first.status, first.headers["connection"]) == (200, "close")
    await connection.close()


async def test_health_without_a_key_says_little(gateway: Gateway, oracle: RunningOracle) -> None:
    answer = await gateway.request("GET", "/health", key=None)
    assert (answer.status, answer.json) == (200, {"status": "healthy"})
    assert not oracle.requests
    check_error(await gateway.request("GET", "/health", key="sk-wrong-000000000"), 401, "token_not_found_in_db")


PROBED = """
- model_name: ill
  litellm_params: {{model: openai/oracle?fault=status:500, api_base: '{base}', api_key: x}}
  model_info: {{id: the-ill-one}}
- model_name: paused
  litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x}}
  blocked: true
  model_info: {{id: the-paused-one}}
"""


async def test_health_with_a_key_probes(start_gateway: StartGateway, oracle: RunningOracle, books: Books) -> None:
    gateway = await start_gateway(models=PROBED)
    answer = await gateway.request("GET", "/health")
    assert answer.status == 200
    health = answer.json
    assert (health["healthy_count"], health["unhealthy_count"]) == (1, 2)
    assert [entry["model_id"] for entry in health["healthy_endpoints"]] == ["the-oracle"]
    errors = {entry["model_id"]: entry["error"] for entry in health["unhealthy_endpoints"]}
    assert "InternalServerError" in errors["the-ill-one"]
    assert "paused" in errors["the-paused-one"]
    rows = await books.rows()
    assert len(rows) == 3, "probes are calls like any other"
    assert await books.cost_nano_usd() == sum(line.cost_nano_usd for line in oracle.bill())


async def test_health_of_some(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    gateway = await start_gateway(models=PROBED)
    for query in ("?model=oracle", "?model_id=the-oracle"):
        health = (await gateway.request("GET", f"/health{query}")).json
        assert (health["healthy_count"], health["unhealthy_count"]) == (1, 0)
    key = await gateway.new_key(models=["ill"])
    health = (await gateway.request("GET", "/health", key=key)).json
    assert (health["healthy_count"], health["unhealthy_count"]) == (0, 1)
    assert (await gateway.request("GET", "/health?model=nobody", key=MASTER_KEY)).json["healthy_count"] == 0


async def test_where_deployments_are_is_for_administrators(gateway: Gateway) -> None:
    """Everybody else learns which of the models he may call answer."""
    for role in ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"):
        made = await gateway.request("POST", "/user/new", {"user_id": f"a-{role}", "user_role": role})
        assert made.status == 200, made.body
        key = await gateway.new_key(user_id=f"a-{role}")
        [entry] = (await gateway.request("GET", "/health", key=key)).json["healthy_endpoints"]
        assert ("api_base" in entry) is role.startswith("proxy_admin"), role
    for fields in ({}, {"key_type": "llm_api"}, {"key_type": "read_only"}):
        key = await gateway.new_key(**fields)
        answer = await gateway.request("GET", "/health", key=key)
        assert "api_base" not in str(answer.json), fields
        assert answer.json["healthy_count"] + answer.json["unhealthy_count"] == 1
    [entry] = (await gateway.request("GET", "/health", key=MASTER_KEY)).json["healthy_endpoints"]
    assert entry["api_base"].startswith("http://127.0.0.1:")
