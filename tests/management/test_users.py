"""`/user/*`: LiteLLM's shapes and errors, who may, and that no password comes out."""

import asyncio
import base64
import hashlib
from typing import Any
from urllib.parse import quote

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.matrix import AWAY, HOME, furnish, hash_of, key_of
from tests.management.test_key_endpoints import check_error
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S

PASSWORD = "correct horse battery"


async def post(gateway: Gateway, path: str, body: object, *, key: str = MASTER_KEY) -> Answer:
    return await gateway.request("POST", path, body, key=key)


async def new(gateway: Gateway, **fields: Any) -> Any:
    answer = await post(gateway, "/user/new", fields)
    assert answer.status == 200, answer.body
    return answer.json


async def info(gateway: Gateway, user_id: str) -> Any:
    answer = await gateway.request("GET", f"/user/info?user_id={user_id}")
    assert answer.status == 200, answer.body
    return answer.json


# --- new ---


async def test_a_user_with_a_key(gateway: Gateway) -> None:
    made = await new(gateway, user_email="Ada@example.org", max_budget=5, budget_duration="30d", models=["oracle"])
    assert made["key"].startswith("sk-")
    assert (made["user_role"], made["max_budget"], made["teams"]) == ("internal_user", 5, [])
    assert made["budget_reset_at"] is not None
    assert (await gateway.chat(key=made["key"])).status == 200
    shown = await info(gateway, made["user_id"])
    assert [key["token"] for key in shown["keys"]] == [hash_of(made["key"])]
    assert shown["user_info"]["user_email"] == "Ada@example.org"
    row = (await gateway.request("GET", f"/v2/user/info?user_id={made['user_id']}")).json
    assert row == shown["user_info"]


async def test_a_user_without_one(gateway: Gateway) -> None:
    made = await new(gateway, user_id="a/b+=%", auto_create_key=False, user_role="proxy_admin_viewer")
    assert (made["key"], made["expires"], made["user_id"]) == ("", None, "a/b+=%")
    assert (await info(gateway, "a%2Fb%2B%3D%25"))["keys"] == []


@pytest.mark.parametrize("user_id", ["a+b@example.org", "a b@example.org"])
async def test_whoever_looks_at_a_user_need_not_encode_a_plus(gateway: Gateway, user_id: str) -> None:
    await new(gateway, user_id=user_id, auto_create_key=False)
    for named in (user_id.replace(" ", "%20"), quote(user_id)):
        assert (await info(gateway, named))["user_id"] == user_id
        assert (await gateway.request("GET", f"/v2/user/info?user_id={named}")).json["user_id"] == user_id


async def test_ids_and_addresses_are_unique(gateway: Gateway) -> None:
    await new(gateway, user_id="u", user_email="ada@example.org")
    check_error(await post(gateway, "/user/new", {"user_id": "u"}), 409, "User with id u already exists")
    word = "User with email ADA@example.org already exists"
    check_error(await post(gateway, "/user/new", {"user_email": "ADA@example.org"}), 409, word)
    await new(gateway, user_id="v")
    check_error(await post(gateway, "/user/update", {"user_id": "v", "user_email": "ADA@example.org"}), 409, word)
    asked = [{"user_email": "x@example.org", "key_alias": f"k{number}"} for number in range(8)]
    answers = await asyncio.gather(*(post(gateway, "/user/new", body) for body in asked))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7


async def test_what_cannot_be_leaves_nothing_behind(gateway: Gateway, books: Books) -> None:
    await gateway.new_key(key_alias="taken")
    for fields, status in (
        ({"teams": ["nobody's"]}, 404),
        ({"organizations": ["nobody's"]}, 404),
        ({"key_alias": "taken"}, 400),
        ({"max_budget": -1}, 400),
        ({"budget_duration": "1y"}, 400),
        ({"duration": "x"}, 400),
        ({"user_alias": "a\x00"}, 400),
        ({"user_role": "emperor"}, 422),
        ({"password": "short"}, 422),
        ({"teams": "x"}, 422),
        ({"models": ["x"] * 10_001}, 422),
    ):
        assert (await post(gateway, "/user/new", fields)).status == status, fields
    assert not await books.fetch('SELECT FROM "LiteLLM_UserTable"')


async def test_members_from_the_beginning(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    made = await new(
        gateway, user_id="new", teams=[HOME["team"], {"team_id": AWAY["team"]}], organizations=[HOME["organization"]]
    )
    assert sorted(made["teams"]) == sorted([HOME["team"], AWAY["team"]])
    shown = await info(gateway, "new")
    assert {team["team_id"] for team in shown["teams"]} == {HOME["team"], AWAY["team"]}
    [row] = await books.fetch("SELECT user_role FROM \"LiteLLM_OrganizationMembership\" WHERE user_id = 'new'")
    assert row["user_role"] == "internal_user"
    # And gone at the end, with their keys
    assert (await post(gateway, "/user/delete", {"user_ids": ["new", "member"]})).json == 2
    assert (await gateway.request("GET", "/user/info?user_id=new")).status == 404
    for table, column in (
        ("VerificationToken", "user_id"),
        ("OrganizationMembership", "user_id"),
        ("TeamMembership", "user_id"),
    ):
        assert not await books.fetch(f"""SELECT FROM "LiteLLM_{table}" WHERE {column} IN ('new', 'member')""")
    teams = await books.fetch('SELECT members_with_roles, members FROM "LiteLLM_TeamTable"')
    assert not [team for team in teams if "'new'" in str(team) or "'member'" in str(team)]
    assert "team-admin" in str(teams), "the others stay"
    check_error(await gateway.chat(key=made["key"]), 401, "")
    check_error(await post(gateway, "/user/delete", {"user_ids": ["looker", "new"]}), 404, "passed user_id=new")
    assert (await info(gateway, "looker"))["keys"], "all or nobody"


async def test_teams_that_a_user_joins_later(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    await post(gateway, "/team/new", {"team_id": "t", "team_member_budget": 3})
    await post(gateway, "/team/new", {"team_id": "u", "team_member_budget": 3})
    await new(gateway, user_id="new", user_email="new@x.org", teams=["t"])
    await post(gateway, "/team/member_update", {"team_id": "t", "user_id": "new", "role": "admin"})
    places = ["t", {"team_id": "u", "max_budget_in_team": 2}]
    changed = await post(gateway, "/user/update", {"user_email": "NEW@x.org", "teams": places, "user_alias": "N"})
    assert (changed.status, changed.headers.get("x-bursar-ignored-fields")) == (200, None)
    assert sorted(changed.json["data"]["teams"]) == ["t", "u"]
    rosters = await books.fetch(
        "SELECT members_with_roles FROM \"LiteLLM_TeamTable\" WHERE team_id IN ('t', 'u') ORDER BY team_id"
    )
    entry = {"user_id": "new", "user_email": "new@x.org"}
    assert [row["members_with_roles"] for row in rosters] == [[{"role": "admin"} | entry], [{"role": "user"} | entry]]
    limits = await books.fetch(
        'SELECT max_budget FROM "LiteLLM_TeamMembership" JOIN "LiteLLM_BudgetTable" USING (budget_id) '
        "WHERE user_id = 'new' ORDER BY team_id"
    )
    assert [row["max_budget"] for row in limits] == [3, 2]
    body = {"user_id": "new", "user_alias": "O", "teams": ["none"]}
    check_error(await post(gateway, "/user/update", body), 404, "team_id=none")
    assert (await info(gateway, "new"))["user_info"]["user_alias"] == "N", "all of it, or nothing"
    own = {"user_id": "member", "teams": ["t"]}
    check_error(await post(gateway, "/user/update", own, key=key_of("member")), 403, "cannot change his own teams")
    for team, status in ((AWAY["team"], 403), (HOME["team"], 200)):
        body = {"user_id": "member", "teams": [team]}
        assert (await post(gateway, "/user/update", body, key=key_of("org-admin"))).status == status


async def test_an_address_that_nobody_has(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    await new(gateway, user_id="hidden", user_email="known@x.org", auto_create_key=False)
    body = {"user_email": "unknown@x.org", "user_alias": "x"}
    check_error(await post(gateway, "/user/update", body), 404, "User unknown@x.org not found")
    for address in ("unknown@x.org", "known@x.org"):  # who may not change him does not learn whether he is there
        answer = await post(gateway, "/user/update", body | {"user_email": address}, key=key_of("org-admin"))
        check_error(answer, 403, f"not allowed to change the user {address}.")


# --- passwords ---


async def test_passwords_are_kept_as_scrypt_and_shown_to_nobody(gateway: Gateway, books: Books) -> None:
    answers = [
        await post(gateway, "/user/new", {"user_id": "u", "password": PASSWORD}),
        await post(gateway, "/user/update", {"user_id": "u", "password": PASSWORD}),
        await gateway.request("GET", "/user/info?user_id=u"),
        await gateway.request("GET", "/v2/user/info?user_id=u"),
        await gateway.request("GET", "/user/list"),
        await gateway.request("GET", "/audit"),
    ]
    [row] = await books.fetch('SELECT password FROM "LiteLLM_UserTable"')
    stored = row["password"]
    raw = base64.b64decode(stored.removeprefix("scrypt:"))
    salt, digest = raw[:16], raw[16:]
    assert hashlib.scrypt(PASSWORD.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32) == digest
    changes = await books.fetch('SELECT * FROM "LiteLLM_AuditLog"')
    for text in [answer.body.decode() for answer in answers] + [str(changes)]:
        assert PASSWORD not in text
        assert stored not in text


# --- update ---


async def test_changes_reach_the_users_keys(gateway: Gateway, books: Books) -> None:
    made = await new(gateway, user_id="u")
    assert (await gateway.chat(key=made["key"])).status == 200
    await post(gateway, "/user/update", {"user_id": "u", "models": ["other"]})
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await gateway.chat(key=made["key"])).status == 200:
            await asyncio.sleep(0.02)
    check_error(answer, 403, "not available", error_type="user_model_access_denied")
    await post(gateway, "/user/update", {"user_id": "u", "models": None, "max_budget": 0})
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await gateway.chat(key=made["key"])).status == 403:
            await asyncio.sleep(0.02)
    assert answer.json["error"]["type"] == "budget_exceeded"
    actions = await books.fetch("SELECT action FROM \"LiteLLM_AuditLog\" WHERE object_id = 'u' ORDER BY updated_at")
    assert [row["action"] for row in actions] == ["created", "updated", "updated"]


async def test_spend_of_a_user_is_set_back(gateway: Gateway, books: Books) -> None:
    made = await new(gateway, user_id="u", max_budget=0.0002)
    while (await gateway.chat(key=made["key"], max_tokens=8)).status == 200:
        pass
    await books.posted()
    answer = await post(gateway, "/user/update", {"user_id": "u", "spend": 0})
    assert answer.json["data"]["spend"] == 0
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.chat(key=made["key"], max_tokens=8)).status != 200:
            await asyncio.sleep(0.02)


async def test_two_who_change_the_same(gateway: Gateway) -> None:
    await new(gateway, user_id="u", user_email="ada@example.org")
    stamp = (await info(gateway, "u"))["user_info"]["updated_at"]
    body = {"user_email": "ada@example.org", "updated_at": stamp, "tpm_limit": 5}
    answers = await asyncio.gather(*(post(gateway, "/user/update", body) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5
    check_error(await post(gateway, "/user/update", {"user_id": "nobody", "tpm_limit": 5}), 404, "not found")
    check_error(await post(gateway, "/user/update", {"tpm_limit": 5}), 400, "user_id")


async def test_many_at_once(gateway: Gateway) -> None:
    for user in ("u", "v"):
        await new(gateway, user_id=user)
    body = {"users": [{"user_id": "u", "max_budget": 1}, {"user_id": "nobody", "max_budget": 1}]}
    answer = (await post(gateway, "/user/bulk_update", body)).json
    assert [(r["user_id"], r["success"]) for r in answer["results"]] == [("u", True), ("nobody", False)]
    everybody = {"all_users": True, "user_updates": {"rpm_limit": 3}}
    answer = (await post(gateway, "/user/bulk_update", everybody)).json
    assert (answer["total_requested"], answer["successful_updates"], answer["failed_updates"]) == (2, 2, 0)
    assert (await info(gateway, "v"))["user_info"]["rpm_limit"] == 3
    nothing: list[dict[str, Any]] = [{}, {"users": []}, {"all_users": True}]
    for empty in nothing:
        assert (await post(gateway, "/user/bulk_update", empty)).status == 400


# --- list ---


async def test_listing(gateway: Gateway) -> None:
    for number in range(5):
        await new(gateway, user_id=f"u{number}", user_email=f"{number}@example.org", max_budget=number)
    await new(gateway, user_id="boss", user_role="proxy_admin", auto_create_key=False)

    async def listed(query: str) -> Any:
        answer = await gateway.request("GET", f"/user/list?{query}")
        assert answer.status == 200, answer.body
        return answer.json

    page = await listed("role=internal_user&sort_by=max_budget&sort_order=asc&page_size=2&page=2")
    assert [user["user_id"] for user in page["users"]] == ["u2", "u3"]
    assert (page["total"], page["total_pages"], page["users"][0]["key_count"]) == (5, 3, 1)
    assert [user["user_id"] for user in (await listed("user_ids=u1,boss&sort_by=user_id"))["users"]] == ["u1", "boss"]
    assert (await listed("user_email=4@EXAMPLE"))["total"] == 1
    assert (await gateway.request("GET", "/user/get_users?role=proxy_admin")).json["users"][0]["user_id"] == "boss"
    assert (await gateway.request("GET", "/user/available_users")).json["total_users_used"] == 6
    roles = (await gateway.request("GET", "/user/available_roles")).json
    assert roles.keys() == {"proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"}
    for query in ("page=0", "page_size=101", "role=x", "sort_by=password"):
        assert (await gateway.request("GET", f"/user/list?{query}")).status == 422


# --- who may ---


async def test_what_a_user_changes_of_himself(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    key = key_of("member")
    mine = {"user_id": "member", "user_alias": "Me", "password": PASSWORD, "metadata": {"a": 1}}
    assert (await post(gateway, "/user/update", mine, key=key)).status == 200
    wrong: list[dict[str, Any]] = [{"max_budget": 5}, {"user_role": "proxy_admin"}, {"models": []}, {"spend": 0}]
    for more in (*wrong, {"user_email": "a@b"}):
        check_error(await post(gateway, "/user/update", {"user_id": "member", **more}, key=key), 403, "his own")
    limited = await gateway.new_key(user_id="member", max_budget=1)
    word = "A key with limits of its own can set no password"
    check_error(await post(gateway, "/user/update", mine, key=limited), 403, word)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"user_role": "proxy_admin"}, "Only a proxy admin"),
        ({"organizations": [AWAY["organization"]]}, "organizations that you administer"),
        ({"organizations": []}, "organizations that you administer"),
        ({"teams": [AWAY["team"]]}, "teams of organizations"),
        ({"spend": 1}, "Only a proxy admin"),
    ],
)
async def test_what_an_organizations_admin_cannot_make(
    gateway: Gateway, books: Books, body: dict[str, Any], word: str
) -> None:
    await furnish(books)
    check_error(await post(gateway, "/user/new", body, key=key_of("org-admin")), 403, word)


async def test_an_organizations_admin_and_its_members(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    key = key_of("org-admin")
    made = (await post(gateway, "/user/new", {"user_id": "new", "teams": [HOME["team"]]}, key=key)).json
    assert made["organizations"] == [HOME["organization"]]
    row = (await gateway.request("GET", f"/key/info?key={made['key']}")).json["info"]
    assert (row["organization_id"], row["allowed_routes"]) == (HOME["organization"], ["llm_api_routes"])
    seen = (await gateway.request("GET", "/user/list", key=key)).json
    assert {user["user_id"] for user in seen["users"]} == {"org-admin", "member", "new"}
    assert (await post(gateway, "/user/update", {"user_id": "new", "max_budget": 5}, key=key)).status == 200
    for more in ({"password": PASSWORD}, {"user_email": "a@b"}, {"user_role": "proxy_admin"}, {"spend": 0}):
        check_error(await post(gateway, "/user/update", {"user_id": "new", **more}, key=key), 403, "Only a proxy admin")
    for stranger in ("stranger", "admin", "looker", "nobody"):
        change = {"user_id": stranger, "user_alias": "x"}
        check_error(await post(gateway, "/user/update", change, key=key), 403, "not allowed to change the user")
        check_error(await post(gateway, "/user/delete", {"user_ids": [stranger]}, key=key), 403, "not allowed")
    await books.fetch(
        """INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id, user_role)
        VALUES ('admin', $1, 'internal_user'), ('stranger', $1, 'internal_user')""",
        HOME["organization"],
    )
    for member in ("admin", "stranger"):  # who are more, or elsewhere as well
        change = {"user_id": member, "user_alias": "x"}
        check_error(await post(gateway, "/user/update", change, key=key), 403, "not allowed to change the user")
    assert (await post(gateway, "/user/delete", {"user_ids": ["new"]}, key=key)).json == 1


async def test_defaults_of_new_users(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        settings="""
        litellm_settings:
          max_internal_user_budget: 3
          internal_user_budget_duration: 7d
          default_internal_user_params: {user_role: internal_user_viewer, models: [oracle]}
        """
    )
    made = await new(gateway)
    assert (made["user_role"], made["models"], made["max_budget"]) == ("internal_user_viewer", ["oracle"], None)
    made = await new(gateway, user_role="internal_user", models=[])
    assert (made["models"], made["max_budget"], made["budget_duration"]) == ([], 3, "7d")
    assert (await new(gateway, user_role="internal_user", max_budget=9))["max_budget"] == 9


async def test_a_user_who_is_made_anew_has_spent_nothing(gateway: Gateway, books: Books) -> None:
    made = await new(gateway, user_id="again", max_budget=1, budget_duration="30d")
    assert (await gateway.chat(key=made["key"])).status == 200
    await books.posted()
    spent = "SELECT spent_nano_usd FROM bursar.windows WHERE scope_kind = 'user' AND scope_id = 'again'"
    [window] = await books.fetch(spent)
    assert window["spent_nano_usd"] > 0
    assert (await post(gateway, "/user/delete", {"user_ids": ["again"]})).status == 200
    assert [row["spent_nano_usd"] for row in await books.fetch(spent)] == [0]


async def test_so_have_his_memberships(gateway: Gateway, books: Books) -> None:
    await new(gateway, user_id="again", auto_create_key=False)
    member = {"team_id": "t", "user_id": "again"}
    await post(gateway, "/team/new", {"team_id": "t", "members_with_roles": [{"role": "user", "user_id": "again"}]})
    await post(gateway, "/team/member_update", {**member, "max_budget_in_team": 1})
    assert (await gateway.chat(key=await gateway.new_key(**member))).status == 200
    await books.posted()
    spent = "SELECT spent_nano_usd FROM bursar.windows WHERE scope_kind = 'team_member' AND scope_id = 't/again'"
    [window] = await books.fetch(spent)
    assert window["spent_nano_usd"] > 0
    assert (await post(gateway, "/user/delete", {"user_ids": ["again"]})).status == 200
    assert [row["spent_nano_usd"] for row in await books.fetch(spent)] == [0]
    assert await books.fetch("SELECT FROM \"LiteLLM_BudgetTable\" WHERE starts_with(budget_id, 'own-budget-')") == []
