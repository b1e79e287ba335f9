"""Who is in a team."""

import pytest

from bursar.domain.errors import InvalidRequest
from bursar.domain.team_roster import Member, check_named, find_member, id_of, joined, roster_of

ROSTER: list[dict[str, object]] = [
    {"role": "admin", "user_id": "a", "user_email": "A@x.org"},
    {"role": "user", "user_id": "b", "user_email": None},
]


def test_teams_without_members() -> None:
    assert roster_of({"members_with_roles": {}}) == []
    assert roster_of({}) == []
    assert roster_of({"members_with_roles": [*ROSTER, "nonsense"]}) == ROSTER


def test_joining() -> None:
    assert joined(ROSTER, [Member(user_id="c", role="admin")], team_id="t")[2] == {
        "role": "admin",
        "user_id": "c",
        "user_email": None,
    }
    with pytest.raises(InvalidRequest) as told:
        joined(ROSTER, [Member(user_id="b")], team_id="t")
    assert told.value.type == "team_member_already_in_team"
    with pytest.raises(InvalidRequest):
        joined([], [Member(user_id="c"), Member(user_id="c")], team_id="t")


@pytest.mark.parametrize(
    "members",
    [
        [],
        [Member()],
        [Member(user_id="")],
        [Member(user_id="a"), Member(user_id="a", role="admin")],
        [Member(user_email="a@x.org"), Member(user_email="A@x.org")],
    ],
)
def test_nobody_and_somebody_twice(members: list[Member]) -> None:
    with pytest.raises(InvalidRequest):
        check_named(members)


def test_whoever_was_only_invited() -> None:
    assert id_of(ROSTER[1]) == "b"
    with pytest.raises(InvalidRequest):
        id_of({"role": "user", "user_id": None, "user_email": "x@x.org"})


def test_finding() -> None:
    assert find_member(ROSTER, user_id="b", user_email=None, team_id="t") is ROSTER[1]
    assert find_member(ROSTER, user_id=None, user_email="a@X.org", team_id="t") is ROSTER[0]
    for user_id, user_email in (("c", None), (None, "c@x.org"), (None, None), ("c", "a@x.org")):
        with pytest.raises(InvalidRequest):
            find_member(ROSTER, user_id=user_id, user_email=user_email, team_id="t")
