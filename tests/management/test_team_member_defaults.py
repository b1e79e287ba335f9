"""A team's limits for its members bind each who has none of his own, however he came into the team."""

from typing import Any

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.admin import does, refused, soon

TEAM = {"team_id": "t", "team_member_budget": 3, "team_member_rpm_limit": 1}


async def budgets(gateway: Gateway) -> dict[str, tuple[Any, Any]]:
    """By member of the team: what he may spend, and how many calls a minute."""
    found = (await does(gateway, "GET", "/team/info?team_id=t"))["team_memberships"]
    shown = {one["user_id"]: one["litellm_budget_table"] or {} for one in found}
    return {user: (budget.get("max_budget"), budget.get("rpm_limit")) for user, budget in shown.items()}


async def test_a_new_user_of_the_team(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", TEAM)
    await does(gateway, "POST", "/user/new", {"user_id": "u", "teams": ["t"]})
    assert await budgets(gateway) == {"u": (3, 1)}
    key = await gateway.new_key(team_id="t", user_id="u")
    assert (await gateway.chat(key=key)).status == 200
    assert (await gateway.chat(key=key)).status == 429
    await does(gateway, "POST", "/team/update", {"team_id": "t", "team_member_budget": 2, "team_member_rpm_limit": 50})
    assert await budgets(gateway) == {"u": (2, 50)}


async def test_a_new_user_with_limits_and_a_role_of_his_own(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", TEAM)
    place = {"team_id": "t", "max_budget_in_team": 1e-9, "user_role": "admin"}
    answer = await gateway.request("POST", "/user/new", {"user_id": "u", "user_email": "u@x.org", "teams": [place]})
    assert (answer.status, answer.headers.get("x-bursar-ignored-fields")) == (200, None)
    assert await budgets(gateway) == {"u": (1e-9, None)}
    team = (await does(gateway, "GET", "/team/info?team_id=t"))["team_info"]
    assert team["members_with_roles"] == [{"role": "admin", "user_id": "u", "user_email": "u@x.org"}]
    answer = await gateway.chat(key=await gateway.new_key(team_id="t", user_id="u"))
    assert (answer.status, "User=u in Team=t" in answer.body.decode()) == (422, True)
    changes = await does(gateway, "GET", "/audit?table_name=LiteLLM_TeamTable&object_id=t")
    assert changes["total"] == 2, "made, and joined"


async def test_what_cannot_be(gateway: Gateway, books: Books) -> None:
    await does(gateway, "POST", "/team/new", TEAM)
    for place, status, word in (
        ({"team_id": "t", "max_budget_in_team": -1}, 400, "negative"),
        ({"team_id": "t", "user_role": "owner"}, 422, "user_role"),
        ({"team_id": "t", "max_budget_in_team": "much"}, 422, "max_budget_in_team"),
    ):
        await refused(gateway, "POST", "/user/new", {"user_id": "u", "teams": [place]}, status=status, word=word)
    twice = ["t", {"team_id": "t", "max_budget_in_team": 1}]
    await refused(gateway, "POST", "/user/new", {"user_id": "u", "teams": twice}, status=400, word="named twice")
    assert not await books.fetch("SELECT FROM \"LiteLLM_UserTable\" WHERE user_id = 'u'")
    await does(gateway, "POST", "/user/new", {"user_id": "u", "teams": ["t", {"team_id": "t"}]})
    assert await budgets(gateway) == {"u": (3, 1)}


async def test_the_teams_that_new_users_are_in(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        settings="""
        litellm_settings:
          default_internal_user_params: {teams: [{team_id: t, max_budget_in_team: 2, user_role: user}]}
        """
    )
    await does(gateway, "POST", "/team/new", TEAM)
    await does(gateway, "POST", "/user/new", {"user_id": "u"})
    await does(gateway, "POST", "/user/new", {"user_id": "v", "teams": ["t"]})
    assert await budgets(gateway) == {"u": (2, None), "v": (3, 1)}


async def litellms_team(books: Books) -> None:
    """As LiteLLM leaves it: `shares` is on the team's budget for its members, `own` on another, `new` has not spent."""
    await books.fetch(
        'INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, rpm_limit, created_by, updated_by) '
        "VALUES ('of-members', 10, 1, 'a', 'a'), ('another', 7, NULL, 'a', 'a')"
    )
    await books.fetch(
        'INSERT INTO "LiteLLM_TeamTable" (team_id, models, metadata, members_with_roles) '
        "VALUES ('t', '{}', '{\"team_member_budget_id\": \"of-members\"}', (SELECT jsonb_agg(jsonb_build_object("
        "'role', 'user', 'user_id', u)) FROM unnest(ARRAY['shares', 'own', 'new']) AS u))"
    )
    await books.fetch(
        'INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id) '
        "VALUES ('shares', 't', 'of-members'), ('own', 't', 'another')"
    )


async def test_a_member_of_litellms_who_has_no_membership_yet(gateway: Gateway, books: Books) -> None:
    await litellms_team(books)
    key = await gateway.new_key(team_id="t", user_id="new")
    assert (await gateway.chat(key=key)).status == 200
    assert (await gateway.chat(key=key)).status == 429
    await does(gateway, "POST", "/budget/update", {"budget_id": "of-members", "rpm_limit": 50})
    await soon(lambda: gateway.chat(key=key), 200)
    stranger = await gateway.new_key(team_id="t", user_id="stranger")
    await does(gateway, "POST", "/budget/update", {"budget_id": "of-members", "max_budget": 0})
    await soon(lambda: gateway.chat(key=key), 422)
    assert (await gateway.chat(key=stranger)).status == 200, "who is no member has no limit as one"
    changed = await does(
        gateway, "POST", "/team/member_update", {"team_id": "t", "user_id": "new", "max_budget_in_team": 4}
    )
    assert (changed["max_budget_in_team"], changed["rpm_limit"]) == (4, 50), "a copy of what he had"


async def test_a_changed_default_reaches_all_members_who_are_on_it(gateway: Gateway, books: Books) -> None:
    await litellms_team(books)
    before = await books.fetch('SELECT b::text FROM "LiteLLM_BudgetTable" AS b ORDER BY budget_id')
    key = await gateway.new_key(team_id="t", user_id="shares")
    assert (await gateway.chat(key=key)).status == 200
    lowered = {"team_id": "t", "team_member_budget": 1e-9, "team_member_rpm_limit": 50}
    await does(gateway, "POST", "/team/update", lowered)
    assert await budgets(gateway) == {"shares": (1e-9, 50), "new": (1e-9, 50), "own": (7, None)}
    await soon(lambda: gateway.chat(key=key), 422, "User=shares in Team=t")
    after = await books.fetch(
        "SELECT b::text FROM \"LiteLLM_BudgetTable\" AS b WHERE NOT starts_with(budget_id, 'team-members-') "
        "ORDER BY budget_id"
    )
    assert after == before, "LiteLLM's rows stay as they are"
