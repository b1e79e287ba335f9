"""What a key may ask for: by which names, which models, from where, and what every call has to say."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, MESSAGES, Books, Gateway, config_text, running_gateway
from tests.oracle.raw_client import Answer
from tests.patience import promised

ACCESS = """
- model_name: grouped
  litellm_params: *oracle
  model_info: {{id: in-a-group, access_groups: [beta]}}
"""


def check_denied(answer: Answer, whose: str) -> None:
    assert answer.status == 403, answer.body
    assert (answer.json["error"]["type"], answer.json["error"]["param"]) == (f"{whose}_model_access_denied", "model")


# --- aliases ---


async def test_a_keys_aliases(gateway: Gateway, books: Books) -> None:
    """The client sees the name it asked for; limits and books are those of the model that it means."""
    key = await gateway.new_key(
        aliases={"fast": "oracle", "loop": "loop", "no": "nothing", "odd": 1}, models=["oracle"]
    )
    answer = await gateway.chat("fast", key=key)
    assert (answer.status, answer.json["model"]) == (200, "fast")
    assert answer.headers["x-litellm-model-group"] == "oracle"
    streamed = await gateway.stream("fast", usage=True, key=key)
    assert b'"model":"fast"' in streamed.body.replace(b" ", b"")
    assert {row["model_group"] for row in await books.rows()} == {"oracle"}
    assert (await gateway.chat("no", key=key)).status == 400
    assert (await gateway.chat("odd", key=key)).status == 400
    assert (await gateway.chat("fast")).status == 400, "another key's names are not everybody's"


async def test_an_alias_opens_no_model(gateway: Gateway) -> None:
    """That the list holds the alias is not enough: what is asked for is the model behind it."""
    key = await gateway.new_key(aliases={"cheap": "oracle"}, models=["cheap"])
    check_denied(await gateway.chat("cheap", key=key), "key")


async def test_limits_are_those_of_the_model(gateway: Gateway) -> None:
    key = await gateway.new_key(aliases={"fast": "oracle"}, model_rpm_limit={"oracle": 1})
    assert [(await gateway.chat(name, key=key)).status for name in ("fast", "oracle", "fast")] == [200, 429, 429]


async def test_a_teams_aliases_come_before_the_keys(gateway: Gateway, books: Books) -> None:
    [row] = await books.fetch(
        """INSERT INTO "LiteLLM_ModelTable" (aliases, created_by, updated_by) VALUES ($1, '', '') RETURNING id""",
        {"team-name": "key-name", "own": "oracle"},
    )
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, model_id) VALUES ('t', $1)", row["id"])
    key = await gateway.new_key(team_id="t", aliases={"key-name": "oracle", "own": "nothing"})
    assert [(await gateway.chat(name, key=key)).status for name in ("team-name", "own", "key-name")] == [200, 200, 200]


MAPPED = """
litellm_settings:
  model_alias_map: {mapped: oracle, key-name: at/mapped, twice: mapped, nowhere: nothing, to-alias: of-the-router}
router_settings:
  model_group_alias: {of-the-router: oracle}
"""


async def test_the_configurations_map(start_gateway: StartGateway, books: Books) -> None:
    """Once, after key and team, before the router."""
    gateway = await start_gateway(settings=MAPPED)
    answer = await gateway.chat("mapped")
    assert (answer.status, answer.json["model"]) == (200, "mapped")
    assert answer.headers["x-litellm-model-group"] == "oracle"
    assert {row["model_group"] for row in await books.rows()} == {"oracle"}
    assert (await gateway.chat("to-alias")).status == 200
    assert [(await gateway.chat(name)).status for name in ("twice", "nowhere")] == [400, 400]
    key = await gateway.new_key(aliases={"key-name": "mapped"}, model_rpm_limit={"oracle": 1})
    assert [(await gateway.chat(name, key=key)).status for name in ("key-name", "mapped")] == [200, 429]
    assert "mapped" not in await gateway.model_ids()


@pytest.mark.parametrize(("listed", "status"), [("mapped", 200), ("oracle", 200), ("other", 403)])
async def test_a_list_may_name_either_side_of_the_map(start_gateway: StartGateway, listed: str, status: int) -> None:
    gateway = await start_gateway(settings=MAPPED)
    key = await gateway.new_key(models=[listed])
    assert (await gateway.chat("mapped", key=key)).status == status
    assert (await gateway.chat("oracle", key=key)).status == (200 if listed == "oracle" else 403)


# --- lists of models ---


async def test_an_access_group_by_name(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=ACCESS)
    key = await gateway.new_key(models=["beta"])
    assert (await gateway.chat("grouped", key=key)).status == 200
    check_denied(await gateway.chat(key=key), "key")
    assert await gateway.model_ids(key) == ["grouped"]


async def test_all_models_of_the_team(gateway: Gateway, books: Books) -> None:
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, models) VALUES ('t', '{at/*}')")
    key = await gateway.new_key(team_id="t", models=["all-team-models"])
    assert (await gateway.chat("at/tokens=5", key=key)).status == 200
    check_denied(await gateway.chat(key=key), "team")


async def test_lists_of_the_owner_and_of_the_organization(gateway: Gateway, books: Books) -> None:
    """The owner's is for keys outside of teams; within one, it is what the team allows him."""
    await books.fetch("INSERT INTO \"LiteLLM_UserTable\" (user_id, models) VALUES ('u', '{no-default-models}')")
    await books.fetch(
        """WITH b AS (
            INSERT INTO "LiteLLM_BudgetTable" (budget_id, allowed_models, created_by, updated_by)
            VALUES ('b', '{oracle}', '', '')
        ),
        o AS (
            INSERT INTO "LiteLLM_OrganizationTable"
            (organization_id, organization_alias, budget_id, models, created_by, updated_by)
            VALUES ('o', 'o', 'b', '{at/*}', '', '')
        ),
        t AS (INSERT INTO "LiteLLM_TeamTable" (team_id) VALUES ('t'))
        INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id) VALUES ('u', 't', 'b')"""
    )
    personal, of_team = await gateway.new_key(user_id="u"), await gateway.new_key(user_id="u", team_id="t")
    check_denied(await gateway.chat(key=personal), "user")
    assert await gateway.model_ids(personal) == []
    assert (await gateway.chat(key=of_team)).status == 200
    check_denied(await gateway.chat("at/tokens=5", key=of_team), "user")
    of_organization = await gateway.new_key(organization_id="o")
    check_denied(await gateway.chat(key=of_organization), "org")
    assert (await gateway.chat("at/tokens=5", key=of_organization)).status == 200


# --- fallbacks that the client names ---


@pytest.mark.parametrize(
    "named",
    [
        {"fallbacks": ["oracle"]},
        {"fallbacks": ["at/tokens=5", "oracle"]},
        {"fallbacks": [{"model": "oracle", "messages": []}]},
        {"fallbacks": ["other-name"]},
        {"fallbacks": ["unknown"]},
        {"context_window_fallback_dict": {"at/tokens=5": "oracle"}},
    ],
    ids=str,
)
async def test_fallbacks_are_no_way_around_the_list(gateway: Gateway, books: Books, named: dict[str, Any]) -> None:
    key = await gateway.new_key(models=["at/*"], aliases={"other-name": "oracle"})
    check_denied(await gateway.chat("at/tokens=5", key=key, **named), "key")
    assert await books.kinds() == ["call"], "nothing was sent"
    assert (await gateway.chat("at/tokens=5", key=key, fallbacks=["at/tokens=6", {"messages": MESSAGES}])).status == 200
    assert (await gateway.chat("at/tokens=5", key=await gateway.new_key(), **named)).status == 200


async def test_a_fallback_of_the_wrong_type(gateway: Gateway) -> None:
    assert (await gateway.chat(fallbacks=[{"model": 1}])).status == 400


# --- what every call has to say ---


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ({}, "user"),
        ({"user": None, "metadata": {"job": 1}}, "user"),
        ({"user": "u"}, "[metadata][job]"),
        ({"user": "u", "metadata": {}}, "[metadata][job]"),
        ({"user": "u", "metadata": '{"job": 1}'}, "[metadata][job]"),
    ],
    ids=str,
)
async def test_a_key_can_ask_for_parameters(gateway: Gateway, said: dict[str, Any], missing: str) -> None:
    key = await gateway.new_key(enforced_params=["user", "metadata.job"])
    answer = await gateway.chat(key=key, **said)
    assert answer.status == 400
    message = f"BadRequest please pass param={missing} in request. This is a required param"
    assert answer.json["error"]["message"] == message
    assert (await gateway.chat(key=key, user="u", metadata={"job": 1})).status == 200


async def test_the_configuration_and_the_team_can_too(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings="general_settings: {enforced_params: [user]}")
    await books.fetch(
        'INSERT INTO "LiteLLM_TeamTable" (team_id, metadata) VALUES (\'t\', \'{"enforced_params": ["n"]}\')'
    )
    key = await gateway.new_key(team_id="t")
    assert [(await gateway.chat(key=key, **said)).status for said in ({}, {"user": "u"}, {"n": 1})] == [400] * 3
    assert (await gateway.chat(key=key, user="u", n=1)).status == 200
    assert (await gateway.chat(key=MASTER_KEY)).status == 200


# --- from where ---


async def test_only_some_addresses_are_served(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(settings="general_settings: {allowed_ips: [192.0.2.7, 10.0.0.0/8]}")
    for answer in (
        await gateway.chat(),
        await gateway.request("GET", "/v1/models"),
        await gateway.request("GET", "/key/list"),
        await gateway.chat(key="sk-nobody-0000000000"),
        await gateway.chat(headers={"x-forwarded-for": "10.0.0.1"}),
    ):
        assert answer.status == 403, answer.body
        assert answer.json["error"]["message"] == "Access forbidden: IP address 127.0.0.1 not allowed."
    assert (await gateway.request("GET", "/health/liveliness", key=None)).status == 200


@pytest.mark.parametrize(("client", "status"), [("10.1.2.3", 200), ("192.0.2.7", 200), ("192.0.2.8", 403), ("x", 403)])
async def test_behind_a_proxy_the_client_counts(start_gateway: StartGateway, client: str, status: int) -> None:
    gateway = await start_gateway(
        settings="""
        general_settings: {allowed_ips: [192.0.2.7, 10.0.0.0/8]}
        bursar_settings: {trusted_proxies: [127.0.0.1]}
        """
    )
    assert (await gateway.chat(headers={"x-forwarded-for": client})).status == status


# --- changes are heard of ---


@promised(1.0)
async def test_a_change_is_heard_of_by_another_process(
    gateway: Gateway, oracle: RunningOracle, database_url: str, tmp_path: Path, at_most_s: float
) -> None:
    """Two gateways on one database: what one changes, the other knows within a second."""
    key = await gateway.new_key(user_id="u")
    config = config_text(oracle.base_url)
    async with running_gateway(config, database_url=database_url, directory=tmp_path / "other") as other:

        async def told(path: str, body: dict[str, Any], status: int) -> None:
            assert (await gateway.request("POST", path, body)).status == 200
            async with asyncio.timeout(at_most_s):
                while (await other.chat(key=key)).status != status:
                    await asyncio.sleep(0.02)

        assert (await other.chat(key=key)).status == 200
        await told("/key/update", {"key": key, "models": ["at/*"]}, 403)
        await told("/key/update", {"key": key, "models": []}, 200)
        await told("/user/update", {"user_id": "u", "models": ["at/*"]}, 403)
        await told("/user/update", {"user_id": "u", "models": []}, 200)
        await told("/key/block", {"key": key}, 401)
        await told("/key/unblock", {"key": key}, 200)
        await told("/key/regenerate", {"key": key}, 401)
