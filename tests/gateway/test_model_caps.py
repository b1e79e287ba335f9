"""Limits of single models, whoever states them: from the row to the refusal and the books."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.gateway.windows import within_one_minute
from tests.management.admin import does, soon
from tests.oracle.raw_client import Answer

MODELS = """
- model_name: cent
  litellm_params:
    model: openai/oracle?tokens=100
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
  model_info: {{id: number-one}}
- model_name: acme/*
  litellm_params:
    model: openai/oracle?tokens=100
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
- model_name: other
  litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: '{key}', output_cost_per_token: 0}}
"""
SETTINGS = "router_settings: {model_group_alias: {alias: cent}}"
NAMES = ("cent", "alias", "number-one", "mine", "acme/cent")
"""What leads to the model that is limited, each in another way."""
BUDGET = {"model_max_budget": {"cent": {"budget_limit": 0.02, "time_period": "1d"}}}
RATE = {"model_rpm_limit": {"cent": 1}}
TEAM = {"team_id": "a/b"}
ORGANIZATION = {"organization_id": "o", "organization_alias": "O"}
OF_ORGANIZATION = {"organization_id": "o"}
USER = {"user_id": "u"}

Settings = Mapping[str, object]


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    return await start_gateway(models=MODELS, settings=SETTINGS)


@pytest.fixture
async def look(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions({"dsn": database_url}))
    yield database
    await database.close()


async def new_key(gateway: Gateway, **settings: object) -> str:
    return await gateway.new_key(aliases={"mine": "number-one"}, **settings)


async def cent(gateway: Gateway, key: str, model: str = "cent", **call: Any) -> Answer:
    return await gateway.chat(model, key=key, max_tokens=100, **call)


@pytest.mark.parametrize(
    ("path", "row", "of_key", "kind", "said"),
    [
        ("/team/new", TEAM, TEAM, "team_model", "LiteLLM Team: a/b, exceeded budget for model=cent"),
        (
            *("/organization/new", ORGANIZATION, OF_ORGANIZATION, "organization_model"),
            "LiteLLM Organization: o, exceeded budget for model=cent",
        ),
        ("/user/new", USER, USER, "user_model", "LiteLLM User: u, exceeded budget for model=cent"),
    ],
    ids=["team", "organization", "user"],
)
async def test_a_budget_of_one_model(
    gateway: Gateway, books: Books, look: Database, path: str, row: Settings, of_key: Settings, kind: str, said: str
) -> None:
    """All keys together spend it, by any of the model's names; others' calls and other models are free of it."""
    await does(gateway, "POST", path, {**row, **BUDGET})
    first, second = [await new_key(gateway, **of_key) for _ in range(2)]
    assert [(await cent(gateway, first)).status, (await cent(gateway, second, "acme/cent")).status] == [200, 200]
    await books.posted()  # so that it is known at once that nothing comes back
    for name in NAMES:
        answer = await cent(gateway, second, name)
        assert (answer.status, said in answer.body.decode()) == (422, True), (name, answer.body)
    assert (await cent(gateway, second, "other")).status == 200
    assert (await cent(gateway, await new_key(gateway))).status == 200
    await books.posted()
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert (window["scope_kind"], window["spent_nano_usd"]) == (kind, 20_000_000)
    assert (await audit(look)).differences == []


@pytest.mark.parametrize(
    ("path", "row", "of_key", "word"),
    [
        ("/team/new", TEAM, TEAM, "model_per_team: a/b:cent"),
        ("/organization/new", ORGANIZATION, OF_ORGANIZATION, "model_per_organization: o:cent"),
    ],
    ids=["team", "organization"],
)
async def test_a_rate_of_one_model(gateway: Gateway, path: str, row: Settings, of_key: Settings, word: str) -> None:
    await does(gateway, "POST", path, {**row, **RATE})
    first, second = [await new_key(gateway, **of_key) for _ in range(2)]
    await within_one_minute(20)
    answer = await cent(gateway, first)
    assert answer.status == 200
    assert answer.headers[f"x-ratelimit-{word.partition(':')[0]}-remaining-requests"] == "0"
    for name in NAMES:
        answer = await cent(gateway, second, name)
        assert (answer.status, f"Rate limit exceeded for {word}. " in answer.body.decode()) == (429, True), name
    assert (await cent(gateway, second, "other")).status == 200
    assert (await cent(gateway, await new_key(gateway))).status == 200


async def test_a_limit_of_a_longer_name_leads_past_no_other(gateway: Gateway, books: Books) -> None:
    """Whoever may limit further names does not lift what is limited already."""
    rates = {"model_rpm_limit": {"acme/cent": 100}}
    await does(gateway, "POST", "/team/new", {**TEAM, **BUDGET, **rates})
    key = await new_key(gateway, **TEAM)
    assert [(await cent(gateway, key, "acme/cent")).status for _ in range(2)] == [200, 200]
    await books.posted()
    assert (await cent(gateway, key, "acme/cent")).status == 422


async def test_tokens_of_one_model(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", {**TEAM, "model_tpm_limit": {"cent": 100}})
    key = await new_key(gateway, **TEAM)
    await within_one_minute(20)
    assert [(await cent(gateway, key, name)).status for name in ("cent", "alias", "other")] == [200, 429, 200]


async def test_a_changed_limit_binds_at_once(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", TEAM)
    key = await new_key(gateway, **TEAM)
    assert (await cent(gateway, key)).status == 200
    await does(gateway, "POST", "/team/update", {**TEAM, "model_rpm_limit": {"cent": 0}})
    await soon(lambda: cent(gateway, key), 429, "model_per_team")
    await does(gateway, "POST", "/team/update", {**TEAM, "model_rpm_limit": None})
    await soon(lambda: cent(gateway, key), 200)


async def test_setting_all_spend_back_sets_back_that_of_a_teams_model(
    gateway: Gateway, books: Books, look: Database
) -> None:
    await does(gateway, "POST", "/team/new", {**TEAM, **BUDGET})
    key = await new_key(gateway, **TEAM)
    assert [(await cent(gateway, key)).status for _ in range(3)] == [200, 200, 422]
    await books.posted()
    await does(gateway, "POST", "/global/spend/reset")
    await soon(lambda: cent(gateway, key), 200)
    assert (await audit(look)).differences == []


@pytest.mark.parametrize(
    ("owners", "verbs", "row", "of_key", "named"),
    [
        ("team", ("POST", "POST"), TEAM, TEAM, {"team_ids": ["a/b"]}),
        ("organization", ("PATCH", "DELETE"), ORGANIZATION, OF_ORGANIZATION, {"organization_ids": ["o"]}),
        ("user", ("POST", "POST"), USER, USER, {"user_ids": ["u"]}),
    ],
    ids=["team", "organization", "user"],
)
async def test_who_is_made_anew_begins_anew(
    gateway: Gateway,
    books: Books,
    look: Database,
    owners: str,
    verbs: tuple[str, str],
    row: Settings,
    of_key: Settings,
    named: Settings,
) -> None:
    """Also where the limit that was spent is not in the row any more."""
    to_update, to_delete = verbs
    for _ in range(2):
        await does(gateway, "POST", f"/{owners}/new", {**row, **BUDGET})
        key = await new_key(gateway, **of_key)
        assert [(await cent(gateway, key)).status for _ in range(3)] == [200, 200, 422]
        await books.posted()
        await does(gateway, to_update, f"/{owners}/update", {**row, "model_max_budget": {}})
        await does(gateway, "POST", "/key/delete", {"keys": [key]})
        await does(gateway, to_delete, f"/{owners}/delete", named)
    assert (await audit(look)).differences == []


@pytest.mark.parametrize("in_teams", [False, True])
async def test_an_owners_budget_of_a_model_is_about_his_keys_outside_of_teams(
    start_gateway: StartGateway, books: Books, in_teams: bool
) -> None:
    """Like his own budget, unless a setting says otherwise; rates are about all of them."""
    setting = f"general_settings: {{apply_user_budget_to_team_keys: {str(in_teams).lower()}}}"
    gateway = await start_gateway(models=MODELS, settings=setting)
    terms = {"cent": {"budget_limit": 0.01}, "other": {"rpm_limit": 1}}
    await does(gateway, "POST", "/user/new", {**USER, "model_max_budget": terms, "auto_create_key": False})
    await does(gateway, "POST", "/team/new", {**TEAM, "members_with_roles": [{"role": "user", **USER}]})
    own, of_team = await new_key(gateway, **USER), await new_key(gateway, **USER, **TEAM)
    assert (await cent(gateway, own)).status == 200
    await books.posted()
    assert (await cent(gateway, own)).status == 422
    assert (await cent(gateway, of_team)).status == (422 if in_teams else 200)
    await books.posted()
    [window] = await books.fetch("SELECT spent_nano_usd FROM bursar.windows WHERE scope_kind = 'user_model'")
    assert window["spent_nano_usd"] == (10_000_000 if in_teams else 20_000_000), (
        "what it spends counts in it all the same"
    )
    await within_one_minute(20)
    assert [(await cent(gateway, key, "other")).status for key in (of_team, own, of_team)] == [200, 429, 429]


CUSTOMER = {"user_id": "c/1"}


async def test_an_end_users_budget_of_a_model(gateway: Gateway, books: Books, look: Database) -> None:
    """Whoever's keys the calls are made with; deleted and made again, an end user begins anew."""
    first, second = [await new_key(gateway) for _ in range(2)]
    for _ in range(2):
        await does(gateway, "POST", "/customer/new", {**CUSTOMER, **BUDGET, "rpm_limit": 99})
        while "x-ratelimit-end_user-limit-requests" not in (await cent(gateway, first, "other", user="c/1")).headers:
            await asyncio.sleep(0.02)  # it was somebody without limits when it was last looked up
        assert [(await cent(gateway, key, user="c/1")).status for key in (first, second)] == [200, 200]
        await books.posted()
        for name in NAMES:
            answer = await cent(gateway, first, name, user="c/1")
            said = "LiteLLM End User: c/1, exceeded budget for model=cent"
            assert (answer.status, said in answer.body.decode()) == (422, True), (name, answer.body)
        assert (await cent(gateway, first, "other", user="c/1")).status == 200
        assert (await cent(gateway, first, user="another")).status == 200
        await books.posted()
        await does(gateway, "POST", "/customer/update", {**CUSTOMER, "model_max_budget": {}})
        await does(gateway, "POST", "/customer/delete", {"user_ids": ["c/1"]})
    [window] = await books.fetch("SELECT scope_kind, scope_id, spent_nano_usd FROM bursar.windows")
    assert tuple(window.values()) == ("end_user_model", "c%2F1/cent", 0)
    assert (await audit(look)).differences == []


async def test_end_users_without_a_budget_have_the_models_of_the_default_one(
    start_gateway: StartGateway, books: Books
) -> None:
    """Each for itself."""
    await books.fetch(
        """INSERT INTO "LiteLLM_BudgetTable" (budget_id, model_max_budget, created_by, updated_by)
        VALUES ('d', '{"cent": {"budget_limit": 0.01, "rpm_limit": 9}}', 'x', 'x')"""
    )
    gateway = await start_gateway(models=MODELS, settings="litellm_settings: {max_end_user_budget_id: d}")
    await within_one_minute(20)
    for user in ("one", "two"):
        answer = await cent(gateway, await new_key(gateway), user=user)
        assert answer.status == 200
        assert answer.headers["x-ratelimit-model_per_end_user-remaining-requests"] == "8"
        await books.posted()
        answer = await cent(gateway, await new_key(gateway), "acme/cent", user=user)
        assert (answer.status, f"End User: {user}, exceeded" in answer.body.decode()) == (422, True)


async def test_a_key_has_the_models_of_its_budget_where_it_has_none_of_its_own(gateway: Gateway) -> None:
    limits = {"model_max_budget": {"cent": {"budget_limit": 0}}}
    await does(gateway, "POST", "/budget/new", {"budget_id": "b", **limits})
    key = await new_key(gateway, budget_id="b")
    own = await new_key(gateway, budget_id="b", model_max_budget={"other": {"rpm_limit": 9}})
    assert [(await cent(gateway, each)).status for each in (key, own)] == [422, 200]
