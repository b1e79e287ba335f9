"""`/team/*`: LiteLLM's shapes and errors, rights of a team's own admins, and who sees what."""

import asyncio
from typing import Any

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.admin import does, error_of, refused, soon
from tests.management.matrix import AWAY, HOME, furnish, key_of

TEAM = HOME["team"]
LEADER, BOSS, MEMBER = key_of("team-admin"), key_of("org-admin"), key_of("member")


async def new_team(gateway: Gateway, *, key: str = MASTER_KEY, **fields: object) -> Any:
    return await does(gateway, "POST", "/team/new", fields, key=key)


async def update(gateway: Gateway, *, key: str = MASTER_KEY, team: str = TEAM, **fields: object) -> Any:
    answer = await does(gateway, "POST", "/team/update", {"team_id": team} | fields, key=key)
    assert answer["team_id"] == team
    return answer["data"]


# --- making and changing ---


async def test_a_team_with_nothing_said(gateway: Gateway) -> None:
    made = await new_team(gateway)
    expected: dict[str, object] = {
        "team_alias": None,
        "organization_id": None,
        "admins": [],
        "members": [],
        "members_with_roles": [],
        "metadata": {},
        "models": [],
        "max_budget": None,
        "soft_budget": None,
        "budget_duration": None,
        "tpm_limit": None,
        "rpm_limit": None,
        "max_parallel_requests": None,
        "spend": 0.0,
        "blocked": False,
        "model_id": None,
        "litellm_model_table": None,
    }
    assert {name: made[name] for name in expected} == expected
    assert len(made["team_id"]) == 36
    assert made["created_at"].endswith("Z")


async def test_a_team_with_everything_said(gateway: Gateway, books: Books) -> None:
    asked: dict[str, Any] = {
        "team_id": "a/b+c%d=e ☃",
        "team_alias": "Ω'; DROP TABLE teams; --",
        "models": ["oracle", "at/*"],
        "max_budget": 5.5,
        "soft_budget": 5,
        "budget_duration": "30d",
        "tpm_limit": 10**12,
        "rpm_limit": 60,
        "tpd_limit": 10**13,
        "max_parallel_requests": 3,
        "model_max_budget": {"oracle": {"budget_limit": 1.0, "time_period": "1d"}},
        "budget_limits": [{"budget_duration": "1d", "max_budget": 5}],
        "team_member_permissions": ["/key/info"],
        "default_team_member_models": ["oracle"],
        "router_settings": {"num_retries": 1},
        "access_group_ids": ["g"],
        "blocked": False,
    }
    inside: dict[str, Any] = {"tags": ["t"], "model_rpm_limit": {"oracle": 5}, "guardrails": ["g"]}
    members: dict[str, Any] = {
        "team_member_budget": 0.5,
        "team_member_rpm_limit": 7,
        "team_member_budget_duration": "1d",
    }
    made = await new_team(
        gateway, **asked, **inside, **members, metadata={"note": "été"}, model_aliases={"gpt": "oracle"}, unknown=1
    )
    assert {name: made[name] for name in asked} == asked
    assert made["metadata"].items() >= {"note": "été", **inside}.items()
    assert made["budget_reset_at"] is not None
    assert made["litellm_model_table"]["model_aliases"] == {"gpt": "oracle"}
    default = made["metadata"]["team_member_budget_id"]
    [budget] = await does(gateway, "POST", "/budget/info", {"budgets": [default]})
    assert (budget["max_budget"], budget["rpm_limit"], budget["budget_duration"]) == (0.5, 7, "1d")
    shown = await does(gateway, "GET", "/team/info?team_id=a%2Fb%2Bc%25d%3De%20%E2%98%83")
    assert shown["team_info"] == made
    assert (shown["keys"], shown["team_memberships"]) == ([], [])


async def test_absent_stays_and_null_clears(gateway: Gateway) -> None:
    await new_team(gateway, team_id="t", max_budget=5, rpm_limit=6, models=["oracle"], tags=["a"], metadata={"x": 1})
    row = await update(gateway, team="t", rpm_limit=7)
    assert (row["max_budget"], row["rpm_limit"], row["models"]) == (5, 7, ["oracle"])
    row = await update(gateway, team="t", max_budget=None, models=None, budget_duration="1d", metadata={"y": 2})
    assert (row["max_budget"], row["models"], row["budget_duration"]) == (None, [], "1d")
    assert row["metadata"] == {"tags": ["a"], "y": 2}
    assert row["budget_reset_at"] is not None
    row = await update(gateway, team="t", budget_duration=None, tags=None)
    assert (row["budget_reset_at"], row["metadata"]) == (None, {"y": 2})


async def test_the_budget_of_members_cannot_be_somebody_elses(gateway: Gateway) -> None:
    await does(gateway, "POST", "/budget/new", {"budget_id": "theirs", "max_budget": 1000})
    made = await new_team(gateway, team_id="t", metadata={"team_member_budget_id": "theirs"})
    assert made["metadata"] == {}
    row = await update(gateway, team="t", team_member_budget=1)
    own = row["metadata"]["team_member_budget_id"]
    row = await update(gateway, team="t", metadata={"team_member_budget_id": "theirs"}, team_member_budget=2)
    assert row["metadata"]["team_member_budget_id"] == own
    assert [b["max_budget"] for b in await does(gateway, "GET", "/budget/list")] == [1000, 2]


async def test_two_who_change_the_same(gateway: Gateway) -> None:
    made = await new_team(gateway, team_id="t")
    row = await update(gateway, team="t", rpm_limit=1, updated_at=made["updated_at"])
    assert row["updated_at"] > made["updated_at"]
    body = {"team_id": "t", "rpm_limit": 2, "updated_at": made["updated_at"]}
    await refused(gateway, "POST", "/team/update", body, status=409, word="changed by somebody else")
    answers = await asyncio.gather(
        *(gateway.request("POST", "/team/update", body | {"updated_at": row["updated_at"]}) for _ in range(5))
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]


async def test_changes_are_on_record(gateway: Gateway) -> None:
    await new_team(gateway, team_id="t", metadata={"langfuse_secret_key": "canary"})
    await update(gateway, team="t", rpm_limit=1)
    await does(gateway, "POST", "/team/block", {"team_id": "t"})
    await does(gateway, "POST", "/team/delete", {"team_ids": ["t"]})
    page = await does(gateway, "GET", "/audit?table_name=LiteLLM_TeamTable&sort_order=asc")
    assert [entry["action"] for entry in page["audit_logs"]] == ["created", "updated", "blocked", "deleted"]
    changed = page["audit_logs"][1]
    assert (changed["before_value"]["rpm_limit"], changed["updated_values"]["rpm_limit"]) == (None, 1)
    assert "canary" not in str(page)


async def test_models(gateway: Gateway) -> None:
    await new_team(gateway, team_id="t", models=["a"])
    row = await does(gateway, "POST", "/team/model/add", {"team_id": "t", "models": ["b", "a"]})
    assert row["models"] == ["a", "b"]
    row = await does(gateway, "POST", "/team/model/delete", {"team_id": "t", "models": ["a", "c"]})
    assert row["models"] == ["b"]
    body = {"team_id": "t", "models": ["b"]}
    await refused(gateway, "POST", "/team/model/delete", body, status=400, word="could call all of them")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/team/permissions_update", {"team_member_permissions": ["/key/info"]}),
        ("/team/block", {}),
        ("/team/unblock", {}),
    ],
)
async def test_two_who_switch_the_same(gateway: Gateway, path: str, body: dict[str, object]) -> None:
    made = await new_team(gateway, team_id="t")
    body = {"team_id": "t", "updated_at": made["updated_at"], **body}
    row = await does(gateway, "POST", path, body)
    await refused(gateway, "POST", path, body, status=409, word="changed by somebody else")
    await does(gateway, "POST", path, body | {"updated_at": row["updated_at"]})


async def test_permissions_of_members(gateway: Gateway) -> None:
    await new_team(gateway, team_id="t")
    body = {"team_id": "t", "team_member_permissions": ["/key/generate"]}
    await does(gateway, "POST", "/team/permissions_update", body)
    shown = await does(gateway, "GET", "/team/permissions_list?team_id=t")
    assert shown["team_member_permissions"] == ["/key/generate"]
    assert "/key/info" in shown["all_available_permissions"]
    await does(
        gateway, "POST", "/team/permissions_update", body | {"team_member_permissions": ["/key/{id}/regenerate"]}
    )
    body["team_member_permissions"] = ["/user/delete"]
    await refused(gateway, "POST", "/team/permissions_update", body, status=400, word="not there")


async def test_deleting_is_all_or_nothing(gateway: Gateway, books: Books) -> None:
    await new_team(gateway, team_id="t")
    body = {"team_ids": ["t", "none"]}
    await refused(gateway, "POST", "/team/delete", body, status=404, word="team_id=none")
    assert await does(gateway, "POST", "/team/delete", {"team_ids": ["t", "t"]}) == 1
    await refused(gateway, "POST", "/team/delete", {"team_ids": []}, status=400, word="team_ids")


async def test_keys_go_with_their_team(gateway: Gateway, books: Books) -> None:
    await new_team(gateway, team_id="t")
    keys = [await gateway.new_key(team_id="t") for _ in range(3)]
    await does(gateway, "POST", "/team/delete", {"team_ids": ["t"]})
    for key in keys:
        await soon(lambda key=key: gateway.chat(key=key), 401)  # type: ignore[misc]
    assert len(await books.fetch('SELECT FROM "LiteLLM_DeletedVerificationToken"')) == 3


# --- lists ---


async def test_lists_show_aliases(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", {"team_id": "t", "model_aliases": {"small": "oracle"}})
    await does(gateway, "POST", "/team/new", {"team_id": "u"})
    team = (await does(gateway, "GET", "/team/info?team_id=t"))["team_info"]["litellm_model_table"]
    assert team["model_aliases"] == {"small": "oracle"}
    plain = await does(gateway, "GET", "/team/list")
    paged = (await does(gateway, "GET", "/v2/team/list"))["teams"]
    for rows in (plain, paged):
        assert {row["team_id"]: row["litellm_model_table"] for row in rows} == {"t": team, "u": None}


async def test_pages(gateway: Gateway) -> None:
    for number in range(5):
        await new_team(gateway, team_id=f"t{number}", team_alias=f"Team_{number}", max_budget=number)
    page = await does(gateway, "GET", "/v2/team/list?page=2&page_size=2&sort_by=max_budget&sort_order=asc")
    assert [team["team_id"] for team in page["teams"]] == ["t2", "t3"]
    assert {n: page[n] for n in page if n != "teams"} == {"total": 5, "page": 2, "page_size": 2, "total_pages": 3}
    page = await does(gateway, "GET", "/v2/team/list?page=9")
    assert (page["teams"], page["total"]) == ([], 5)
    page = await does(gateway, "GET", "/v2/team/list?team_alias=m_3")
    assert [team["team_id"] for team in page["teams"]] == ["t3"]
    assert (await does(gateway, "GET", "/v2/team/list?team_alias=%25"))["total"] == 0


async def test_deleted_teams_can_be_looked_at(gateway: Gateway, books: Books) -> None:
    """Each of their lives, by who rules them; and nothing else of them."""
    await furnish(books)
    for alias in ("first", "second"):
        await new_team(gateway, team_id="t", team_alias=alias, organization_id=HOME["organization"], models=["oracle"])
        await does(gateway, "POST", "/team/member_add", {"team_id": "t", "member": {"user_id": "member"}})
        await books.fetch("""UPDATE "LiteLLM_TeamTable" SET spend = 2.5 WHERE team_id = 't'""")
        await does(gateway, "POST", "/team/delete", {"team_ids": ["t"]})
    await new_team(gateway, team_id="t", team_alias="third")
    await does(gateway, "POST", "/team/member_add", {"team_id": "t", "member": {"user_id": "member"}})
    page = await does(gateway, "GET", "/v2/team/list?status=deleted&sort_by=team_alias&sort_order=asc")
    assert [row["team_alias"] for row in page["teams"]] == ["first", "second"]
    first = page["teams"][0]
    assert (page["total"], first["spend"], first["models"]) == (2, 2.5, ["oracle"])
    assert [member["user_id"] for member in first["members_with_roles"]] == ["member"]
    assert first["deleted_by"] == "default_user_id"
    assert first["deleted_at"] > first["created_at"]
    for filters in ("team_alias=sec", "user_id=member&page=2&page_size=1", f"organization_id={HOME['organization']}"):
        found = await does(gateway, "GET", f"/v2/team/list?status=deleted&{filters}")
        assert found["total"] == (1 if "alias" in filters else 2), filters
    live = await does(gateway, "GET", "/v2/team/list?team_id=t")
    assert [row["team_alias"] for row in live["teams"]] == ["third"]
    assert "deleted_at" not in live["teams"][0]
    for caller, seen in (("org-admin", 2), ("member", 0), ("stranger", 0), ("viewer", 2)):
        page = await does(gateway, "GET", "/v2/team/list?status=deleted", key=key_of(caller))
        assert page["total"] == seen, caller
    await refused(gateway, "GET", "/v2/team/list?status=gone", status=422, word="not one of the values")


async def test_who_sees_which_teams(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    for key, seen in (
        (MASTER_KEY, {TEAM, AWAY["team"]}),
        (BOSS, {TEAM}),
        (LEADER, {TEAM}),
        (MEMBER, {TEAM}),
        (key_of("stranger"), {AWAY["team"]}),
    ):
        assert {team["team_id"] for team in await does(gateway, "GET", "/team/list", key=key)} == seen
        page = await does(gateway, "GET", "/v2/team/list", key=key)
        assert {team["team_id"] for team in page["teams"]} == seen
    other = await does(gateway, "GET", "/team/list?user_id=stranger", key=MEMBER)
    assert other == []


async def test_members_see_their_own(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    await update(gateway, metadata={"langfuse_secret_key": "canary", "note": "all may know"})
    await does(gateway, "POST", "/team/member_update", {"team_id": TEAM, "user_id": "member"})
    await does(gateway, "POST", "/team/member_update", {"team_id": TEAM, "user_id": "looker"})
    info = "/team/info?team_id=home%2Fteam%2B1%25"
    mine = await does(gateway, "GET", info, key=MEMBER)
    assert {key["user_id"] for key in mine["keys"]} == {"member"}
    assert {row["user_id"] for row in mine["team_memberships"]} == {"member"}
    assert mine["team_info"]["metadata"]["note"] == "all may know"
    assert "canary" not in str(mine)
    led = await does(gateway, "GET", info, key=LEADER)
    assert len(led["keys"]) > 3
    assert {row["user_id"] for row in led["team_memberships"]} == {"member", "looker"}
    keys_own = await does(gateway, "GET", info, key=key_of("key"))
    assert len(keys_own["keys"]) == 1


async def test_teams_that_one_may_join(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(
        settings="litellm_settings: {default_internal_user_params: {available_teams: [open, home/team+1%, gone]}}"
    )
    await furnish(books)
    await new_team(gateway, team_id="open", team_alias="Open", metadata={"note": "for members"})
    offered = {"team_id": "open", "team_alias": "Open", "models": []}
    assert await does(gateway, "GET", "/team/available", key=MEMBER) == [offered]


# --- rights of a team's own admins, and of its organization's ---


@pytest.mark.parametrize(
    "raise_it",
    [
        {"max_budget": 6},
        {"max_budget": None},
        {"rpm_limit": 11},
        {"models": []},
        {"models": ["oracle", "at/x"]},
        {"budget_duration": "1h"},
        {"organization_id": None},
        {"organization_id": AWAY["organization"]},
        {"blocked": False},
    ],
    ids=str,
)
async def test_a_teams_admin_cannot_give_it_more(gateway: Gateway, books: Books, raise_it: dict[str, object]) -> None:
    await furnish(books)
    await update(gateway, max_budget=5, rpm_limit=10, models=["oracle"], budget_duration="1d")
    await refused(
        gateway, "POST", "/team/update", {"team_id": TEAM} | raise_it, key=LEADER, status=403, word="auth_error"
    )


async def test_a_teams_admin_may_within_the_organization(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    limits = {"organization_id": HOME["organization"], "max_budget": 10, "models": ["oracle", "at/*"]}
    await does(gateway, "PATCH", "/organization/update", limits)
    await update(gateway, max_budget=5, models=["oracle"])
    assert (await update(gateway, key=LEADER, max_budget=8, models=["oracle", "at/x"]))["max_budget"] == 8
    body = {"team_id": TEAM, "max_budget": 11}
    for key in (LEADER, BOSS, MASTER_KEY):
        await refused(gateway, "POST", "/team/update", body, key=key, status=400, word="cannot exceed")
    assert (await update(gateway, key=LEADER, max_budget=1, team_alias="ours"))["team_alias"] == "ours"


async def test_an_organizations_admin_makes_teams_in_it_alone(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    made = await new_team(gateway, key=BOSS, organization_id=HOME["organization"], team_id="new")
    assert made["members_with_roles"] == [{"role": "admin", "user_id": "org-admin", "user_email": None}]
    bodies = [{"organization_id": organization} for organization in (None, AWAY["organization"], "none")]
    answers = [await gateway.request("POST", "/team/new", body, key=BOSS) for body in bodies]
    moves = [await gateway.request("POST", "/team/update", {"team_id": TEAM} | body, key=BOSS) for body in bodies]
    assert {(answer.status, answer.body) for answer in answers + moves} == {(403, answers[0].body)}
    body = {"team_id": "new", "organization_id": None}
    assert error_of(await gateway.request("POST", "/team/update", body, key=BOSS)) == (403, "auth_error")


async def test_who_may_not_see_a_team_does_not_learn_whether_it_is_there(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    for path in ("/team/info?team_id={}", "/team/permissions_list?team_id={}"):
        there, none = [await gateway.request("GET", path.format(team), key=MEMBER) for team in (AWAY["team"], "none")]
        assert (there.status, there.body) == (403, none.body)
    for path in ("/team/update", "/team/block"):
        there, none = [
            await gateway.request("POST", path, {"team_id": team}, key=BOSS) for team in (AWAY["team"], "none")
        ]
        assert (there.status, there.body) == (403, none.body)
