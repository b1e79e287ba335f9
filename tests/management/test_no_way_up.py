"""Ways by which somebody could give himself more than he has: each was one once, or looks like one."""

from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from bursar.config.stored import stored_deployment
from bursar.domain.errors import ConfigError
from bursar.store.named_sql import load_named_sql
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.admin import does, refused
from tests.management.matrix import AWAY, HOME, furnish, key_of

TEAM, ORGANIZATION = HOME["team"], HOME["organization"]
MEMBER, TEAM_ADMIN, ORG_ADMIN = key_of("member"), key_of("team-admin"), key_of("org-admin")


@pytest.fixture(autouse=True)
async def world(books: Books) -> None:
    await furnish(books)


@pytest.mark.parametrize("user_id", ["default_user_id", "litellm_proxy_master_key", "litellm-proxy-budget"])
async def test_users_that_are_the_gateways_own(gateway: Gateway, user_id: str) -> None:
    body = {"user_id": user_id, "organizations": [ORGANIZATION], "auto_create_key": False}
    await refused(gateway, "POST", "/user/new", body, status=403, word="the gateway's own", key=ORG_ADMIN)


async def test_nobody_logs_in_as_an_owner_without_a_row(gateway: Gateway) -> None:
    """There may be keys of that name already."""
    body = {"user_id": "ghost", "password": "a password", "organizations": [ORGANIZATION]}
    await refused(gateway, "POST", "/user/new", body, status=403, word="id and the password", key=ORG_ADMIN)


@pytest.mark.parametrize("user_id", ["default_user_id", "litellm_proxy_master_key", "litellm-proxy-budget"])
async def test_nobody_adds_the_gateways_own(gateway: Gateway, user_id: str) -> None:
    """Nor one of them who has a row."""
    member = {"role": "user", "user_id": user_id}
    ways: list[tuple[str, str, dict[str, Any]]] = [
        (TEAM_ADMIN, "/team/member_add", {"team_id": TEAM, "member": member}),
        (TEAM_ADMIN, "/team/member_add", {"team_id": TEAM, "member": [{"role": "user", "user_id": "new"}, member]}),
        (ORG_ADMIN, "/team/new", {"organization_id": ORGANIZATION, "members_with_roles": [member]}),
        (ORG_ADMIN, "/organization/member_add", {"organization_id": ORGANIZATION, "member": {"user_id": user_id}}),
    ]
    for exists in (False, True):
        if exists:
            await does(gateway, "POST", "/team/member_add", {"team_id": AWAY["team"], "member": member})
        for key, path, body in ways:
            await refused(gateway, "POST", path, body, status=403, word="the gateway's own", key=key)


async def test_nobody_takes_over_what_is_somebodys_without_a_row(gateway: Gateway, books: Books) -> None:
    """As there may be in a database that was LiteLLM's."""
    key = await gateway.new_key(user_id="ghost")
    await books.fetch("""DELETE FROM "LiteLLM_UserTable" WHERE user_id = 'ghost'""")
    roster = [{"user_id": "shade", "role": "user"}]
    await books.fetch('UPDATE "LiteLLM_TeamTable" SET members_with_roles = $1 WHERE team_id = $2', roster, AWAY["team"])
    for user_id in ("ghost", "shade"):
        new = {"user_id": user_id, "organizations": [ORGANIZATION], "auto_create_key": False}
        member = {"organization_id": ORGANIZATION, "member": [{"user_id": user_id}]}
        for path, body in (("/user/new", new), ("/organization/member_add", member)):
            await refused(gateway, "POST", path, body, status=403, word="already", key=ORG_ADMIN)
    assert (await gateway.chat(key=key)).status == 200
    member = {"organization_id": ORGANIZATION, "member": [{"user_id": "ghost"}]}
    await does(gateway, "POST", "/organization/member_add", member)


LIMITS: dict[str, Any] = {
    "max_budget": 1,
    "budget_duration": "30d",
    "rpm_limit": 10,
    "tpm_limit": 1000,
    "max_parallel_requests": 0,
    "models": ["oracle"],
}


async def limit(gateway: Gateway, **limits: object) -> None:
    """The organization, in which ORG_ADMIN is an admin."""
    await does(gateway, "PATCH", "/organization/update", {"organization_id": ORGANIZATION, **limits})


async def row_of(gateway: Gateway, user_id: str) -> dict[str, Any]:
    found = await does(gateway, "GET", f"/v2/user/info?user_id={user_id}")
    assert isinstance(found, dict)
    return found


async def test_users_whom_an_admin_of_an_organization_makes_have_its_limits(gateway: Gateway) -> None:
    """And what they make in their turn: they may be himself by another name."""
    await limit(gateway, **LIMITS)
    other = {"user_email": "other@corp.example", "password": "his own again", "auto_create_key": False}
    made = await does(gateway, "POST", "/user/new", other, key=ORG_ADMIN)
    added = {"organization_id": ORGANIZATION, "member": {"user_id": "added"}}
    await does(gateway, "POST", "/organization/member_add", added, key=ORG_ADMIN)
    for user_id in (made["user_id"], "added"):
        row = await row_of(gateway, user_id)
        assert {name: row[name] for name in LIMITS} == LIMITS
        assert row["budget_reset_at"] is not None
    for name, more in (("max_budget", 2), ("rpm_limit", 11), ("max_parallel_requests", 1), ("models", ["at/*"])):
        body = {"auto_create_key": False, name: more}
        await refused(gateway, "POST", "/user/new", body, status=403, word=f"{name} goes beyond it", key=ORG_ADMIN)
    less = await does(gateway, "POST", "/user/new", {"max_budget": 0.5, "models": []}, key=ORG_ADMIN)
    assert (less["max_budget"], less["budget_duration"]) == (0.5, "30d")
    assert (await row_of(gateway, less["user_id"]))["models"] == ["oracle"]


async def test_users_whom_an_admin_of_an_organization_makes_have_its_limits_of_models(gateway: Gateway) -> None:
    terms = {"budget_limit": 1.0, "time_period": "1d"}
    await limit(gateway, model_max_budget={"oracle": terms}, model_rpm_limit={"other": 5})
    bounded = {"oracle": terms, "other": {"rpm_limit": 5}}
    other = {"m": {"budget_limit": 7}}
    made = await does(
        gateway, "POST", "/user/new", {"auto_create_key": False, "model_max_budget": other}, key=ORG_ADMIN
    )
    added = {"organization_id": ORGANIZATION, "member": {"user_id": "added"}}
    await does(gateway, "POST", "/organization/member_add", added, key=ORG_ADMIN)
    assert (await row_of(gateway, made["user_id"]))["model_max_budget"] == other | bounded
    assert (await row_of(gateway, "added"))["model_max_budget"] == bounded
    for more in ({"budget_limit": 2.0, "time_period": "1d"}, {"budget_limit": 0.5, "time_period": "1h"}, {}):
        body = {"auto_create_key": False, "model_max_budget": {"oracle": more}}
        word = "model_max_budget goes beyond it"
        await refused(gateway, "POST", "/user/new", body, status=403, word=word, key=ORG_ADMIN)


async def test_users_whom_a_limited_admin_makes_have_his_limits(gateway: Gateway) -> None:
    await does(gateway, "POST", "/user/update", {"user_id": "org-admin", **LIMITS})
    made = await does(gateway, "POST", "/user/new", {"auto_create_key": False}, key=ORG_ADMIN)
    assert {name: made[name] for name in LIMITS} == LIMITS
    key = await gateway.new_key(user_id="org-admin", tpm_limit=7)
    made = await does(gateway, "POST", "/user/new", {"auto_create_key": False}, key=key)
    assert {name: made[name] for name in LIMITS} == LIMITS | {"tpm_limit": 7}


async def test_an_administrator_makes_users_without_them(gateway: Gateway) -> None:
    await limit(gateway, **LIMITS)
    body = {"organizations": [ORGANIZATION], "auto_create_key": False}
    made = await does(gateway, "POST", "/user/new", body)
    assert (made["max_budget"], made["models"]) == (None, [])


async def test_an_admin_of_an_organization_lifts_no_limits_of_its_users(gateway: Gateway) -> None:
    more = {"model_max_budget": {"oracle": {"budget_limit": 1}}, "metadata": {"tags": ["capped"]}}
    await does(gateway, "POST", "/user/update", {"user_id": "member", **LIMITS, **more})
    changes: list[dict[str, Any]] = [
        *({name: None} for name in (*LIMITS, *more)),
        {"max_budget": 1.01},
        {"budget_duration": "1d"},
        {"models": ["oracle", "at/*"]},
        {"rpm_limit": 11},
    ]
    for change in changes:
        body = {"user_id": "member", **change}
        await refused(gateway, "POST", "/user/update", body, status=403, word="Only a proxy admin", key=ORG_ADMIN)
    await does(gateway, "POST", "/user/update", {"user_id": "member", "rpm_limit": 9, "user_alias": "M"}, key=ORG_ADMIN)
    assert (await row_of(gateway, "member"))["rpm_limit"] == 9


async def test_limits_by_model_are_not_their_admins_to_lift(gateway: Gateway) -> None:
    limits: dict[str, Any] = {"model_rpm_limit": {"oracle": 5}}
    budget: dict[str, Any] = {"model_max_budget": {"oracle": {"budget_limit": 1}}}
    await does(gateway, "POST", "/team/update", {"team_id": TEAM, **limits, **budget})
    await limit(gateway, **limits, **budget)
    changes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("model_rpm_limit", {"model_rpm_limit": {"oracle": 6}}),
        ("model_rpm_limit", {"model_rpm_limit": None}),
        ("model_rpm_limit", {"metadata": limits | {"model_rpm_limit": {}}}),
        ("model_max_budget", {"model_max_budget": {"oracle": {"budget_limit": 2}}}),
        ("model_max_budget", {"model_max_budget": None}),
    )
    for word, change in changes:
        body = {"team_id": TEAM, **change}
        await refused(gateway, "POST", "/team/update", body, status=403, word=word, key=TEAM_ADMIN)
        body = {"organization_id": ORGANIZATION, **change}
        await refused(gateway, "PATCH", "/organization/update", body, status=403, word=word, key=ORG_ADMIN)


async def test_a_console_login_leaves_no_password_that_was_there(gateway: Gateway) -> None:
    await does(gateway, "POST", "/user/new", {"user_id": "default_user_id", "password": "left behind"})
    await does(gateway, "POST", "/v2/login", {"username": "admin", "password": MASTER_KEY})
    login = {"username": "default_user_id", "password": "left behind"}
    await refused(gateway, "POST", "/v2/login", login, status=401, word="Invalid credentials")


async def test_an_id_that_is_somebodys_address_locks_nobody_out(gateway: Gateway) -> None:
    boss = {"user_id": "boss", "user_email": "boss@corp.example", "password": "of the boss"}
    await does(gateway, "POST", "/user/new", boss)
    member = {"team_id": TEAM, "member": {"role": "user", "user_id": "boss@corp.example"}}
    await does(gateway, "POST", "/team/member_add", member, key=TEAM_ADMIN)
    await does(gateway, "POST", "/v2/login", {"username": "boss@corp.example", "password": "of the boss"})


async def test_a_list_of_the_key_does_not_widen_its_owners(gateway: Gateway, books: Books) -> None:
    await books.fetch("""UPDATE "LiteLLM_UserTable" SET models = '{at/*}' WHERE user_id = 'member'""")
    made = await does(gateway, "POST", "/key/generate", {"models": ["oracle"]}, key=MEMBER)
    assert (await gateway.chat("oracle", key=made["key"])).status == 403
    shown = await does(gateway, "GET", "/model/info", key=made["key"])
    assert [one["model_name"] for one in shown["data"]] == []


async def test_limits_of_a_named_budget_stay(gateway: Gateway) -> None:
    models = {"oracle": {"budget_limit": 1}}
    await does(
        gateway, "POST", "/budget/new", {"budget_id": "tiny", "max_budget": 0.0000001, "model_max_budget": models}
    )
    made = await does(gateway, "POST", "/key/generate", {"user_id": "member", "budget_id": "tiny"})
    for change in (
        {"max_budget": 100},
        {"rpm_limit": 1000},
        {"budget_duration": "1h"},
        {"model_max_budget": {"m": {"rpm_limit": 1}}},
    ):
        body = {"key": made["key"], **change}
        await refused(gateway, "POST", "/key/update", body, status=403, word="limits of a budget", key=MEMBER)


@pytest.mark.parametrize(
    "limits",
    [
        {"model_max_budget": {"oracle": {"budget_limit": 1.0}}},
        {"tag_rpm_limit": {"t": 1}},
        {"enforced_params": ["user"]},
    ],
)
async def test_keys_whose_limits_no_other_key_would_have(gateway: Gateway, limits: Mapping[str, object]) -> None:
    made = await does(gateway, "POST", "/key/generate", {"user_id": "member", **limits})
    await refused(gateway, "POST", "/key/generate", {}, status=403, word="makes no keys", key=made["key"])
    body = {"user_id": "member", "password": "a way out of them"}
    await refused(gateway, "POST", "/user/update", body, status=403, word="set no password", key=made["key"])


async def test_tags_that_budgets_hang_on(gateway: Gateway) -> None:
    """A key that is made, or got to know, with one that has them has them too, beside its own."""
    made = await does(gateway, "POST", "/key/generate", {"user_id": "member", "tags": ["capped"]})
    cases: list[tuple[dict[str, object], list[str]]] = [
        ({}, ["capped"]),
        ({"tags": []}, ["capped"]),
        ({"tags": ["capped"]}, ["capped"]),
        ({"tags": ["own"], "metadata": {"a": 1}}, ["own", "capped"]),
    ]
    for said, tags in cases:
        answer = await gateway.request("POST", "/key/generate", said, key=made["key"])
        assert answer.status == 200, answer.body
        assert answer.json["metadata"]["tags"] == tags
        await refused(
            gateway, "POST", "/key/update", {"key": answer.json["key"], "tags": []}, status=403, word="tags", key=MEMBER
        )
    other = await does(gateway, "POST", "/key/generate", {"user_id": "member", "tags": ["other"]})
    answer = await gateway.request("POST", "/key/regenerate", {"key": other["key"]}, key=made["key"])
    assert (answer.status, answer.json["metadata"]["tags"]) == (200, ["other", "capped"])
    password = {"user_id": "member", "password": "a way out of them"}
    await refused(gateway, "POST", "/user/update", password, status=403, word="set no password", key=made["key"])
    body = {"key": made["key"], "tags": []}
    await refused(gateway, "POST", "/key/update", body, status=403, word="change its tags", key=MEMBER)
    await does(gateway, "POST", "/team/update", {"team_id": TEAM, "tags": ["capped"], "enforced_params": ["user"]})
    changes: list[dict[str, list[str]]] = [{"tags": []}, {"enforced_params": []}]
    for change in changes:
        body = {"team_id": TEAM, **change}
        await refused(gateway, "POST", "/team/update", body, status=403, word="Only a proxy admin", key=TEAM_ADMIN)


async def test_the_team_of_logins_is_nobodys(gateway: Gateway) -> None:
    body = {"team_id": "litellm-dashboard", "organization_id": ORGANIZATION}
    await refused(gateway, "POST", "/team/new", body, status=400, word="that of logins", key=ORG_ADMIN)


@pytest.mark.parametrize("name", ["LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "DATABASE_URL", "BURSAR_ANYTHING"])
def test_stored_models_do_not_send_the_gateways_secrets(name: str) -> None:
    parameters = {"model": "openai/x", "api_base": "http://127.0.0.1:9/v1", "api_key": f"os.environ/{name}"}
    entry = {"model_name": "x", "litellm_params": parameters, "model_info": {"id": "x"}}
    with pytest.raises(ConfigError, match=name):
        stored_deployment(entry, "x", {}, {name: "a secret"})


async def test_the_books_close_after_a_second_life_and_a_new_secret(
    gateway: Gateway, books: Books, database_url: str
) -> None:
    own = {"key": "sk-my-own-secret-000001", "user_id": "member"}
    for _ in range(2):
        await does(gateway, "POST", "/key/generate", own)
        assert (await gateway.chat("oracle", key=own["key"])).status == 200
        await books.posted()
        if _ == 0:
            await does(gateway, "POST", "/key/delete", {"keys": [own["key"]]})
    await does(gateway, "POST", "/key/regenerate", {"key": own["key"]}, key=MEMBER)
    await books.posted()
    sql = load_named_sql("audit")
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(sql["fold"])
            assert await connection.fetch(sql["keys"], 100) == []
    finally:
        await connection.close()
