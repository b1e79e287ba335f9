"""Whose objects are whose."""

import pytest

from bursar.domain.authority import Reach, Standing
from bursar.domain.errors import Forbidden
from bursar.domain.ids import KeyHash
from bursar.domain.principals import Memberships, Principal, Role
from bursar.management import objects

BELONGS = Memberships(
    teams=frozenset({"mine", "led"}),
    administered_teams=frozenset({"led"}),
    organizations=frozenset({"member-org", "led-org"}),
    administered_organizations=frozenset({"led-org"}),
    teams_of_organizations=frozenset({"team-of-org"}),
)


def stands(reach: Reach) -> Standing:
    caller = Principal(role=Role.INTERNAL_USER, api_key=KeyHash("my-hash"), user_id="me")
    return Standing(caller=caller, reach=reach, memberships=BELONGS)


REACHES = tuple(Reach)


def reaching(least: Reach) -> list[bool]:
    """For each reach, whether it goes as far as `least`."""
    return [reach.covers(least) for reach in REACHES]


KEY = {"token": "h", "user_id": "x", "team_id": None, "organization_id": None}


@pytest.mark.parametrize(
    ("row", "least"),
    [
        ({"user_id": "me"}, Reach.OWN),
        ({"user_id": None}, Reach.ALL),
        ({"team_id": "mine"}, Reach.ALL),
        ({"team_id": "led"}, Reach.TEAM),
        ({"team_id": "led", "user_id": None}, Reach.TEAM),
        ({"team_id": "team-of-org"}, Reach.ORGANIZATION),
        ({"organization_id": "led-org"}, Reach.ORGANIZATION),
        ({"organization_id": "member-org"}, Reach.ALL),
        ({}, Reach.ALL),
    ],
)
def test_keys(row: dict[str, object], least: Reach) -> None:
    assert [objects.changes_key(stands(reach), KEY | row) for reach in REACHES] == reaching(least)
    assert [objects.sees_key(stands(reach), KEY | row) for reach in REACHES] == reaching(least)


def test_a_key_sees_itself_and_does_not_change_itself() -> None:
    keys = Principal(role=Role.KEY, api_key=KeyHash("h"))
    standing = Standing(caller=keys, reach=Reach.OWN)
    assert objects.sees_key(standing, KEY)
    assert not objects.changes_key(standing, KEY)
    assert not objects.changes_key(standing, KEY | {"user_id": None}), "nobody's is not everybody's"


@pytest.mark.parametrize(
    ("team", "organization", "seen", "changed"),
    [
        ("mine", None, Reach.OWN, Reach.ALL),
        ("led", None, Reach.OWN, Reach.TEAM),
        ("team-of-org", None, Reach.ORGANIZATION, Reach.ORGANIZATION),
        ("new", "led-org", Reach.ORGANIZATION, Reach.ORGANIZATION),
        ("other", "member-org", Reach.ALL, Reach.ALL),
    ],
)
def test_teams(team: str, organization: str | None, seen: Reach, changed: Reach) -> None:
    row = {"team_id": team, "organization_id": organization}
    assert [objects.sees_team(stands(reach), row) for reach in REACHES] == reaching(seen)
    assert [objects.changes_team(stands(reach), row) for reach in REACHES] == reaching(changed)


def test_a_key_without_a_user_sees_its_team() -> None:
    key = Principal(role=Role.KEY, api_key=KeyHash("h"), team_id="t")
    standing = Standing(caller=key, reach=Reach.OWN)
    assert objects.sees_team(standing, {"team_id": "t"})
    assert not objects.changes_team(standing, {"team_id": "t"})
    assert not objects.sees_team(standing, {"team_id": "u"})


def test_users() -> None:
    def seen(user: str, *, teams: tuple[str, ...] = (), organizations: tuple[str, ...] = ()) -> list[bool]:
        return [objects.sees_user(stands(reach), user, teams=teams, organizations=organizations) for reach in REACHES]

    def changed(user: str, *organizations: str) -> list[bool]:
        return [objects.changes_user(stands(reach), user, organizations=organizations) for reach in REACHES]

    assert seen("me") == changed("me") == reaching(Reach.OWN)
    assert seen("x", teams=("other", "led")) == reaching(Reach.TEAM)
    assert seen("x", teams=("mine",)) == changed("x") == changed("x", "member-org") == reaching(Reach.ALL)
    assert seen("x", organizations=("led-org",)) == changed("x", "led-org") == reaching(Reach.ORGANIZATION)


def test_organizations() -> None:
    for organization, seen, changed in (
        ("member-org", Reach.OWN, Reach.ALL),
        ("led-org", Reach.OWN, Reach.ORGANIZATION),
        ("other", Reach.ALL, Reach.ALL),
    ):
        assert [objects.sees_organization(stands(reach), organization) for reach in REACHES] == reaching(seen)
        assert [objects.changes_organization(stands(reach), organization) for reach in REACHES] == reaching(changed)


def test_beyond_reach() -> None:
    objects.require(True, "never said")
    with pytest.raises(Forbidden, match="not yours"):
        objects.require(False, "not yours")
