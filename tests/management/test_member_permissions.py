"""What a team lets its members do with its keys: every route of keys × every permission × whose key."""

from collections.abc import Mapping

import pytest

from bursar.domain.authority import DEFAULT_MEMBER_PERMISSIONS, MEMBER_PERMISSIONS
from bursar.management.route import Route
from tests.gateway.running import Books, Gateway
from tests.management.matrix import AWAY, EXAMPLES, HOME, Example, furnish, hash_of, registered_routes, send
from tests.management.test_matrix import name_of
from tests.oracle.raw_client import Answer

NOBODYS = "sk-object-of-nobody-0001"
WHOSE = {
    "own": "sk-object-of-member-0001",
    "mate's": "sk-object-of-looker-0001",
    "admin's": "sk-object-of-team-admin-0001",
    "nobody's": NOBODYS,
    "foreign": AWAY["key"],
}
IN_TEAM = ("mate's", "admin's", "nobody's")
SAME = {
    "/v2/key/info": "/key/info",
    "/key/aliases": "/key/list",
    "/key/bulk_update": "/key/update",
    "/key/{key}/regenerate": "/key/regenerate",
}
"""Routes that another one's permission is for as well."""
NOT_ONES_OWN = ("/key/block", "/key/unblock", "/key/{key}/reset_spend")
"""What one may not do even with his own key, unless its team lets him."""
LISTS = ("/key/list", "/key/aliases")
CHANGED = {
    "POST /key/generate": Example({"team_id": "$team"}),
    "GET /key/list": Example(query="team_id=$team&key_hash=$hash"),
    "GET /key/aliases": Example(query="search=$alias"),
}
"""Requests in place of the matrix's, whose keys are in no team."""
OUTSIDERS = ("looker", "reader-admin", "unknown-role", "key", "caller", "stranger")
"""Who may only look, even in the team that he administers, has no role, or is not in the team."""
ROUTES = [route for route in registered_routes() if route.path in {*MEMBER_PERMISSIONS, *SAME} - {"/key/health"}]


def permitted(route: Route, permissions: list[str]) -> bool:
    given = permissions or list(DEFAULT_MEMBER_PERMISSIONS)
    return route.path in given or SAME.get(route.path) in given


def settings_for(route: Route) -> dict[str, list[str]]:
    """Permissions of the team: none named, just this one, all others, all."""
    these = {route.path, SAME.get(route.path, route.path)}
    return {
        "none": [],
        "just this": [SAME.get(route.path, route.path)],
        "itself": [route.path],
        "all others": [path for path in MEMBER_PERMISSIONS if path not in these],
        "all": list(MEMBER_PERMISSIONS),
    }


async def furnish_team(books: Books, permissions: list[str]) -> None:
    """Keys of the home team with an alias each, and its permissions; the foreign team permits all."""
    await furnish(books)
    await books.fetch(
        """INSERT INTO "LiteLLM_VerificationToken" (token, key_name, team_id) VALUES ($1, 'sk-...0001', $2)""",
        hash_of(NOBODYS),
        HOME["team"],
    )
    await books.fetch("""UPDATE "LiteLLM_VerificationToken" SET key_alias = 'alias-' || left(token, 16)""")
    for team, given in ((HOME["team"], permissions), (AWAY["team"], list(MEMBER_PERMISSIONS))):
        await books.fetch('UPDATE "LiteLLM_TeamTable" SET team_member_permissions = $2 WHERE team_id = $1', team, given)


def objects(whose: str) -> Mapping[str, str]:
    key = WHOSE[whose]
    place = AWAY if whose == "foreign" else HOME
    return {**place, "user": "member", "key": key, "hash": hash_of(key), "alias": f"alias-{hash_of(key)[:16]}"}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_what_members_may(gateway: Gateway, books: Books, route: Route) -> None:
    """With the team's keys what the team says, with their own what users may, with foreign ones nothing."""
    example = CHANGED.get(name_of(route), EXAMPLES[name_of(route)])
    making = route.path in ("/key/generate", "/key/service-account/generate")
    for setting, permissions in settings_for(route).items():
        for whose in ("mate's", "foreign") if making else WHOSE:
            await furnish_team(books, permissions)
            if whose in IN_TEAM:
                may = permitted(route, permissions)
            else:
                may = whose == "own" and (route.path not in NOT_ONES_OWN or permitted(route, permissions))
            answer = await send(gateway, route, example, caller="member", objects=objects(whose))
            told = f"{setting}, {whose}: {answer.status} {answer.body!r}"
            assert did(route, answer, objects(whose)) is may, told
            assert answer.status in (200, 403, 404), told
    for caller in OUTSIDERS:
        answer = await send(gateway, route, example, caller=caller, objects=objects("nobody's"))
        assert not did(route, answer, objects("nobody's")), f"{caller}: {answer.body!r}"
        assert answer.status in (200, 403, 404), f"{caller}: {answer.body!r}"


def did(route: Route, answer: Answer, of: Mapping[str, str]) -> bool:
    """Whether it did what was asked; a list: whether it shows the key."""
    if route.path in LISTS:
        return of["alias" if route.path == "/key/aliases" else "hash"] in answer.body.decode()
    return answer.status == 200


def test_no_permission_is_left_out() -> None:
    """`/key/health` is about the caller's own key alone."""
    assert {route.path for route in ROUTES} == {*MEMBER_PERMISSIONS, "/v2/key/info"} - {"/key/health"}
