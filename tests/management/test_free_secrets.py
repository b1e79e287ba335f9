"""Secrets in objects that people fill as they like: no answer and no row of the log of changes shows them."""

import json
from typing import Any

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.test_model_endpoints import STORED

PLANTED: dict[str, Any] = {
    "token": "canary-0",
    "slack": "xoxb-123456-canary-1",
    "nested": {"list": [{"token": "canary-2"}, {"api_key": "canary-3"}]},
    "logging": [{"callback_name": "langfuse", "callback_vars": {"langfuse_secret_key": "canary-4"}}],
    "plain": "seen",
}
CHAT = {"model": "oracle", "messages": [{"role": "user", "content": "hi"}]}


async def audited(books: Books) -> str:
    rows = await books.fetch('SELECT before_value, updated_values FROM "LiteLLM_AuditLog"')
    assert rows
    return str([dict(row) for row in rows])


async def test_of_keys(gateway: Gateway, books: Books) -> None:
    fields = {"metadata": PLANTED, "config": {"api_key": "canary-5"}, "router_settings": {"x": {"api_key": "canary-6"}}}
    made = await gateway.request("POST", "/key/generate", fields)
    key = made.json["key"]
    assert made.json["metadata"]["plain"] == "seen"
    for path in (f"/key/info?key={key}", "/key/list?return_full_object=true", "/audit", "/audit?table_name=x"):
        made.body += (await gateway.request("GET", path)).body
    assert b"canary" not in made.body
    assert "canary" not in await audited(books)

    shown = (await gateway.request("GET", f"/key/info?key={key}")).json["info"]
    back = {name: shown[name] for name in fields} | {"key": key, "key_alias": "renamed"}
    assert (await gateway.request("POST", "/key/update", back)).status == 200
    [row] = await books.fetch('SELECT metadata, config, router_settings FROM "LiteLLM_VerificationToken"')
    assert {name: row[name] for name in fields} == fields, "who reads and writes back changes nothing"


@pytest.mark.parametrize(
    ("new", "look", "update", "table"),
    [
        ("/team/new", "/team/info?team_id=one", "/team/update", "LiteLLM_TeamTable"),
        ("/user/new", "/user/info?user_id=one", "/user/update", "LiteLLM_UserTable"),
        ("/organization/new", "/organization/info?organization_id=one", "", "LiteLLM_OrganizationTable"),
    ],
)
async def test_of_owners(gateway: Gateway, books: Books, new: str, look: str, update: str, table: str) -> None:
    owner = new.split("/")[1]
    fields = {f"{owner}_id": "one", "metadata": PLANTED}
    if owner != "user":
        fields[f"{owner}_alias"] = "one"
    bodies = [await gateway.request("POST", new, fields), await gateway.request("GET", look)]
    bodies += [await gateway.request("GET", f"/{owner}/list")]
    for answer in bodies:
        assert answer.status == 200, answer.body
        assert b"canary" not in answer.body
    shown = bodies[1].json.get("team_info") or bodies[1].json.get("user_info") or bodies[1].json
    back = {f"{owner}_id": "one", "metadata": shown["metadata"]}
    method, path = ("POST", update) if update else ("PATCH", "/organization/update")
    assert (await gateway.request(method, path, back)).status == 200
    [row] = await books.fetch(f"SELECT metadata FROM \"{table}\" WHERE {owner}_id = 'one'")
    assert row["metadata"] == PLANTED
    assert "canary" not in await audited(books)


async def test_of_calls(gateway: Gateway, books: Books) -> None:
    """What is put on record of them holds none, in the table either."""
    headers = {"x-litellm-spend-logs-metadata": json.dumps({"api_key": "canary-9", "plain": "seen too"})}
    kept = {name: value for name, value in PLANTED.items() if name != "logging"}  # which no call may say
    body = CHAT | {"metadata": kept | {"spend_logs_metadata": {"a_password": "canary-8"}}}
    answer = await gateway.request("POST", "/v1/chat/completions", body, headers=headers)
    assert answer.status == 200, answer.body
    [row] = await books.rows()
    assert "canary" not in str(dict(row))
    assert "seen" in str(dict(row))
    assert "seen too" in str(dict(row))


async def test_of_models_and_credentials(start_gateway: StartGateway, books: Books) -> None:
    """What is shown with them takes none, and does not show those that an adopted database has."""
    gateway = await start_gateway(settings=STORED)
    model = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    for path, body, where in (
        ("/model/new", model | {"model_info": {"api_key": "canary-1"}}, "model_info.api_key"),
        (
            "/credentials",
            {"credential_name": "c", "credential_values": {}, "credential_info": {"token": "canary-2"}},
            "credential_info.token",
        ),
    ):
        answer = await gateway.request("POST", path, body)
        assert (answer.status, answer.json["error"]["param"]) == (400, where)
        assert b"canary" not in answer.body
    assert (await gateway.request("POST", "/model/new", model | {"model_info": {"id": "one"}})).status == 200
    await books.fetch("""UPDATE "LiteLLM_ProxyModelTable" SET model_info = model_info || '{"api_key": "canary-3"}'""")
    patched = await gateway.request("PATCH", "/model/one/update", {"model_info": {"api_key": "•••", "note": "n"}})
    assert patched.status == 200, patched.body
    assert patched.json["model_info"]["note"] == "n"
    assert b"canary" not in patched.body
    [row] = await books.fetch('SELECT model_info FROM "LiteLLM_ProxyModelTable"')
    assert row["model_info"]["api_key"] == "canary-3"
