"""Who may call: keys in every form, right and wrong, and what each may use."""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, MESSAGES, Books, Gateway, request_bytes
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S, promised

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"model": "oracle", "messages": MESSAGES}


def check_refused(answer: Answer, status: int, error_type: str, word: str = "") -> None:
    assert answer.status == status, answer.raw
    error = answer.json["error"]
    assert (error["type"], error["code"]) == (error_type, str(status))
    assert word in error["message"]
    assert "www-authenticate" not in answer.headers or status == 401


async def with_headers(gateway: Gateway, headers: Mapping[str, str]) -> Answer:
    return await gateway.chat(key=None, headers=headers)


# --- where the key stands ---


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {MASTER_KEY}"},
        {"authorization": f"bearer {MASTER_KEY}"},
        {"authorization": f"BEARER   {MASTER_KEY}"},
        {"authorization": f"Basic {MASTER_KEY}"},
        {"x-litellm-api-key": MASTER_KEY},
        {"x-litellm-api-key": f"Bearer {MASTER_KEY}"},
        {"x-litellm-api-key": MASTER_KEY, "authorization": "Bearer of the provider's"},
        {"api-key": MASTER_KEY},
        {"x-api-key": MASTER_KEY},
        {"x-goog-api-key": MASTER_KEY},
        {"ocp-apim-subscription-key": MASTER_KEY},
        {"x-litellm-api-key": "", "api-key": MASTER_KEY},
    ],
)
async def test_a_key_is_found(gateway: Gateway, oracle: RunningOracle, headers: dict[str, str]) -> None:
    assert (await with_headers(gateway, headers)).status == 200
    sent = b"".join(name + value for name, value in oracle.requests[-1].headers)
    assert MASTER_KEY.encode() not in sent


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({}, "No api key passed in"),
        ({"authorization": ""}, "No api key passed in"),
        ({"authorization": "   "}, "No api key passed in"),
        ({"authorization": MASTER_KEY}, "Malformed API Key"),
        ({"authorization": f"Token {MASTER_KEY}"}, "Malformed API Key"),
        ({"authorization": f"Bearer{MASTER_KEY}"}, "Malformed API Key"),
        ({"authorization": "Bearer "}, "Malformed API Key"),
        ({"authorization": "Bearer not-a-key"}, "expected to start with 'sk-'"),
        ({"authorization": f"Bearer {MASTER_KEY} {MASTER_KEY}"}, "Invalid proxy server token"),
        ({"authorization": f"Bearer {MASTER_KEY}x"}, "Invalid proxy server token"),
        ({"authorization": f"Bearer {MASTER_KEY[:-1]}"}, "Invalid proxy server token"),
        ({"authorization": f"Bearer {MASTER_KEY.upper()}"}, "expected to start with 'sk-'"),
        ({"authorization": "Bearer sk-"}, "Invalid proxy server token"),
        ({"authorization": "Bearer sk-unknown-key-000000"}, "Invalid proxy server token"),
        ({"authorization": "Bearer sk-\udcff\udcfe\udcc3"}, "Invalid proxy server token"),
        ({"authorization": 'Bearer sk-\' OR 1=1; DROP TABLE "LiteLLM_VerificationToken"; --'}, "Invalid proxy server"),
        ({"authorization": "Bearer sk-${jndi:ldap://x}"}, "Invalid proxy server token"),
        ({"authorization": "Bearer sk-" + "k" * 50_000}, "Invalid proxy server token"),
        ({"x-litellm-api-key": "wrong", "authorization": f"Bearer {MASTER_KEY}"}, "expected to start with 'sk-'"),
        ({"cookie": f"token={MASTER_KEY}"}, "No api key passed in"),
    ],
)
async def test_who_is_nobody(
    gateway: Gateway, oracle: RunningOracle, books: Books, headers: dict[str, str], word: str
) -> None:
    answer = await with_headers(gateway, headers)
    error_type = "token_not_found_in_db" if "Invalid proxy" in word else "auth_error"
    check_refused(answer, 401, error_type, word)
    assert len(answer.body) < 1000
    assert MASTER_KEY not in answer.raw.decode("latin-1")
    assert await books.nothing()
    assert not oracle.requests


async def test_two_authorizations(gateway: Gateway, books: Books) -> None:
    """Two programs in a row might each read another one."""
    answer = await gateway.chat(headers={"Authorization": f"Bearer {MASTER_KEY}"})
    assert answer.status == 400
    assert "More than one Authorization" in answer.json["error"]["message"]
    assert await books.nothing()


async def test_a_key_of_a_hundred_kilobytes(gateway: Gateway, books: Books) -> None:
    answer = await gateway.chat(key="sk-" + "k" * 100_000)
    assert answer.status == 431
    assert await books.nothing()


@pytest.mark.parametrize("octet", [b"\x00", b"\r", b"\n", b"\x7f", b"\x01"])
async def test_octets_no_header_has(gateway: Gateway, books: Books, octet: bytes) -> None:
    data = request_bytes("POST", CHAT, GOOD).replace(b"Bearer sk-", b"Bearer sk-" + octet)
    answer = await gateway.exchange(data)
    assert answer.status in (400, 401)
    assert answer.json["error"]["message"]
    assert await books.nothing()


async def test_a_hash_is_a_name_and_no_key(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key()
    hashed = hashlib.sha256(key.encode()).hexdigest()
    for presented in (hashed, f"sk-{hashed}", hashed.upper()):
        assert (await gateway.chat(key=presented)).status == 401
    assert (await gateway.chat(key=key)).status == 200


async def test_a_header_of_the_operators_own(start_gateway: StartGateway) -> None:
    """Then no other counts."""
    gateway = await start_gateway(settings="general_settings: {litellm_key_header_name: X-Gate-Key}")
    assert (await with_headers(gateway, {"x-gate-key": MASTER_KEY})).status == 200
    assert (await with_headers(gateway, {"x-gate-key": f"Bearer {MASTER_KEY}"})).status == 200
    assert (await with_headers(gateway, {"authorization": f"Bearer {MASTER_KEY}"})).status == 401


async def test_a_key_that_litellm_made_works(gateway: Gateway, books: Books) -> None:
    """As its tables hold it: the SHA-256 of the whole key, in hex."""
    await books.fetch(
        "INSERT INTO \"LiteLLM_VerificationToken\" (token) VALUES (encode(sha256($1), 'hex'))", b"sk-from-litellm-0001"
    )
    assert (await gateway.chat(key="sk-from-litellm-0001")).status == 200


async def test_without_a_master_key_every_caller_is_the_administrator(start_gateway: StartGateway) -> None:
    """Which the composition root allows on loopback only."""
    gateway = await start_gateway(master_key=None)
    assert (await gateway.chat(key=None)).status == 200


# --- keys that are not good any more ---


async def test_an_expired_key(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(duration="30d")
    assert (await gateway.chat(key=key)).status == 200
    await books.fetch(
        'UPDATE "LiteLLM_VerificationToken" SET expires = $1',
        datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1),
    )
    await books.fetch("SELECT pg_notify('bursar_keys', token) FROM \"LiteLLM_VerificationToken\"")
    answer = await refused_soon(gateway, key)
    check_refused(answer, 401, "expired_key", "Expired Key")


async def test_a_key_expires_while_it_is_in_use(gateway: Gateway) -> None:
    key = await gateway.new_key(duration="2s")
    assert (await gateway.chat(key=key)).status == 200
    check_refused(await refused_soon(gateway, key), 401, "expired_key", "Expired Key")


async def test_a_blocked_key(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(blocked=True)
    check_refused(await gateway.chat(key=key), 401, "auth_error", "Key is blocked")
    assert await books.nothing()


async def test_a_blocked_team(gateway: Gateway, books: Books) -> None:
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, blocked, updated_at) VALUES ('t', true, now())")
    key = await gateway.new_key(team_id="t")
    check_refused(await gateway.chat(key=key), 401, "auth_error", "Team=t is blocked")


@promised(1.0)
async def test_a_deleted_key_dies_within_a_second(gateway: Gateway, at_most_s: float) -> None:
    key, other = await gateway.new_key(), await gateway.new_key()
    assert (await gateway.chat(key=key)).status == 200
    assert (await gateway.request("POST", "/key/delete", {"keys": [key]})).status == 200
    check_refused(await refused_soon(gateway, key, at_most_s), 401, "token_not_found_in_db")
    assert (await gateway.chat(key=other)).status == 200


@promised(1.0)
async def test_a_key_that_was_deleted_elsewhere(gateway: Gateway, books: Books, at_most_s: float) -> None:
    """By another worker or another gateway on the same database, which tells."""
    key = await gateway.new_key()
    assert (await gateway.chat(key=key)).status == 200
    await books.fetch("DELETE FROM \"LiteLLM_VerificationToken\" RETURNING pg_notify('bursar_keys', token)")
    await refused_soon(gateway, key, at_most_s)


async def refused_soon(gateway: Gateway, key: str, at_most_s: float = PATIENCE_S) -> Answer:
    async with asyncio.timeout(at_most_s):
        while (answer := await gateway.chat("at/tokens=1", key=key)).status == 200:
            await asyncio.sleep(0.02)
    return answer


async def test_a_call_under_way_survives_its_key(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """It was admitted; it ends, and is booked under the key it had."""
    key = await gateway.new_key()
    call = asyncio.create_task(gateway.chat("at/tokens=20&delay_ms=10", key=key, stream=True))
    async with asyncio.timeout(PATIENCE_S):
        while not oracle.requests:
            await asyncio.sleep(0.005)
    await gateway.request("POST", "/key/delete", {"keys": [key]})
    answer = await call
    assert answer.events[-1] == "[DONE]"
    assert (await books.row())["api_key"] == hashlib.sha256(key.encode()).hexdigest()


async def test_a_key_costs_one_look(gateway: Gateway, books: Books) -> None:
    """After its first use nobody asks the database: a table that looking needs may even be gone."""
    key = await gateway.new_key()
    await asyncio.sleep(0.5)  # until the news of its making has arrived, after which it is looked up again
    assert (await gateway.chat(key=key)).status == 200
    await books.fetch('ALTER TABLE "LiteLLM_UserTable" RENAME TO gone')
    try:
        answers = [await gateway.chat("at/tokens=1", key=key) for _ in range(20)]
        unseen = await gateway.chat(key="sk-never-seen-before-0000")
    finally:
        await books.fetch('ALTER TABLE gone RENAME TO "LiteLLM_UserTable"')
    assert {answer.status for answer in answers} == {200}
    assert unseen.status >= 500, "this one did look"


# --- what a key may use ---

MODELS = """
- model_name: gpt-4o
  litellm_params: {{model: openai/gpt-4o, api_base: '{base}', api_key: x}}
  model_info: {{access_groups: [beta]}}
- model_name: team/model
  litellm_params: {{model: openai/other, api_base: '{base}', api_key: x}}
- model_name: wild/*
  litellm_params: {{model: openai/*, api_base: '{base}', api_key: x}}
  model_info: {{access_groups: [wilds]}}
"""
ALL = {"oracle", "gpt-4o", "team/model", "wild/x"}


@pytest.mark.parametrize(
    ("models", "allowed"),
    [
        ([], ALL),
        (["*"], ALL),
        (["all-proxy-models"], ALL),
        (["gpt-4o"], {"gpt-4o"}),
        (["openai/gpt-4o"], set()),  # what the provider calls it gives no right to what is called otherwise here
        (["openai/*"], ALL),
        (["team/*"], {"team/model"}),
        (["team/model", "oracle"], {"team/model", "oracle"}),
        (["beta"], {"gpt-4o"}),
        (["wilds"], {"wild/x"}),
        (["wild/*"], {"wild/x"}),
        (["wild/y"], set()),
        (["gpt"], set()),
        (["GPT-4O"], set()),
        (["no-default-models"], set()),
    ],
)
async def test_models_of_a_key(
    start_gateway: StartGateway, oracle: RunningOracle, models: list[str], allowed: set[str]
) -> None:
    gateway = await start_gateway(models=MODELS)
    key = await gateway.new_key(models=models)
    answers = {name: await gateway.chat(name, key=key) for name in sorted(ALL)}
    assert {name for name, answer in answers.items() if answer.status == 200} == allowed
    for name in ALL - allowed:
        check_refused(answers[name], 403, "key_model_access_denied", f"'{name}' is not available")
    assert len(oracle.requests) == len(allowed)
    listed = set(await gateway.model_ids(key))
    assert listed & ALL == allowed - {"wild/x"}


async def test_models_of_a_team(start_gateway: StartGateway, books: Books) -> None:
    """Key and team must both allow it."""
    gateway = await start_gateway(models=MODELS)
    await books.fetch(
        "INSERT INTO \"LiteLLM_TeamTable\" (team_id, models, updated_at) VALUES ('t', '{gpt-4o,oracle}', now())"
    )
    key = await gateway.new_key(team_id="t", models=["gpt-4o", "team/model"])
    assert (await gateway.chat("gpt-4o", key=key)).status == 200
    check_refused(await gateway.chat("team/model", key=key), 403, "team_model_access_denied")
    check_refused(await gateway.chat("oracle", key=key), 403, "key_model_access_denied")
    assert await gateway.model_ids(key) == ["gpt-4o"]


async def test_an_unknown_model_says_nothing_about_others(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=MODELS)
    key = await gateway.new_key(models=["gpt-4o"])
    answer = await gateway.chat("nobody", key=key)
    assert answer.status in (400, 403)
    assert "team/model" not in answer.body.decode()


@pytest.mark.parametrize(
    ("settings", "chat", "models", "info"),
    [
        ({}, 200, 200, 200),
        ({"allowed_routes": ["llm_api_routes"]}, 200, 200, 403),
        ({"allowed_routes": ["openai_routes"]}, 200, 200, 403),
        ({"allowed_routes": ["info_routes"]}, 403, 200, 200),
        ({"allowed_routes": ["/v1/models"]}, 403, 200, 403),
        ({"allowed_routes": ["/v1/*"]}, 200, 200, 403),
        ({"allowed_routes": ["/v2/*"]}, 403, 403, 403),
        ({"key_type": "llm_api"}, 200, 200, 403),
        ({"key_type": "read_only"}, 403, 200, 200),
        ({"key_type": "management"}, 403, 403, 200),
    ],
)
async def test_routes_of_a_key(
    gateway: Gateway, oracle: RunningOracle, books: Books, settings: dict[str, Any], chat: int, models: int, info: int
) -> None:
    key = await gateway.new_key(**settings)
    answers = [
        await gateway.chat(key=key),
        await gateway.request("GET", "/v1/models", key=key),
        await gateway.request("GET", "/key/info", key=key),
    ]
    assert [answer.status for answer in answers] == [chat, models, info]
    for answer in answers:
        if answer.status == 403:
            check_refused(answer, 403, "auth_error", "not allowed to call this route")
    assert len(oracle.requests) == (chat == 200)


async def test_another_spelling_of_a_path_gets_no_further(gateway: Gateway) -> None:
    """Permission is asked for the path that is routed."""
    key = await gateway.new_key(allowed_routes=["/v1/models"])
    for path in ("/v1/chat/completions/", "/v1/chat%2fcompletions", "/v1//chat/completions", "/chat/completions"):
        answer = await gateway.request("POST", path, GOOD, key=key)
        assert answer.status in (400, 403, 404), (path, answer.raw)
    for path in ("/engines/oracle/chat/completions", "/openai/deployments/oracle/chat/completions"):
        assert (await gateway.request("POST", path, GOOD, key=key)).status == 403


async def test_access_groups_in_the_list(start_gateway: StartGateway) -> None:
    """Where they are asked for: those that lists of models name, of who may call everything all."""
    gateway = await start_gateway(models=MODELS)

    async def listed(query: str, **fields: object) -> list[str]:
        key = await gateway.new_key(**fields)
        answer = await gateway.request("GET", f"/v1/models?{query}", key=key)
        return [model["id"] for model in answer.json["data"]]

    plain = await listed("")
    assert not {"beta", "wilds"} & set(plain)
    assert await listed("include_model_access_groups=True") == [*plain, "beta", "wilds"]
    assert await listed("include_model_access_groups=false") == plain
    assert await listed("only_model_access_groups=true") == ["beta", "wilds"]
    assert (await listed("include_model_access_groups=true", models=["beta"]))[-1] == "beta"
    assert "wilds" not in await listed("include_model_access_groups=true", models=["beta"])
    assert await listed("only_model_access_groups=true", models=["oracle"]) == []
