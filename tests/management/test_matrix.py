"""The permission matrix, generated from the table: every registered route, every role, own and foreign objects."""

import pytest

from bursar.domain.authority import PERMISSIONS, Reach, permission
from bursar.domain.principals import Role
from bursar.management.route import Route
from tests.gateway.running import Books, Gateway
from tests.management.contract import CONTRACT
from tests.management.matrix import AWAY, CALLERS, EXAMPLES, furnish, objects_of, registered_routes, send
from tests.management.test_key_endpoints import check_error

ROUTES = registered_routes()


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def reach_of(route: Route, caller: str) -> Reach:
    row = permission(route.method, route.path)
    assert row is not None
    if row.master_only and caller != "master":
        return Reach.NONE
    roles = {CALLERS[caller]}
    if CALLERS[caller] in (Role.ORG_ADMIN, Role.TEAM_ADMIN):
        roles.add(Role.INTERNAL_USER)
    return Reach.ALL if row.public else row.reach_of(roles)


def test_every_route_has_an_example() -> None:
    """Add one to `EXAMPLES`, and the matrix covers it."""
    assert set(EXAMPLES) == {name_of(route) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_who_may(gateway: Gateway, books: Books, route: Route) -> None:
    """Refused with 403 without reach; within reach it works, and shows nothing of others; beyond it, it is refused."""
    example = EXAMPLES[name_of(route)]
    await furnish(books)
    for caller in CALLERS:
        reach = reach_of(route, caller)
        cases = [(False, objects_of(caller)), *([(True, AWAY)] if example.about else [])]
        for foreign, objects in cases:
            answer = await send(gateway, route, example, caller=caller, objects=objects)
            if answer.status == 200 and route.method != "GET":
                await furnish(books)
            told = f"{caller}, {'foreign' if foreign else 'own'}: {answer.status} {answer.body!r}"
            if reach is Reach.NONE:
                assert answer.status == 403, told
                assert "not allowed" in str(answer.json) or "Only proxy admin" in str(answer.json), told
            elif (foreign or caller in example.strangers) and reach is not Reach.ALL:
                assert answer.status in (403, 404) or AWAY["hash"] not in answer.body.decode(), told
                assert answer.status != 200 or route.method == "GET", told
            else:
                assert answer.status == example.status, told
                if reach is not Reach.ALL:
                    assert not [name for name in AWAY.values() if name in answer.body.decode()], told


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_nobody_may_without_a_key(gateway: Gateway, route: Route) -> None:
    row = permission(route.method, route.path)
    assert row is not None
    path = route.path.replace("{", "").replace("}", "")
    for key in (None, "sk-unknown-0000000001", "no-key"):
        answer = await gateway.request(route.method, path, key=key)
        assert (answer.status == 401) is not row.public, answer.body


def test_the_table_and_the_routes_are_equal() -> None:
    """Rights to what does not exist would be read as a promise."""
    assert {(row.method, row.path) for row in PERMISSIONS} == {(route.method, route.path) for route in ROUTES}


async def test_what_the_contract_names_and_is_not_built_says_so(gateway: Gateway) -> None:
    built = {(route.method, path) for route in ROUTES for path in (route.path, *route.aliases)}
    for method, path in sorted(CONTRACT - built):
        answer = await gateway.request(method, path.replace("{", "").replace("}", ""))
        assert answer.status == 501, f"{method} {path}: {answer.body!r}"
        check_error(answer, 501, "is part of the contract and not in this release yet")


def test_the_table_is_sound() -> None:
    """No route twice; nobody reaches further than an administrator, nor a viewer further than a user in changing."""
    routes = [(row.method, row.path) for row in PERMISSIONS]
    assert len(set(routes)) == len(routes) > 100
    for row in PERMISSIONS:
        if row.public:
            continue
        assert row.rights[Role.PROXY_ADMIN] is Reach.ALL, row.path
        assert row.rights[Role.PROXY_ADMIN_VIEWER] in (Reach.NONE, Reach.ALL), row.path
        assert Reach.ALL not in [row.rights[role] for role in list(row.rights)[2:]], row.path
        assert row.reading or row.method != "GET" or row.path == "/health/services", f"{row.path}: a GET looks"
        if not row.reading:
            assert row.rights[Role.INTERNAL_USER_VIEWER] is Reach.NONE, row.path
            assert row.rights[Role.KEY] is Reach.NONE, row.path
        assert row.rights[Role.TEAM_ADMIN].covers(row.rights[Role.INTERNAL_USER]), row.path
        assert row.rights[Role.INTERNAL_USER].covers(row.rights[Role.INTERNAL_USER_VIEWER]), row.path
