"""`/model/*`: models of the database take calls at once, everywhere, and keep their secrets."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bursar.domain.secrets import MASK
from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import PROVIDER_KEY, SALT_KEY, Books, Gateway, config_text, running_gateway
from tests.gateway.scripted_upstream import scripted_upstream, whole
from tests.management.test_key_endpoints import check_error
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S, promised
from tests.vault.test_vault import gcm, secret_box

STORED = "general_settings: {store_model_in_db: true}"


def parameters(oracle: RunningOracle, **more: object) -> dict[str, object]:
    return {"model": "openai/oracle", "api_base": oracle.base_url, "api_key": PROVIDER_KEY} | more


async def new(gateway: Gateway, name: str, params: object, **more: object) -> Answer:
    return await gateway.request("POST", "/model/new", {"model_name": name, "litellm_params": params, **more})


async def made(gateway: Gateway, name: str, params: object, **more: object) -> str:
    answer = await new(gateway, name, params, **more)
    assert answer.status == 200, answer.body
    model_id = answer.json["model_id"]
    assert isinstance(model_id, str)
    return model_id


async def patch(gateway: Gateway, model_id: str, body: object) -> Answer:
    return await gateway.request("PATCH", f"/model/{model_id}/update", body)


async def described(gateway: Gateway, model_id: str) -> dict[str, Any]:
    answer = await gateway.request("GET", f"/model/info?litellm_model_id={model_id}")
    assert answer.status == 200, answer.body
    (found,) = answer.json["data"]
    assert isinstance(found, dict)
    return found


async def stored(books: Books) -> list[Any]:
    return list(await books.fetch('SELECT * FROM "LiteLLM_ProxyModelTable" ORDER BY created_at'))


@pytest.fixture
async def second(oracle: RunningOracle, database_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Another gateway on the same database."""
    text = config_text(oracle.base_url, settings=STORED)
    async with running_gateway(text, database_url=database_url, directory=tmp_path / "second") as running:
        yield running


# --- adding ---


async def test_a_new_model_takes_calls_at_once(gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
    answer = await new(gateway, "fresh", parameters(oracle, rpm=60), model_info={"mode": "chat"})
    assert answer.status == 200
    row = answer.json
    assert row["model_name"] == "fresh"
    assert row["litellm_params"] == parameters(oracle, rpm=60) | {"api_key": MASK}
    assert row["model_info"] == {"mode": "chat", "id": row["model_id"]}
    assert (await gateway.chat("fresh")).status == 200
    assert "fresh" in await gateway.model_ids()
    (kept,) = await stored(books)
    assert kept["litellm_params"]["api_key"].startswith("bursar:v1:")
    assert kept["created_by"] == row["created_by"] == "default_user_id"
    entry = await described(gateway, row["model_id"])
    assert entry["model_info"]["db_model"] is True
    assert entry["litellm_params"] == {"model": "openai/oracle", "api_base": oracle.base_url, "rpm": 60}
    spent = await books.row()
    assert spent["model_id"] == row["model_id"]


async def test_nowhere_where_clouds_keep_credentials(gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
    """However it got there: what is stored is looked at again when it is loaded."""
    check_error(await new(gateway, "any/*", {"model": "openai/*", "api_base": "http://169.254.169.254"}), 400, "clouds")
    model_id = await made(gateway, "m", parameters(oracle))
    moved = {"litellm_params": {"api_base": "http://169.254.169.254", "api_key": "sk-other"}}
    check_error(await patch(gateway, model_id, moved), 400, "clouds")
    assert (await gateway.chat("m")).status == 200
    await books.fetch(
        """INSERT INTO "LiteLLM_ProxyModelTable"
             (model_id, model_name, litellm_params, model_info, created_by, updated_by)
           VALUES ('planted', 'planted', $1, '{}', 'x', 'x')""",
        {"model": "openai/oracle", "api_base": "http://169.254.169.254"},
    )
    await made(gateway, "another", parameters(oracle))  # has the table read anew
    assert "clouds" in (await described(gateway, "planted"))["model_info"]["error"]


async def test_private_addresses_are_the_operators_choice(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    """What the file names is never in question."""
    gateway = await start_gateway(settings=STORED + "\nbursar_settings: {stored_models_private_addresses: false}")
    check_error(await new(gateway, "m", parameters(oracle)), 400, "not an address of the Internet")
    await made(gateway, "m", {"model": "openai/oracle", "api_base": "https://models.example/v1", "api_key": "sk-1"})
    assert (await gateway.chat()).status == 200


async def test_it_joins_a_group_of_the_file(gateway: Gateway, oracle: RunningOracle) -> None:
    model_id = await made(gateway, "oracle", parameters(oracle), model_info={"id": "mine"})
    assert model_id == "mine"
    served = {(await gateway.chat("oracle")).headers["x-litellm-model-id"] for _ in range(30)}
    assert served == {"mine", "the-oracle"}


async def test_wildcards_too(gateway: Gateway, oracle: RunningOracle) -> None:
    await made(gateway, "any/*", parameters(oracle, model="openai/*"))
    assert (await gateway.chat("any/oracle")).status == 200


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"litellm_params": {}}, "needs a model"),
        ({"litellm_params": {"model": "no-such-thing-of-anybody"}}, "Provider NOT provided"),
        ({"litellm_params": {"model": "openai/x", "timeout": "sk-canary-00"}}, "seconds"),
        ({"litellm_params": {"model": "openai/x", "rpm": -1}}, "rpm"),
        ({"litellm_params": {"model": "openai/x", "api_base": "ftp://a"}}, "api_base"),
        ({"litellm_params": {"model": "openai/x", "api_base": "https://u:sk-canary-00@a"}}, "api_base"),
        ({"litellm_params": {"model": "openai/x", "api_key": "sk-canary\r\nx: y"}}, ""),
        ({"litellm_params": {"model": "openai/x", "api_base": "http://169.254.169.254/v1"}}, "credentials of their"),
        ({"litellm_params": {"model": "openai/x", "base_url": "http://[::ffff:a9fe:a9fe]"}}, "credentials of their"),
        ({"litellm_params": {"model": "openai/x", "api_base": "http://2852039166/latest"}}, "credentials of their"),
        ({"litellm_params": {"model": "openai/x", "api_base": "http://metadata.google.internal"}}, "metadata service"),
        ({"litellm_params": {"model": "openai/x", "input_cost_per_token": -1}}, "input_cost"),
        ({"litellm_params": {"model": "openai/x", "api_key": "os.environ/NOT_SET_ANYWHERE"}}, "NOT_SET_ANYWHERE"),
        ({"litellm_params": {"model": "openai/x", "litellm_credential_name": "none"}}, "no credential"),
        ({"litellm_params": {"model": "openai/x", "api_key": "bursar:v1:00:00"}}, "provider gave"),
        ({"litellm_params": {"model": "openai/x"}, "model_info": {"id": "the-oracle"}}, "exists already"),
        ({"litellm_params": {"model": "openai/x"}, "model_info": {"id": 7}}, "names the model"),
        ({"litellm_params": {"model": "openai/x"}, "model_info": {"id": "a\nb"}}, "names the model"),
        ({"litellm_params": {"model": "openai/x"}, "model_info": {"team_id": "t"}}, "single team"),
        ({"litellm_params": {"model": "openai/x", "api_key": "nul\u0000"}}, ""),
        ({"litellm_params": {"model": "openai/x", "organization": "\ud800"}}, ""),
        ({"litellm_params": {"model": "openai/x", "extra_headers": {"Host": "evil"}}}, ""),
    ],
)
async def test_what_cannot_be_used_is_refused(gateway: Gateway, books: Books, body: Any, word: str) -> None:
    raw = json.dumps({"model_name": "bad"} | body).encode()
    answer = await gateway.request("POST", "/model/new", raw)
    check_error(answer, 400, word)
    assert "canary" not in answer.body.decode()
    assert await stored(books) == []


@pytest.mark.parametrize(
    "body",
    [{}, {"model_name": ""}, {"model_name": 3, "litellm_params": {}}, {"model_name": "x", "litellm_params": []}],
)
async def test_fields_that_do_not_fit(gateway: Gateway, body: Any) -> None:
    answer = await gateway.request("POST", "/model/new", body)
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"][0] == "body"


async def test_without_the_setting_nothing_is_stored(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    gateway = await start_gateway()
    for path, body in (
        ("/model/new", {"model_name": "x", "litellm_params": parameters(oracle)}),
        ("/model/update", {"model_info": {"id": "x"}}),
        ("/model/delete", {"id": "x"}),
        ("/config/update", {"litellm_settings": {"drop_params": True}}),
    ):
        check_error(await gateway.request("POST", path, body), 400, "Set `'STORE_MODEL_IN_DB='True'` in your env")


# --- everywhere ---


@promised(1.0)
async def test_another_gateway_follows(
    gateway: Gateway, second: Gateway, oracle: RunningOracle, at_most_s: float
) -> None:
    async def answers(name: str, status: int) -> None:
        async with asyncio.timeout(at_most_s):
            while (await second.chat(name)).status != status:
                await asyncio.sleep(0.01)

    assert (await second.chat("fresh")).status == 400
    model_id = await made(gateway, "fresh", parameters(oracle))
    await answers("fresh", 200)
    assert (await patch(gateway, model_id, {"model_name": "renamed"})).status == 200
    await answers("renamed", 200)
    await answers("fresh", 400)
    assert (await gateway.request("POST", "/model/delete", {"id": model_id})).status == 200
    await answers("renamed", 400)


async def test_a_change_that_nobody_tells_of_is_seen(gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
    model_id = await made(gateway, "fresh", parameters(oracle))
    await books.fetch('DELETE FROM "LiteLLM_ProxyModelTable" WHERE model_id = $1', model_id)  # without a notification
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.chat("fresh")).status == 200:
            await asyncio.sleep(0.1)


async def test_a_restart_finds_them(
    start_gateway: StartGateway, database_url: str, tmp_path: Path, oracle: RunningOracle
) -> None:
    text = config_text(oracle.base_url, settings=STORED)
    async with running_gateway(text, database_url=database_url, directory=tmp_path / "first") as first:
        await made(first, "fresh", parameters(oracle))
    async with running_gateway(text, database_url=database_url, directory=tmp_path / "first") as again:
        assert (await again.chat("fresh")).status == 200


async def test_calls_under_way_end_on_the_old_table(gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
    model_id = await made(gateway, "slow", parameters(oracle, model="openai/oracle?head_ms=500"))
    calling = asyncio.create_task(gateway.chat("slow"))
    await asyncio.sleep(0.2)
    assert (await gateway.request("POST", "/model/delete", {"id": model_id})).status == 200
    assert (await gateway.chat("slow")).status == 400
    assert (await calling).status == 200
    served = [row for row in await books.rows() if row["status"] == "success"]
    assert [row["model_id"] for row in served] == [model_id]


async def test_one_that_cannot_be_built_takes_nobody_down(
    gateway: Gateway, books: Books, oracle: RunningOracle, caplog: pytest.LogCaptureFixture
) -> None:
    good = await made(gateway, "good", parameters(oracle))
    for model_id, params in (
        ("no-provider", {"model": "nothing"}),
        ("not-json-object", []),
        ("other-key", {"model": "openai/x", "api_key": gcm("sk-canary", "another salt", 3)}),
        ("the-oracle", {"model": "openai/x"}),
    ):
        await books.fetch(
            'INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by)'
            " VALUES ($1, $1, $2, '', '')",
            model_id,
            params,
        )
    await made(gateway, "later", parameters(oracle))
    assert (await gateway.chat("good")).status == (await gateway.chat("later")).status == 200
    for model_id, word in (("no-provider", "Provider NOT"), ("other-key", "LITELLM_SALT_KEY"), ("not-json-object", "")):
        entry = await described(gateway, model_id)
        assert word in entry["model_info"]["error"]
        assert f"model.unusable id='{model_id}'" in caplog.text
        assert (await gateway.chat(model_id)).status == 400
    assert (await described(gateway, good))["model_info"].get("error") is None
    answer = await gateway.request("GET", "/model/info?litellm_model_id=the-oracle")
    assert [entry["model_info"].get("error", "") for entry in answer.json["data"]][1].startswith("the configuration")


async def test_a_model_of_one_team_is_for_nobody(gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
    """LiteLLM has such rows: that other teams may not call them, we cannot see to yet."""
    await books.fetch(
        """INSERT INTO "LiteLLM_ProxyModelTable"
        (model_id, model_name, litellm_params, model_info, created_by, updated_by)
        VALUES ('t', 'model_name_team-1_0f', $1, '{"team_id": "team-1"}', '', '')""",
        parameters(oracle),
    )
    await made(gateway, "other", parameters(oracle))
    assert (await gateway.chat("model_name_team-1_0f")).status == 400
    assert "one team" in (await described(gateway, "t"))["model_info"]["error"]


async def test_what_litellm_stored_is_used_as_it_is(gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
    """LiteLLM encrypts every text; nothing of its row is rewritten."""
    rows = {
        "box": {name: secret_box(str(value), SALT_KEY) for name, value in parameters(oracle).items()},
        "v2": {name: gcm(str(value), SALT_KEY, 2) for name, value in parameters(oracle).items()},
        "v3": {name: gcm(str(value), SALT_KEY, 3) for name, value in parameters(oracle).items()} | {"rpm": 100},
    }
    for model_id, params in rows.items():
        await books.fetch(
            'INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by)'
            " VALUES ($1, $1, $2, '', '')",
            model_id,
            params,
        )
    await made(gateway, "other", parameters(oracle))
    for model_id in rows:
        assert (await gateway.chat(model_id)).status == 200
    assert {row["model_id"]: row["litellm_params"] for row in await stored(books)} | rows == {
        row["model_id"]: row["litellm_params"] for row in await stored(books)
    }


# --- changing ---


async def test_absent_stays_and_null_takes_away(gateway: Gateway, oracle: RunningOracle) -> None:
    model_id = await made(gateway, "m", parameters(oracle, rpm=60, tpm=1000), model_info={"mode": "chat", "note": "x"})
    changed = await patch(gateway, model_id, {"litellm_params": {"rpm": None}, "model_info": {"note": None}})
    assert changed.status == 200
    assert changed.json["litellm_params"] == parameters(oracle, tpm=1000) | {"api_key": MASK}
    assert changed.json["model_info"] == {"mode": "chat", "id": model_id}
    assert (await gateway.chat("m")).status == 200, "its key is still there"
    paused = await gateway.request("POST", "/model/update", {"model_info": {"id": model_id}, "blocked": True})
    assert paused.json["blocked"] is True
    assert (await gateway.chat("m")).status == 503


@pytest.mark.parametrize(
    "change",
    [
        {"api_base": "https://evil.example.com/v1"},
        {"api_base": None},
        {"api_base": None, "base_url": "https://evil.example.com/v1"},
        {"model": "groq/oracle"},
        {"custom_llm_provider": "groq"},
    ],
)
async def test_secrets_do_not_go_along_to_another_address(
    gateway: Gateway, oracle: RunningOracle, change: dict[str, Any]
) -> None:
    model_id = await made(gateway, "m", parameters(oracle))
    check_error(await patch(gateway, model_id, {"litellm_params": change}), 400, "Give them again (api_key)")
    allowed = await patch(gateway, model_id, {"litellm_params": change | {"api_key": "sk-another-0000"}})
    assert allowed.status == 200, allowed.body


async def test_an_address_changed_in_the_table_gets_no_secret(gateway: Gateway, books: Books) -> None:
    async with scripted_upstream(whole(b"{}")) as evil:
        model_id = await made(
            gateway, "m", {"model": "openai/m", "api_base": "http://127.0.0.1:9/v1", "api_key": "sk-canary-1"}
        )
        await books.fetch(
            'UPDATE "LiteLLM_ProxyModelTable" SET litellm_params = litellm_params || $1 WHERE model_id = $2',
            {"api_base": evil.base_url},
            model_id,
        )
        await made(gateway, "other", {"model": "openai/m", "api_key": "sk-canary-2"})
        assert (await gateway.chat("m")).status == 400
        assert "bound to its row" in (await described(gateway, model_id))["model_info"]["error"]
        assert evil.requests == []


async def test_keys_of_the_process_do_not_go_to_stored_addresses(start_gateway: StartGateway) -> None:
    async with scripted_upstream(whole(b"{}")) as evil:
        gateway = await start_gateway(settings=STORED, environ={"OPENAI_API_KEY": "sk-canary-of-the-process"})
        await made(gateway, "m", {"model": "openai/m", "api_base": evil.base_url})
        await gateway.chat("m")
        assert "canary" not in str(evil.requests)


async def test_an_update_for_a_row_as_it_was(gateway: Gateway, oracle: RunningOracle) -> None:
    first = (await new(gateway, "m", parameters(oracle))).json
    body = {"updated_at": first["updated_at"], "model_name": "n"}
    await asyncio.sleep(0.002)
    assert (await patch(gateway, first["model_id"], body)).status == 200
    check_error(await patch(gateway, first["model_id"], body), 409, "changed by somebody else")


async def test_of_edits_at_once_none_is_lost(gateway: Gateway, oracle: RunningOracle) -> None:
    row = (await new(gateway, "m", parameters(oracle))).json
    model_id = row["model_id"]
    edits = [{"litellm_params": {f"p{n}": n, "rpm": n}} for n in range(8)]
    answers = await asyncio.gather(*[patch(gateway, model_id, edit) for edit in edits])
    assert {answer.status for answer in answers} == {200}
    row = (await patch(gateway, model_id, {})).json
    assert {name for name in row["litellm_params"] if name.startswith("p")} == {f"p{n}" for n in range(8)}
    answers = await asyncio.gather(
        *[patch(gateway, model_id, edit | {"updated_at": row["updated_at"]}) for edit in edits]
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7, "who says what he knows is told"


async def test_an_empty_team_is_none(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    info = {"id": "m", "team_id": "", "mode": "chat"}
    made = await gateway.request(
        "POST", "/model/new", {"model_name": "m", "litellm_params": parameters(oracle), "model_info": info}
    )
    assert (made.status, made.json["model_info"]) == (200, {"id": "m", "mode": "chat"})
    await books.fetch(
        """UPDATE "LiteLLM_ProxyModelTable" SET model_info = model_info || '{"team_id": ""}' WHERE model_id = 'm'"""
    )
    assert (await gateway.chat("m")).status == 200, "nor in a row of LiteLLM's"
    cleared = await patch(gateway, "m", {"model_info": {"team_id": ""}})
    assert cleared.json["model_info"] == {"id": "m", "mode": "chat"}


async def test_unknown_ids(gateway: Gateway) -> None:
    for model_id in ("nothing", "a%2Fb%3D%2B%25", "%27%3B--"):
        check_error(await patch(gateway, model_id, {}), 404, "not found on litellm proxy")
    check_error(await gateway.request("POST", "/model/delete", {"id": "nothing\u0000"}), 400, "not found")
    check_error(await gateway.request("POST", "/model/update", {}), 400, "model_info.id")
    check_error(await gateway.request("GET", "/model/info?litellm_model_id=x"), 400, "Model id = x not found")
    for method, path, body in (
        ("POST", "/model/delete", {"id": "the-oracle"}),
        ("POST", "/model/update", {"model_info": {"id": "the-oracle"}}),
    ):
        check_error(await gateway.request(method, path, body), 400, "configuration file")


# --- looking ---


async def test_info_knows_prices_and_abilities(gateway: Gateway, oracle: RunningOracle) -> None:
    model_id = await made(gateway, "known", {"model": "openai/gpt-4o", "api_key": "sk-canary-1"})
    info = (await described(gateway, model_id))["model_info"]
    assert info["key"] == "openai/gpt-4o"
    assert info["litellm_provider"] == "openai"
    assert info["mode"] == "chat"
    assert info["supports_vision"] is True
    assert info["max_input_tokens"] > 0
    assert 0 < info["input_cost_per_token"] < info["output_cost_per_token"]
    groups = (await gateway.request("GET", "/model_group/info?model_group=known")).json["data"]
    assert [(group["model_group"], group["providers"], group["supports_vision"]) for group in groups] == [
        ("known", ["openai"], True)
    ]
    assert groups[0]["input_cost_per_token"] == info["input_cost_per_token"]


async def test_parameters_that_a_model_takes(gateway: Gateway, oracle: RunningOracle) -> None:
    """All that nothing is known against; of a group, what any of its deployments takes."""
    await made(gateway, "m", parameters(oracle, model="openai/o3"))
    await made(gateway, "m", parameters(oracle), model_info={"supports_function_calling": False})
    shown = (await gateway.request("GET", "/model/info")).json["data"]
    reasoning, plain = (set(one["model_info"]["supported_openai_params"]) for one in shown if one["model_name"] == "m")
    if "temperature" not in plain:
        reasoning, plain = plain, reasoning
    assert {"stream", "max_tokens", "tools", "tool_choice"} <= reasoning
    assert "temperature" not in reasoning
    assert {"stream", "max_tokens", "temperature"} <= plain
    assert not {"tools", "tool_choice", "functions"} & plain
    [group] = (await gateway.request("GET", "/model_group/info?model_group=m")).json["data"]
    assert group["supported_openai_params"] == sorted(reasoning | plain)
    assert group["configurable_clientside_auth_params"] is None


async def test_whoever_may_not_call_a_model_does_not_see_it(gateway: Gateway, oracle: RunningOracle) -> None:
    await made(gateway, "for-few", parameters(oracle), model_info={"access_groups": ["few"]})
    await made(gateway, "for-all", parameters(oracle))
    for models, names in (
        (["for-all"], {"for-all"}),
        (["few"], {"for-few"}),
        ([], {"for-all", "for-few", "oracle", "at/*"}),
    ):
        key = await gateway.new_key(models=models)
        answer = await gateway.request("GET", "/v1/model/info", key=key)
        assert {entry["model_name"] for entry in answer.json["data"]} == names
        assert oracle.base_url not in answer.body.decode(), "addresses are for administrators"
        groups = (await gateway.request("GET", "/model_group/info", key=key)).json["data"]
        assert {group["model_group"] for group in groups} <= names


async def test_pages(gateway: Gateway, oracle: RunningOracle) -> None:
    for n in range(5):
        await made(gateway, f"model-{n}", parameters(oracle))
    page = (await gateway.request("GET", "/v2/model/info?search=MODEL-&size=2&page=2&sortOrder=desc")).json
    assert [entry["model_name"] for entry in page["data"]] == ["model-2", "model-1"]
    assert (page["total_count"], page["current_page"], page["total_pages"], page["size"]) == (5, 2, 3, 2)
    for query in ("size=0", "page=0", "size=x", "sortBy=nothing"):
        assert (await gateway.request("GET", f"/v2/model/info?{query}")).status == 422


# --- the log of changes, and secrets ---


async def test_changes_are_on_record_without_secrets(gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
    model_id = await made(gateway, "m", parameters(oracle, extra_body={"token": "canary-body"}))
    await patch(gateway, model_id, {"model_name": "n", "litellm_params": {"api_key": "canary-key-2"}})
    await gateway.request("POST", "/model/delete", {"id": model_id})
    rows = await books.fetch('SELECT * FROM "LiteLLM_AuditLog" ORDER BY updated_at')
    assert [row["action"] for row in rows] == ["created", "updated", "deleted"]
    assert {row["object_id"] for row in rows} == {model_id}
    assert rows[1]["before_value"]["model_name"] == "m"
    assert rows[1]["updated_values"]["model_name"] == "n"
    assert "canary" not in str(rows)
    assert PROVIDER_KEY not in str(rows)
    assert "bursar:v1" not in str(rows)
