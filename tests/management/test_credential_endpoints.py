"""`/credentials`: sealed, never shown, and bound to the address they name."""

import asyncio
from typing import Any

import pytest

from bursar.domain.secrets import MASK
from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import PROVIDER_KEY, SALT_KEY, Books, Gateway
from tests.management.test_key_endpoints import check_error
from tests.management.test_model_endpoints import STORED, described, made, new, patch
from tests.oracle.raw_client import Answer
from tests.vault.test_vault import gcm


async def put(gateway: Gateway, name: str, values: object, info: object = None) -> Answer:
    body = {"credential_name": name, "credential_values": values, "credential_info": info}
    return await gateway.request("POST", "/credentials", body)


@pytest.fixture
def values(oracle: RunningOracle) -> dict[str, Any]:
    return {"api_key": PROVIDER_KEY, "api_base": oracle.base_url}


async def test_a_model_takes_what_a_credential_holds(gateway: Gateway, books: Books, values: dict[str, Any]) -> None:
    answer = await put(gateway, "of/us", values, {"note": "ours"})
    assert (answer.status, answer.json) == (200, {"message": "Credential created successfully", "success": True})
    await made(gateway, "m", {"model": "openai/oracle", "litellm_credential_name": "of/us"})
    assert (await gateway.chat("m")).status == 200
    (row,) = await books.fetch('SELECT * FROM "LiteLLM_CredentialsTable"')
    assert all(value.startswith("bursar:v1:") for value in row["credential_values"].values())
    shown = {
        "credential_name": "of/us",
        "credential_values": {"api_key": MASK, "api_base": MASK},
        "credential_info": {"note": "ours"},
        "updated_at": f"{row['updated_at'].isoformat()}Z",
    }
    for path in ("/credentials/of%2Fus", "/credentials/by_name/of%2Fus"):
        assert (await gateway.request("GET", path)).json == shown
    listed = (await gateway.request("GET", "/credentials")).json
    assert listed == {"success": True, "credentials": [shown]}


async def test_one_that_models_name_stays(gateway: Gateway, books: Books, values: dict[str, Any]) -> None:
    """Also where LiteLLM stored the model, which encrypts the name."""
    await put(gateway, "c", values)
    await made(gateway, "m", {"model": "openai/oracle", "litellm_credential_name": "c"}, model_info={"id": "by-us"})
    names = {"model": "openai/oracle", "litellm_credential_name": "c"}
    parameters = {name: gcm(value, SALT_KEY, 3) for name, value in names.items()}
    await books.fetch(
        """INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by)
        VALUES ('by-litellm', 'n', $1, '', '')""",
        parameters,
    )
    answer = await gateway.request("DELETE", "/credentials/c")
    check_error(answer, 400, "Credential 'c' is in use (2 models: m (by-us), n (by-litellm))")
    assert (await gateway.chat("m")).status == 200
    for model_id in ("by-us", "by-litellm"):
        assert (await gateway.request("POST", "/model/delete", {"id": model_id})).status == 200
    gone = await gateway.request("DELETE", "/credentials/c")
    assert (gone.status, gone.json["message"]) == (200, "Credential deleted successfully")


async def test_two_who_change_the_same(gateway: Gateway, values: dict[str, Any]) -> None:
    await put(gateway, "c", values)
    known = (await gateway.request("GET", "/credentials/c")).json["updated_at"]
    body = {"credential_info": {"a": 1}, "updated_at": known}
    answers = await asyncio.gather(*(gateway.request("PATCH", "/credentials/c", body) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409]
    assert (await gateway.request("PATCH", "/credentials/c", body | {"updated_at": None})).status == 200
    assert (await gateway.request("GET", "/credentials/c")).json["updated_at"] > known


async def test_one_that_others_made_with_a_backslash_in_its_name(gateway: Gateway, books: Books) -> None:
    await put(gateway, "plain", {"api_key": PROVIDER_KEY})
    await books.fetch(r"""UPDATE "LiteLLM_CredentialsTable" SET credential_name = 'a\b', credential_values = '{}'""")
    for path in ("/credentials/a%5Cb", "/credentials/by_name/a%5cb"):
        assert (await gateway.request("GET", path)).json["credential_name"] == "a\\b"
    body = {"credential_values": {"api_key": PROVIDER_KEY}}
    assert (await gateway.request("PATCH", "/credentials/a%5Cb", body)).status == 200
    assert (await gateway.request("DELETE", "/credentials/a%5Cb")).status == 200
    check_error(await gateway.request("GET", "/credentials/a%5Cb"), 404, "Credential not found")
    assert await books.fetch('SELECT FROM "LiteLLM_CredentialsTable"') == []
    check_error(await put(gateway, "a\\b", {"api_key": PROVIDER_KEY}), 400, "backslashes")


async def test_models_follow_a_changed_credential(gateway: Gateway, books: Books, values: dict[str, Any]) -> None:
    await put(gateway, "c", values)
    model_id = await made(gateway, "m", {"model": "openai/oracle", "litellm_credential_name": "c"})
    await books.fetch('DELETE FROM "LiteLLM_CredentialsTable"')
    await put(gateway, "other", values)
    assert (await gateway.chat("m")).status == 400
    assert "no credential 'c'" in (await described(gateway, model_id))["model_info"]["error"]
    await put(gateway, "c", values)
    assert (await gateway.chat("m")).status == 200
    changed = await gateway.request(
        "PATCH", "/credentials/c", {"credential_values": {"api_key": None}, "credential_info": {"a": 1}}
    )
    assert changed.status == 200
    shown = (await gateway.request("GET", "/credentials/c")).json
    assert (shown["credential_values"], shown["credential_info"]) == ({"api_base": MASK}, {"a": 1})


async def test_a_credential_leads_nowhere_that_a_model_could_not(gateway: Gateway) -> None:
    await put(gateway, "c", {"api_key": "sk-of-nobody", "api_base": "http://169.254.169.254/v1"})
    answer = await new(gateway, "m", {"model": "openai/oracle", "litellm_credential_name": "c"})
    check_error(answer, 400, "credentials of their machines")


async def test_a_credential_of_the_file(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    settings = f"""
    {STORED}
    credential_list:
    - credential_name: of-the-file
      credential_values: {{api_key: {PROVIDER_KEY}, api_base: '{oracle.base_url}'}}
    """
    gateway = await start_gateway(settings=settings)
    await made(gateway, "m", {"model": "openai/oracle", "litellm_credential_name": "of-the-file"})
    assert (await gateway.chat("m")).status == 200
    check_error(await put(gateway, "of-the-file", {"api_key": "x"}), 400, "configuration file")
    listed = (await gateway.request("GET", "/credentials")).json["credentials"]
    assert [credential["credential_name"] for credential in listed] == ["of-the-file"]
    assert PROVIDER_KEY not in str(listed)


async def test_what_litellm_encrypted_is_used(gateway: Gateway, books: Books, values: dict[str, Any]) -> None:
    await books.fetch(
        """INSERT INTO "LiteLLM_CredentialsTable"
        (credential_id, credential_name, credential_values, created_by, updated_by) VALUES ('1', 'c', $1, '', '')""",
        {name: gcm(value, SALT_KEY, 3) for name, value in values.items()},
    )
    await made(gateway, "m", {"model": "openai/oracle", "litellm_credential_name": "c"})
    assert (await gateway.chat("m")).status == 200


async def test_its_secrets_go_where_it_says_alone(gateway: Gateway, values: dict[str, Any]) -> None:
    """Neither a model that names it, nor a change that keeps them, sends them elsewhere."""
    await put(gateway, "c", values)
    elsewhere = {"model": "openai/oracle", "litellm_credential_name": "c", "api_base": "https://evil.example.com/v1"}
    check_error(await new(gateway, "m", elsewhere), 400, "not sent to an address")
    model_id = await made(gateway, "m", elsewhere | {"api_base": values["api_base"]})
    check_error(
        await patch(gateway, model_id, {"litellm_params": {"api_base": "https://evil.example.com"}}), 400, "not sent"
    )
    moved = {"credential_values": {"api_base": "https://evil.example.com/v1"}}
    check_error(await gateway.request("PATCH", "/credentials/c", moved), 400, "Give them again (api_key)")
    moved["credential_values"]["api_key"] = "sk-another-0000"
    assert (await gateway.request("PATCH", "/credentials/c", moved)).status == 200


async def test_bad_input(gateway: Gateway, books: Books, values: dict[str, Any]) -> None:
    await put(gateway, "c", values)
    check_error(await put(gateway, "c", values), 400, "exists already")
    check_error(await put(gateway, "d", {"api_base": "canary"}), 400, "api_base")
    check_error(await put(gateway, "d", {"api_key": ["canary"]}), 400, "text")
    check_error(await put(gateway, "d\u0000", values), 400, "")
    for name in ("none", "a%2Fb%3D%2B%25", "%27%3B--"):
        for method in ("GET", "PATCH", "DELETE"):
            check_error(await gateway.request(method, f"/credentials/{name}", {}), 404, "Credential not found")
    for body in (
        {},
        {"credential_name": "x"},
        {"credential_name": "", "credential_values": {}},
        {"credential_name": 1},
    ):
        assert (await gateway.request("POST", "/credentials", body)).status == 422
    assert len(await books.fetch('SELECT FROM "LiteLLM_CredentialsTable"')) == 1


async def test_changes_are_on_record_without_values(gateway: Gateway, books: Books) -> None:
    await put(gateway, "c", {"api_key": "canary-1", "vertex_credentials": "canary-2"})
    await gateway.request("PATCH", "/credentials/c", {"credential_values": {"api_key": "canary-3"}})
    await gateway.request("DELETE", "/credentials/c")
    rows = await books.fetch('SELECT * FROM "LiteLLM_AuditLog" ORDER BY updated_at')
    assert [(row["action"], row["object_id"]) for row in rows] == [("created", "c"), ("updated", "c"), ("deleted", "c")]
    assert "canary" not in str(rows)
    assert "bursar:v1" not in str(rows)


async def test_the_credential_of_a_model(gateway: Gateway, oracle: RunningOracle, values: dict[str, Any]) -> None:
    await put(gateway, "c", values)
    named = await made(gateway, "m", {"model": "openai/oracle", "litellm_credential_name": "c"})
    own = await made(gateway, "n", {"model": "openai/oracle", **values, "rpm": 5})
    of_named = await gateway.request("GET", f"/credentials/by_model/{named}")
    assert of_named.json == (await gateway.request("GET", "/credentials/c")).json
    assert (await gateway.request("GET", f"/credentials/by_model/{own}")).json == {
        "credential_name": f"n-credential-{own}",
        "credential_values": {"api_key": MASK, "api_base": oracle.base_url},
        "credential_info": {},
    }
    assert (await gateway.request("GET", "/credentials/by_model/the-oracle")).json == {
        "credential_name": "oracle-credential-the-oracle",
        "credential_values": {},
        "credential_info": {"source": "the configuration file"},
    }
    check_error(await gateway.request("GET", "/credentials/by_model/none"), 404, "Model not found")
