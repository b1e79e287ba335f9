"""Secrets planted wherever a model, a credential or a setting has room for one: none turns up where others read."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books
from tests.gateway.scripted_upstream import scripted_upstream, whole
from tests.gateway.test_secrecy import journals, whole_database
from tests.management.test_model_endpoints import STORED
from tests.oracle.raw_client import Answer

CANARY = "canary-{}-7c1f"
UNBUILT = {"model": "no-such-provider-of-anybody"}


def plant(fields: list[str]) -> dict[str, str]:
    return {field: CANARY.format(field) for field in fields}


SECRET_FIELDS = plant(
    [
        "api_key",
        "organization",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "vertex_credentials",
        "azure_ad_token",
        "client_secret",
        "something_unknown",
        "some_token",
    ]
)
NESTED: dict[str, Any] = {
    "extra_headers": {"x-team": CANARY.format("header"), "x-auth": CANARY.format("authorization")},
    "extra_body": {"deep": [{"er": CANARY.format("body")}]},
}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text


async def test_none_of_them_is_anywhere(
    start_gateway: StartGateway, books: Books, oracle: RunningOracle, log: Callable[[], str]
) -> None:
    gateway = await start_gateway(settings=STORED)
    answers: list[Answer] = []

    async def ask(method: str, path: str, body: object = None) -> Answer:
        answers.append(await gateway.request(method, path, body))
        return answers[-1]

    echo = json.dumps({"error": {"message": f"wrong key: {SECRET_FIELDS['api_key']}"}}).encode()
    async with scripted_upstream(whole(echo, status="401 Unauthorized")) as upstream:
        params = {"model": "openai/x", "api_base": upstream.base_url} | SECRET_FIELDS | NESTED
        made = await ask("POST", "/model/new", {"model_name": "m", "litellm_params": params})
        assert made.status == 200, made.body
        answers.append(await gateway.chat("m"))
        assert answers[-1].status == 401
        assert SECRET_FIELDS["api_key"] in str(upstream.requests), "it went where it belongs"
        model_id = made.json["model_id"]
        for path in ("/model/info", "/v2/model/info", "/model_group/info", "/v1/models", "/health", "/metrics"):
            await ask("GET", path)
        for field, value in (SECRET_FIELDS | NESTED).items():  # whatever is wrong, the error does not repeat it
            await ask("PATCH", f"/model/{model_id}/update", {"litellm_params": {field: value, "rpm": value}})
            await ask("PATCH", f"/model/{model_id}/update", {"litellm_params": {field: value, "api_base": value}})
            await ask("POST", "/model/new", {"model_name": "n", "litellm_params": UNBUILT | {field: value}})
            await ask("POST", "/model/new", {"model_name": value, "litellm_params": value})
            await ask("POST", "/credentials", {"credential_name": field, "credential_values": {field: value}})
            await ask("PATCH", f"/credentials/{field}", {"credential_values": {"api_base": value}})
            await ask("POST", "/config/update", {"litellm_settings": {"drop_params": value, field: value}})
            await ask("POST", "/config/update", {"litellm_settings": {"cache_params": {"password": value}}})
        moved = {"litellm_params": {"api_base": "https://elsewhere.example.com/v1"}}
        assert (await ask("PATCH", f"/model/{model_id}/update", moved)).status == 400
        for path in (
            "/model/info",
            "/credentials",
            "/config/list?config_type=litellm_settings",
            "/audit?page_size=100",
        ):
            assert (await ask("GET", path)).status == 200
        await books.fetch(
            'UPDATE "LiteLLM_ProxyModelTable" SET litellm_params = litellm_params || $1',
            {"api_base": "https://elsewhere.example.com/v1"},
        )
        await ask("POST", "/model/delete", {"id": "none"})
        await ask("POST", "/credentials", {"credential_name": "z", "credential_values": {}})
        answers.append(await gateway.chat("m"))
        await ask("GET", "/model/info")
        await ask("POST", "/model/delete", {"id": model_id})

    texts = {f"answer {n}": (answer.raw + answer.body).decode("latin-1") for n, answer in enumerate(answers)}
    texts |= {"log": log(), "database": await whole_database(books), "journal": journals(gateway)}
    planted = [*SECRET_FIELDS.values(), *(CANARY.format(name) for name in ("header", "authorization", "body"))]
    leaks = [
        f"{secret} in {place}: …{around(text, secret)}…"
        for secret in planted
        for place, text in texts.items()
        if secret in text
    ]
    assert leaks == []
    assert "model.unusable" in texts["log"]
    assert not [answer.status for answer in answers if answer.status >= 500]


def around(text: str, secret: str) -> str:
    at = text.index(secret)
    return text[max(0, at - 150) : at + 60]
