"""Nobody makes, or gets hold of, a key that may do more than the one he asks with."""

from typing import Any

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.matrix import AWAY, HOME, furnish, hash_of, key_of
from tests.management.test_key_endpoints import check_error
from tests.oracle.raw_client import Answer

TEAM, ORGANIZATION = HOME["team"], HOME["organization"]
CALLS = ["llm_api_routes"]


async def post(gateway: Gateway, path: str, body: object, *, key: str) -> Answer:
    return await gateway.request("POST", path, body, key=key)


async def generate(gateway: Gateway, body: object, *, of: str) -> Answer:
    """By the user `of`, with a key without limits."""
    return await post(gateway, "/key/generate", body, key=key_of(of))


@pytest.fixture(autouse=True)
async def world(books: Books) -> None:
    await furnish(books)


# --- a limited key ---

LIMITS: dict[str, Any] = {
    "models": ["oracle", "at/*"],
    "allowed_routes": ["/key/*", "llm_api_routes"],
    "max_budget": 5,
    "budget_duration": "30d",
    "tpm_limit": 1000,
    "rpm_limit": 10,
    "max_parallel_requests": 3,
    "duration": "7d",
}
BEYOND = [
    {"models": ["oracle", "other"]},
    {"models": ["*"]},
    {"models": ["all-proxy-models"]},
    {"allowed_routes": ["management_routes"]},
    {"allowed_routes": ["/key/generate", "/team/new"]},
    {"key_type": "management"},
    {"max_budget": 5.01},
    {"budget_duration": "1h"},
    {"tpm_limit": 1001},
    {"rpm_limit": 11},
    {"max_parallel_requests": 4},
    {"duration": "30d"},
    {"duration": "-1"},
]


@pytest.mark.parametrize("beyond", BEYOND, ids=str)
async def test_no_more_than_the_key_has(gateway: Gateway, beyond: dict[str, Any]) -> None:
    limited = await gateway.new_key(user_id="member", **LIMITS)
    field = {"duration": "expires", "key_type": "allowed_routes"}.get(next(iter(beyond)), next(iter(beyond)))
    if beyond != {"duration": "-1"}:  # which says nothing of a new key's end
        check_error(await post(gateway, "/key/generate", beyond, key=limited), 403, f"{field} goes beyond it")
    mine = (await post(gateway, "/key/generate", {}, key=limited)).json["key"]
    for key in (mine, limited):
        check_error(await post(gateway, "/key/update", {"key": key, **beyond}, key=limited), 403, "goes beyond it")
        check_error(await post(gateway, "/key/regenerate", {"key": key, **beyond}, key=limited), 403, "goes beyond it")


@pytest.mark.parametrize("name", ["max_budget", "tpm_limit", "rpm_limit", "max_parallel_requests"])
@pytest.mark.parametrize("by_budget", [False, True])
async def test_nothing_is_a_limit_as_well(gateway: Gateway, name: str, by_budget: bool) -> None:
    if by_budget:
        budget = {"budget_id": f"no-{name}", name: 0}
        assert (await gateway.request("POST", "/budget/new", budget)).status == 200
    limited = await gateway.new_key(user_id="member", **({"budget_id": f"no-{name}"} if by_budget else {name: 0}))
    silent: list[dict[str, Any]] = [{}, {name: None}]
    for said in silent:
        made = (await post(gateway, "/key/generate", said, key=limited)).json
        assert made[name] == 0
        assert (await gateway.chat(key=made["key"])).status in (422, 429)
    check_error(await post(gateway, "/key/generate", {name: 1}, key=limited), 403, f"{name} goes beyond it")


async def test_what_is_not_said_is_as_with_the_key_that_makes_it(gateway: Gateway) -> None:
    limited = await gateway.new_key(user_id="member", team_id=TEAM, **LIMITS)
    check_error(await post(gateway, "/key/generate", {}, key=limited), 403, "does not have permissions")
    limited = await gateway.new_key(user_id="member", **LIMITS)
    made = (await post(gateway, "/key/generate", {"max_budget": 1}, key=limited)).json
    kept = {name: value for name, value in LIMITS.items() if name != "duration"} | {
        "max_budget": 1,
        "user_id": "member",
    }
    assert {name: made[name] for name in kept} == kept
    assert made["expires"] is not None
    less = {"models": ["at/x"], "rpm_limit": 1, "allowed_routes": ["llm_api_routes"], "duration": "1d"}
    assert (await post(gateway, "/key/generate", less, key=limited)).status == 200


async def test_a_limited_key_learns_no_other_secret(gateway: Gateway) -> None:
    """Also not by replacing a key of the same user that may do more."""
    limited = await gateway.new_key(user_id="member", **LIMITS)
    free = await gateway.new_key(user_id="member")
    check_error(await post(gateway, "/key/regenerate", {"key": free}, key=limited), 403, "goes beyond it")
    itself = await post(gateway, "/key/regenerate", {}, key=limited)
    assert (itself.status, itself.json["models"]) == (200, LIMITS["models"])


async def test_a_key_of_a_team_makes_keys_of_that_team(gateway: Gateway) -> None:
    of_team = await gateway.new_key(user_id="team-admin", team_id=TEAM)
    made = (await post(gateway, "/key/generate", {}, key=of_team)).json
    assert (made["team_id"], made["user_id"]) == (TEAM, "team-admin")
    check_error(await post(gateway, "/key/generate", {"team_id": AWAY["team"]}, key=of_team), 403, "team_id")
    personal = await gateway.new_key(user_id="team-admin")
    check_error(await post(gateway, "/key/regenerate", {"key": personal}, key=of_team), 403, "team_id")


async def test_an_administrators_key_for_some_routes(gateway: Gateway) -> None:
    narrow = await gateway.new_key(user_id="admin", allowed_routes=["/key/generate"])
    made = await post(gateway, "/key/generate", {"user_id": "admin"}, key=narrow)
    assert made.json["allowed_routes"] == sorted(["llm_api_routes", "openai_routes"])
    check_error(await post(gateway, "/key/generate", {"key_type": "management"}, key=narrow), 403, "allowed_routes")


# --- for whom, and where ---

STRANGERS: list[tuple[str, dict[str, Any]]] = [
    ("member", {"user_id": "admin"}),
    ("member", {"user_id": "team-admin"}),
    ("member", {"team_id": AWAY["team"]}),
    ("member", {"team_id": "nobody's"}),
    ("member", {"team_id": TEAM}),
    ("member", {"organization_id": ORGANIZATION}),
    ("member", {"budget_id": HOME["budget"]}),
    ("member", {"spend": 1}),
    ("team-admin", {"user_id": "member"}),
    ("team-admin", {"user_id": "admin", "team_id": TEAM}),
    ("team-admin", {"user_id": "stranger", "team_id": TEAM}),
    ("team-admin", {"team_id": AWAY["team"]}),
    ("team-admin", {"team_id": TEAM, "organization_id": AWAY["organization"]}),
    ("org-admin", {"user_id": "stranger"}),
    ("org-admin", {"user_id": "admin", "organization_id": ORGANIZATION}),
    ("org-admin", {"organization_id": AWAY["organization"]}),
    ("org-admin", {"team_id": AWAY["team"]}),
]


@pytest.mark.parametrize(("of", "body"), STRANGERS, ids=str)
async def test_not_for_others_and_not_elsewhere(gateway: Gateway, books: Books, of: str, body: dict[str, Any]) -> None:
    before = await books.fetch('SELECT FROM "LiteLLM_VerificationToken"')
    check_error(await generate(gateway, body, of=of), 403, "")
    mine = f"sk-object-of-{of}-0001"
    if body not in ({"team_id": TEAM}, {"user_id": "member"}):  # which is no move, and one within the team
        assert (await post(gateway, "/key/update", {"key": mine, **body}, key=key_of(of))).status in (400, 403)
    assert len(await books.fetch('SELECT FROM "LiteLLM_VerificationToken"')) == len(before)


async def test_for_members_of_ones_team(gateway: Gateway) -> None:
    made = (await generate(gateway, {"user_id": "member", "team_id": TEAM}, of="team-admin")).json
    assert (made["user_id"], made["team_id"], made["allowed_routes"]) == ("member", TEAM, CALLS)
    service = await post(gateway, "/key/service-account/generate", {"team_id": TEAM}, key=key_of("team-admin"))
    assert (service.json["user_id"], service.json["team_id"]) == (None, TEAM)
    check_error(await post(gateway, "/key/service-account/generate", {}, key=key_of("team-admin")), 400, "team_id")
    both = {"team_id": TEAM, "user_id": "member"}
    check_error(await post(gateway, "/key/service-account/generate", both, key=key_of("team-admin")), 400, "user_id")


async def test_for_members_of_ones_organization(gateway: Gateway) -> None:
    made = (await generate(gateway, {"user_id": "member", "organization_id": ORGANIZATION}, of="org-admin")).json
    assert (made["user_id"], made["allowed_routes"]) == ("member", CALLS)


async def test_whoever_sees_anothers_secret_gets_no_rights_in_his_name(gateway: Gateway) -> None:
    theirs = "sk-object-of-member-0001"
    made = (await post(gateway, "/key/regenerate", {"key": theirs}, key=key_of("team-admin"))).json
    assert made["allowed_routes"] == CALLS
    check_error(await post(gateway, "/key/generate", {}, key=made["key"]), 403, "not allowed to call this route")
    update = {"key": made["key"], "allowed_routes": []}
    changed = await post(gateway, "/key/update", update, key=key_of("team-admin"))
    assert changed.json["allowed_routes"] == CALLS


async def test_what_members_may_by_permission_of_the_team(gateway: Gateway, books: Books) -> None:
    await books.fetch("""UPDATE "LiteLLM_TeamTable" SET team_member_permissions = '{/key/generate}'""")
    made = await generate(gateway, {"team_id": TEAM}, of="member")
    assert (made.json["user_id"], made.json["team_id"]) == ("member", TEAM)
    check_error(await generate(gateway, {"team_id": TEAM, "user_id": "looker"}, of="member"), 403, "not a member")
    check_error(await generate(gateway, {"team_id": AWAY["team"]}, of="member"), 403, "not a member")


THEIRS = "sk-object-of-looker-0001"
"""Another member's key of the same team."""
BY_PERMISSION: dict[str, tuple[str, str, object]] = {
    "/key/info": ("GET", f"/key/info?key={THEIRS}", None),
    "/v2/key/info": ("POST", "/v2/key/info", {"keys": [THEIRS]}),
    "/key/list": (
        "GET",
        f"/key/list?team_id={TEAM.replace('/', '%2F').replace('+', '%2B').replace('%1', '%251')}",
        None,
    ),
    "/key/update": ("POST", "/key/update", {"key": THEIRS, "key_alias": "renamed"}),
    "/key/bulk_update": ("POST", "/key/bulk_update", {"keys": [{"key": THEIRS, "key_alias": "renamed"}]}),
    "/key/block": ("POST", "/key/block", {"key": THEIRS}),
    "/key/unblock": ("POST", "/key/unblock", {"key": THEIRS}),
    "/key/{key}/reset_spend": ("POST", f"/key/{THEIRS}/reset_spend", {"reset_to": 0.0}),
    "/key/{key}/regenerate": ("POST", f"/key/{THEIRS}/regenerate", {}),
    "/key/regenerate": ("POST", "/key/regenerate", {"key": THEIRS}),
    "/key/delete": ("POST", "/key/delete", {"keys": [THEIRS]}),
    "/key/service-account/generate": ("POST", "/key/service-account/generate", {"team_id": TEAM}),
}


async def permit(books: Books, *paths: str) -> None:
    await books.fetch('UPDATE "LiteLLM_TeamTable" SET team_member_permissions = $1', list(paths))


@pytest.mark.parametrize("path", BY_PERMISSION)
async def test_a_team_lets_its_members_use_its_keys_as_it_says(gateway: Gateway, books: Books, path: str) -> None:
    """Without the permission neither the route nor, on routes that he may use for his own, another's key."""
    method, target, body = BY_PERMISSION[path]

    async def asked(of: str) -> tuple[bool, Answer]:
        answer = await gateway.request(method, target, body, key=key_of(of))
        found = hash_of(THEIRS) in answer.body.decode() if path == "/key/list" else True
        return answer.status == 200 and found, answer

    await permit(books, "/key/health")
    assert not (await asked("member"))[0]
    await permit(books, "/key/info" if path == "/v2/key/info" else path)
    assert not (await asked("stranger"))[0], "who is not in the team"
    assert not (await asked("unknown-role"))[0], "whom no role gives rights"
    allowed, answer = await asked("member")
    assert allowed, answer.body


async def test_what_members_may_by_default(gateway: Gateway, books: Books) -> None:
    """To look at the team's keys, as with LiteLLM."""
    assert (await gateway.request("GET", f"/key/info?key={THEIRS}", key=key_of("member"))).status == 200
    check_error(await post(gateway, "/key/delete", {"keys": [THEIRS]}, key=key_of("member")), 403, "not allowed")
    shown = await gateway.request("GET", "/team/permissions_list?team_id=away-team")
    assert shown.json["team_member_permissions"] == ["/key/health", "/key/info"]


async def test_a_permission_gives_members_no_more_than_their_own_keys_have(gateway: Gateway, books: Books) -> None:
    """To change a key is to give it less; whoever sees another's secret does not act in his name."""
    await permit(books, "/key/update", "/key/regenerate", "/key/{key_id}/regenerate", "/key/unblock")
    limited = await gateway.new_key(user_id="looker", team_id=TEAM, blocked=True, **LIMITS)
    for more in ({"max_budget": 6}, {"team_id": None}, {"user_id": "member"}, {"blocked": False}, {"spend": 1.0}):
        check_error(await post(gateway, "/key/update", {"key": limited, **more}, key=key_of("member")), 403, "")
    made = (await post(gateway, "/key/regenerate", {"key": THEIRS}, key=key_of("member"))).json
    assert made["allowed_routes"] == CALLS
    personal = await gateway.new_key(user_id="member", blocked=True)
    check_error(await post(gateway, "/key/unblock", {"key": personal}, key=key_of("member")), 403, "")
    check_error(await post(gateway, "/key/unblock", {"key": AWAY["key"]}, key=key_of("member")), 403, "not allowed")


# --- one's own ---


@pytest.mark.parametrize(
    "more",
    [
        *({"max_budget": 6}, {"max_budget": None}, {"tpm_limit": None}, {"rpm_limit": 11}, {"duration": "30d"}),
        *({"models": []}, {"allowed_routes": []}, {"budget_duration": "1d"}, {"spend": 0.0}, {"blocked": False}),
        *({"metadata": {"enforced_params": []}}, {"enforced_params": None}, {"model_rpm_limit": {"oracle": 100}}),
        *({"tag_rpm_limit": None}, {"tag_tpm_limit": {"t": 100}}, {"metadata": {"tag_tpm_limit": {}}}),
        *({"model_max_budget": {}}, {"user_id": None}, {"team_id": None}, {"soft_budget": 1}),
    ],
    ids=str,
)
async def test_nobody_widens_his_own(gateway: Gateway, books: Books, more: dict[str, Any]) -> None:
    key = await gateway.new_key(
        user_id="member",
        team_id=TEAM,
        blocked=True,
        enforced_params=["user"],
        model_rpm_limit={"oracle": 5},
        tag_rpm_limit={"t": 5},
        tag_tpm_limit={"t": 5},
        model_max_budget={"oracle": {"budget_limit": 1}},
        **LIMITS,
    )
    await books.fetch('UPDATE "LiteLLM_VerificationToken" SET spend = 1 WHERE token = $1', hash_of(key))
    check_error(await post(gateway, "/key/update", {"key": key, **more}, key=key_of("member")), 403, "")
    check_error(await post(gateway, "/key/regenerate", {"key": key, **more}, key=key_of("member")), 403, "")


async def test_everybody_narrows_his_own(gateway: Gateway) -> None:
    key = await gateway.new_key(user_id="member", **LIMITS)
    less = {"key": key, "max_budget": 1, "rpm_limit": 1, "models": ["oracle"], "duration": "1d", "key_alias": "less"}
    assert (await post(gateway, "/key/update", less, key=key_of("member"))).status == 200


# --- the configuration ---


async def test_defaults_and_upper_bounds(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        settings="""
        litellm_settings:
          default_key_generate_params: {max_budget: 2, models: [oracle], metadata: {from: config}}
          upperbound_key_generate_params: {max_budget: 10, rpm_limit: 60, duration: 30d, budget_duration: 30d}
        """
    )
    made = (await gateway.request("POST", "/key/generate", {})).json
    assert (made["max_budget"], made["models"], made["metadata"]) == (2, ["oracle"], {"from": "config"})
    assert (made["rpm_limit"], made["budget_duration"]) == (60, "30d")
    assert made["expires"] is not None
    for beyond in ({"max_budget": 11}, {"rpm_limit": 61}, {"duration": "31d"}, {"budget_duration": "2mo"}):
        check_error(await gateway.request("POST", "/key/generate", beyond), 400, "is over max limit set in config")
        update = {"key": made["key"], **beyond}
        check_error(await gateway.request("POST", "/key/update", update), 400, "is over max limit set in config")
    assert (await gateway.request("POST", "/key/generate", {"max_budget": 10, "duration": "1d"})).status == 200
    cleared = await gateway.request("POST", "/key/update", {"key": made["key"], "max_budget": None})
    assert cleared.json["max_budget"] == 10


async def test_who_makes_which_keys(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(
        settings="""
        litellm_settings:
          key_generation_settings:
            team_key_generation: {allowed_team_member_roles: [user], required_params: [tags]}
            personal_key_generation: {allowed_user_roles: [proxy_admin]}
        """
    )
    await furnish(books)
    check_error(await generate(gateway, {}, of="member"), 403, "Personal key creation has been restricted by admin")
    check_error(await generate(gateway, {"team_id": TEAM}, of="member"), 400, "Required param tags")
    assert (await generate(gateway, {"team_id": TEAM, "tags": ["a"]}, of="member")).status == 200
    check_error(await generate(gateway, {"team_id": TEAM}, of="team-admin"), 403, "allowed_team_member_roles")
    assert (await generate(gateway, {}, of="admin")).status == 200
    users = {"organizations": [ORGANIZATION], "user_id": "with-a-key"}
    refused = await post(gateway, "/user/new", users, key=key_of("org-admin"))
    check_error(refused, 403, "Personal key creation has been restricted by admin")
    assert not await books.fetch("SELECT FROM \"LiteLLM_UserTable\" WHERE user_id = 'with-a-key'")
    assert (await post(gateway, "/user/new", users | {"auto_create_key": False}, key=key_of("org-admin"))).status == 200
    assert (await post(gateway, "/user/new", {}, key=key_of("admin"))).status == 200


async def test_the_key_of_a_new_user_says_what_keys_have_to_say(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(
        settings=f"""
        litellm_settings:
          default_key_generate_params: {{team_id: {AWAY["team"]}}}
          key_generation_settings:
            personal_key_generation: {{required_params: [key_alias]}}
        """
    )
    await furnish(books)
    mine, theirs = {"organizations": [ORGANIZATION]}, key_of("org-admin")
    check_error(await post(gateway, "/user/new", mine, key=theirs), 403, f"is not a member of team={AWAY['team']}")
    gateway = await start_gateway(
        settings="""
        litellm_settings:
          key_generation_settings:
            personal_key_generation: {required_params: [key_alias]}
        """
    )
    check_error(await post(gateway, "/user/new", mine, key=theirs), 400, "Required param key_alias not in data")
    assert (await post(gateway, "/user/new", mine | {"key_alias": "first"}, key=theirs)).status == 200
