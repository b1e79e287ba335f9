"""Members of teams: roster, users, memberships and budgets change together."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.admin import does, error_of, refused, soon
from tests.management.matrix import HOME, furnish, key_of

ADD, REMOVE, UPDATE = "/team/member_add", "/team/member_delete", "/team/member_update"


@pytest.fixture
async def team(gateway: Gateway) -> Gateway:
    """A gateway with a team `t`."""
    await does(gateway, "POST", "/team/new", {"team_id": "t"})
    return gateway


async def add(gateway: Gateway, member: object, **more: object) -> Any:
    return await does(gateway, "POST", ADD, {"team_id": "t", "member": member} | more)


async def info(gateway: Gateway) -> Any:
    return await does(gateway, "GET", "/team/info?team_id=t")


async def test_adding(team: Gateway, books: Books) -> None:
    await books.fetch(
        "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email, teams) VALUES ('known', 'K@x.org', '{other}')"
    )
    added = await add(
        team,
        [{"user_email": "k@X.org"}, {"user_id": "new", "role": "admin"}, {"user_email": "new@x.org"}],
        max_budget_in_team=2.5,
        budget_duration="1d",
        allowed_models=["oracle"],
    )
    roster = {entry["user_email"] or entry["user_id"]: entry for entry in added["members_with_roles"]}
    assert roster["k@X.org"] == {"role": "user", "user_id": "known", "user_email": "k@X.org"}
    assert roster["new"]["role"] == "admin"
    assert {user["user_id"] for user in added["updated_users"]} == {e["user_id"] for e in roster.values()}
    assert "password" not in added["updated_users"][0]
    budgets = [row["litellm_budget_table"] for row in added["updated_team_memberships"]]
    assert len({budget["budget_id"] for budget in budgets}) == 3, "each his own"
    assert all((b["max_budget"], b["allowed_models"]) == (2.5, ["oracle"]) for b in budgets)
    assert all(b["budget_reset_at"] is not None for b in budgets)
    users = await books.fetch('SELECT user_id, user_role, teams FROM "LiteLLM_UserTable" ORDER BY teams')
    assert [user["teams"] for user in users] == [["other", "t"], ["t"], ["t"]]


async def test_nobody_is_added_twice(team: Gateway) -> None:
    await add(team, {"user_id": "u"})
    answer = await team.request("POST", ADD, {"team_id": "t", "member": [{"user_id": "v"}, {"user_id": "u"}]})
    assert error_of(answer) == (400, "team_member_already_in_team")
    assert len((await info(team))["team_info"]["members_with_roles"]) == 1, "all or none"


async def test_the_same_at_the_same_time(team: Gateway) -> None:
    body = {"team_id": "t", "member": {"user_id": "u"}}
    answers = await asyncio.gather(*(team.request("POST", ADD, body) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]
    others = await asyncio.gather(
        *(team.request("POST", ADD, {"team_id": "t", "member": {"user_id": f"u{n}"}}) for n in range(10))
    )
    assert {answer.status for answer in others} == {200}
    assert len((await info(team))["team_info"]["members_with_roles"]) == 11, "none is lost"


async def test_ten_thousand(team: Gateway, books: Books) -> None:
    await add(team, [{"user_id": f"u{number}"} for number in range(10_000)])
    assert len(await books.fetch('SELECT FROM "LiteLLM_TeamMembership"')) == 10_000
    shown = await info(team)
    assert len(shown["team_info"]["members_with_roles"]) == 10_000
    too_many = [{"user_id": f"v{number}"} for number in range(10_001)]
    await refused(team, "POST", ADD, {"team_id": "t", "member": too_many}, status=422, word="at most 10000")


async def test_many_each_by_himself(team: Gateway) -> None:
    await add(team, {"user_id": "u"})
    members = [{"user_id": "u"}, {"user_id": "v"}, {"user_email": "w@x.org"}, {"role": "admin"}, {"user_id": "\0"}]
    told = await does(team, "POST", "/team/bulk_member_add", {"team_id": "t", "members": members})
    assert [result["success"] for result in told["results"]] == [False, True, True, False, False]
    assert "already in team" in told["results"][0]["error"]
    assert (told["total_requested"], told["successful_additions"], told["failed_additions"]) == (5, 2, 3)
    too_many = [{"user_id": f"u{n}"} for n in range(501)]
    body = {"team_id": "t", "members": too_many}
    await refused(team, "POST", "/team/bulk_member_add", body, status=400, word="1 to 500")


async def test_everybody(team: Gateway, books: Books) -> None:
    for name in ("a", "b"):
        await books.fetch('INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ($1)', name)
    body = {"team_id": "t", "all_users": True, "max_budget_in_team": 1}
    told = await does(team, "POST", "/team/bulk_member_add", body)
    assert {result["user_id"] for result in told["results"]} == {"a", "b"}
    assert (await does(team, "POST", "/team/bulk_member_add", body))["total_requested"] == 0
    await furnish(books)
    body = {"team_id": HOME["team"], "all_users": True}
    await refused(team, "POST", "/team/bulk_member_add", body, key=key_of("team-admin"), status=403, word="proxy admin")


async def test_the_budget_of_all_and_of_one(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", {"team_id": "t", "members_with_roles": [{"user_id": "early"}]})
    await does(gateway, "POST", "/team/update", {"team_id": "t", "team_member_budget": 3, "team_member_rpm_limit": 9})
    await add(gateway, [{"user_id": "a"}, {"user_id": "b"}])
    budgets = {r["user_id"]: r["litellm_budget_table"] for r in (await info(gateway))["team_memberships"]}
    assert len({budget["budget_id"] for budget in budgets.values()}) == 1, "also of those who were there before"
    changed = await does(gateway, "POST", UPDATE, {"team_id": "t", "user_id": "a", "max_budget_in_team": 4})
    assert (changed["max_budget_in_team"], changed["rpm_limit"]) == (4, 9), "a copy"
    await does(gateway, "POST", "/team/update", {"team_id": "t", "team_member_budget": 2})
    budgets = {r["user_id"]: r["litellm_budget_table"] for r in (await info(gateway))["team_memberships"]}
    assert {name: budget["max_budget"] for name, budget in budgets.items()} == {"early": 2, "a": 4, "b": 2}
    changed = await does(gateway, "POST", UPDATE, {"team_id": "t", "user_id": "a", "max_budget_in_team": None})
    assert (changed["max_budget_in_team"], changed["rpm_limit"]) == (None, 9)


async def test_updating(team: Gateway) -> None:
    await add(team, {"user_id": "u", "user_email": "u@x.org"})
    changed = await does(team, "POST", UPDATE, {"team_id": "t", "user_email": "U@x.org", "role": "admin"})
    assert (changed["user_id"], changed["role"], changed["max_budget_in_team"]) == ("u", "admin", None)
    body = {"team_id": "t", "user_id": "u"}
    await refused(team, "POST", UPDATE, body | {"max_budget_in_team": -1}, status=400, word="negative")
    await refused(team, "POST", UPDATE, body | {"budget_duration": "soon"}, status=400, word="duration")
    await refused(team, "POST", UPDATE, body | {"role": "owner"}, status=422, word="role")
    await refused(team, "POST", UPDATE, {"team_id": "t", "user_id": "x"}, status=400, word="is not in team")
    await refused(team, "POST", UPDATE, {"team_id": "t"}, status=400, word="user_id or user_email")


@pytest.mark.parametrize("change", [{"role": "admin"}, {"max_budget_in_team": 2}, {}], ids=str)
async def test_two_who_change_the_same_member(team: Gateway, change: dict[str, object]) -> None:
    added = await add(team, {"user_id": "u"}, max_budget_in_team=1)
    body = {"team_id": "t", "user_id": "u", "updated_at": added["updated_at"], **change}
    changed = await does(team, "POST", UPDATE, body)
    await refused(team, "POST", UPDATE, body, status=409, word="changed by somebody else")
    await does(team, "POST", UPDATE, body | {"updated_at": changed["updated_at"]})


async def test_removing(team: Gateway, books: Books) -> None:
    await add(team, [{"user_id": "u"}, {"user_id": "v"}], max_budget_in_team=1)
    gone, kept = await team.new_key(team_id="t", user_id="u"), await team.new_key(user_id="u")
    left = await does(team, "POST", REMOVE, {"team_id": "t", "user_id": "u"})
    assert [entry["user_id"] for entry in left["members_with_roles"]] == ["v"]
    await soon(lambda: team.chat(key=gone), 401)
    assert (await team.chat(key=kept)).status == 200
    assert len(await books.fetch('SELECT FROM "LiteLLM_BudgetTable"')) == 1, "his own has gone"
    [user] = await books.fetch("SELECT teams FROM \"LiteLLM_UserTable\" WHERE user_id = 'u'")
    assert user["teams"] == []
    await refused(team, "POST", REMOVE, {"team_id": "t", "user_id": "u"}, status=400, word="is not in team")


async def test_resetting(team: Gateway, books: Books) -> None:
    await add(team, {"user_id": "u"})
    path = "/team/t/member/u/reset_spend"
    assert (await does(team, "POST", path))["spend"] == 0
    await refused(team, "POST", path, {"reset_to": 1}, status=400, word="above what is spent")
    await refused(team, "POST", path, {"reset_to": -1}, status=422, word="reset_to")
    await refused(team, "POST", "/team/t/member/x/reset_spend", status=404, word="is not in team")


@pytest.mark.parametrize("limit", [{"max_budget_in_team": 0}, {"rpm_limit": 0}], ids=str)
async def test_limits_reach_keys_at_once(start_gateway: StartGateway, limit: dict[str, object]) -> None:
    gateway = await start_gateway()
    await does(gateway, "POST", "/team/new", {"team_id": "t", "members_with_roles": [{"user_id": "u"}]})
    key = await gateway.new_key(team_id="t", user_id="u")
    assert (await gateway.chat(key=key, max_tokens=10)).status == 200
    await does(gateway, "POST", UPDATE, {"team_id": "t", "user_id": "u"} | limit)
    await soon(lambda: gateway.chat(key=key, max_tokens=10), 422 if "max_budget_in_team" in limit else 429)


async def test_a_teams_admin_rules_its_members(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    key, team = key_of("team-admin"), HOME["team"]
    body = {"team_id": team, "member": {"user_id": "fresh", "role": "admin"}, "max_budget_in_team": 1}
    assert (await does(gateway, "POST", ADD, body, key=key))["updated_users"][0]["user_id"] == "fresh"
    await does(gateway, "POST", UPDATE, {"team_id": team, "user_id": "fresh", "role": "user"}, key=key)
    await does(gateway, "POST", REMOVE, {"team_id": team, "user_id": "fresh"}, key=key)
    for caller in ("member", "looker", "reader-admin", "stranger"):
        assert (await gateway.request("POST", ADD, body, key=key_of(caller))).status == 403


async def test_strangers_stay_strangers(gateway: Gateway, books: Books) -> None:
    """Who adds somebody he may not see learns nothing of him, not even whether he existed."""
    await furnish(books)
    await books.fetch(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role) VALUES'
        " ('one', 'one@secret.org', 'canary', 'proxy_admin'), ('two', 'two@known.org', 'canary', 'proxy_admin'),"
        " ('three', 'three@secret.org', 'canary', 'internal_user')"
    )
    leader, boss, team = key_of("team-admin"), key_of("org-admin"), HOME["team"]
    members = [{"user_id": "one"}, {"user_email": "Two@known.org"}, {"user_id": "made"}]
    added = await does(gateway, "POST", ADD, {"team_id": team, "member": members}, key=leader)
    nothing = {"user_email": None, "user_alias": None, "user_role": None}
    assert added["updated_users"] == [
        nothing | {"user_id": "one"},
        nothing | {"user_id": "two", "user_email": "Two@known.org"},
        nothing | {"user_id": "made"},
    ]
    many = {"team_id": team, "members": [{"user_id": "three"}]}
    [result] = (await does(gateway, "POST", "/team/bulk_member_add", many, key=leader))["results"]
    assert result["updated_user"] == nothing | {"user_id": "three"}
    new = {"team_id": "new", "organization_id": HOME["organization"], "members_with_roles": [{"user_id": "one"}]}
    made = await does(gateway, "POST", "/team/new", new, key=boss)
    callers = (leader, boss, key_of("member"), key_of("admin"))
    shown = [await does(gateway, "GET", f"/team/info?team_id={quote(team)}", key=caller) for caller in callers]
    told = [added, result, made, *shown]
    assert "secret.org" not in str(told)
    assert "canary" not in str(told)


async def test_who_may_see_a_user_is_told_of_him(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    organization = {"organization_id": HOME["organization"], "organization_alias": "home"}
    await does(gateway, "PATCH", "/organization/update", organization)
    theirs = {"user_id": "theirs", "user_email": "a@x.org", "organizations": [HOME["organization"]]}
    await does(gateway, "POST", "/user/new", theirs | {"auto_create_key": False})
    boss, body = key_of("org-admin"), {"team_id": HOME["team"], "member": {"user_id": "theirs"}}
    [user] = (await does(gateway, "POST", ADD, body, key=boss))["updated_users"]
    assert user == {"user_id": "theirs", "user_email": "a@x.org", "user_alias": None, "user_role": "internal_user"}
