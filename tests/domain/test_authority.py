"""Roles, and how far they reach."""

import pytest

from bursar.domain.authority import Permission, Reach, may_any, permission, standing
from bursar.domain.errors import Forbidden
from bursar.domain.ids import KeyHash
from bursar.domain.permissions import check_route, route_groups
from bursar.domain.principals import MASTER_KEY_NAME, Memberships, Principal, Role, role_of


@pytest.mark.parametrize(
    ("user_id", "user_role", "role"),
    [
        (None, None, Role.KEY),
        (None, "proxy_admin", Role.KEY),
        ("u", None, Role.INTERNAL_USER),
        ("u", "proxy_admin", Role.PROXY_ADMIN),
        ("u", "proxy_admin_viewer", Role.PROXY_ADMIN_VIEWER),
        ("u", "internal_user_viewer", Role.INTERNAL_USER_VIEWER),
        ("u", "customer", Role.CUSTOMER),
        ("u", "org_admin", Role.INTERNAL_USER),
        ("u", "team_admin", Role.INTERNAL_USER),
        ("u", "key", Role.KEY),
        ("u", "nobody", Role.KEY),
        ("u", "PROXY_ADMIN", Role.KEY),
        ("u", "", Role.KEY),
    ],
)
def test_roles(user_id: str | None, user_role: str | None, role: Role) -> None:
    assert role_of(user_id, user_role) is role


def test_reaches_hold_each_other() -> None:
    order = [Reach.NONE, Reach.OWN, Reach.TEAM, Reach.ORGANIZATION, Reach.ALL]
    for low, reach in enumerate(order):
        assert [reach.covers(other) for other in order] == [index <= low for index in range(len(order))]


def row(method: str, path: str) -> Permission:
    found = permission(method, path)
    assert found is not None
    return found


def caller(role: Role) -> Principal:
    return Principal(role=role, api_key=KeyHash("k"), user_id="u")


TEAM = Memberships(teams=frozenset("t"), administered_teams=frozenset("t"))
ORGANIZATION = Memberships(administered_organizations=frozenset("o"))


@pytest.mark.parametrize(
    ("role", "memberships", "reach"),
    [
        (Role.PROXY_ADMIN, Memberships(), Reach.ALL),
        (Role.PROXY_ADMIN_VIEWER, Memberships(), Reach.NONE),
        (Role.PROXY_ADMIN_VIEWER, ORGANIZATION, Reach.NONE),
        (Role.INTERNAL_USER, Memberships(), Reach.NONE),
        (Role.INTERNAL_USER, TEAM, Reach.TEAM),
        (Role.INTERNAL_USER, ORGANIZATION, Reach.ORGANIZATION),
        (Role.INTERNAL_USER_VIEWER, TEAM, Reach.NONE),
        (Role.CUSTOMER, TEAM, Reach.NONE),
        (Role.NOBODY, Memberships(), Reach.NONE),
    ],
)
def test_memberships_add_to_a_users_role(role: Role, memberships: Memberships, reach: Reach) -> None:
    assert standing(row("POST", "/team/update"), caller(role), memberships).reach is reach
    assert reach is Reach.NONE or may_any(row("POST", "/team/update"), caller(role))


def test_some_routes_want_the_master_key() -> None:
    reset = row("POST", "/global/spend/reset")
    assert standing(reset, caller(Role.PROXY_ADMIN), Memberships()).reach is Reach.NONE
    master = Principal(role=Role.PROXY_ADMIN, api_key=MASTER_KEY_NAME)
    assert standing(reset, master, Memberships()).reach is Reach.ALL


def test_parameters_may_be_called_otherwise() -> None:
    assert permission("PATCH", "/model/{id}/update") is row("PATCH", "/model/{model_id}/update")
    assert permission("PATCH", "/model/update") is None
    assert permission("GET", "/nowhere") is None


@pytest.mark.parametrize(
    ("group", "path", "reading", "may"),
    [
        ("info_routes", "/key/info", True, True),
        ("info_routes", "/key/update", False, False),
        ("management_routes", "/key/update", False, True),
        ("spend_tracking_routes", "/spend/logs", True, True),
        ("spend_tracking_routes", "/global/spend", True, False),
        ("global_spend_tracking_routes", "/global/spend", True, True),
        ("llm_api_routes", "/key/info", True, False),
    ],
)
def test_groups_of_routes(group: str, path: str, reading: bool, may: bool) -> None:
    principal = Principal(role=Role.KEY, api_key=KeyHash("k"), allowed_routes=(group,))
    groups = route_groups(path, reading=reading)
    if may:
        check_route(principal, path, groups)
    else:
        with pytest.raises(Forbidden):
            check_route(principal, path, groups)
