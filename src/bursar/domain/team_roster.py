"""Who is in a team: `members_with_roles`, a list of `{"role", "user_id", "user_email"}`. It is what counts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from bursar.domain.errors import InvalidRequest

Row = Mapping[str, object]
Roster = list[dict[str, object]]

MemberRole = Literal["admin", "user"]
ADMIN: MemberRole = "admin"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is to be in a team, by id or by e-mail address."""

    role: MemberRole = "user"
    user_id: str | None = None
    user_email: str | None = None


class TeamPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The place in a team that somebody is to have."""

    team_id: str
    role: MemberRole = "user"
    terms: Mapping[str, object] = {}
    """Limits of his own there, by column of a budget; none: the team's for its members."""


def roster_of(team: Row) -> Roster:
    """Of a row of `LiteLLM_TeamTable`; a team that never had members has `{}` there."""
    found = team.get("members_with_roles")
    return [dict(entry) for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def check_named(members: Sequence[Member]) -> None:
    """Raises InvalidRequest: nobody is named, or somebody twice."""
    if not members:
        raise InvalidRequest("Name at least one member.", param="member")
    ids = [member.user_id for member in members if member.user_id]
    addresses = [member.user_email.lower() for member in members if member.user_email]
    if any(not member.user_id and not member.user_email for member in members):
        raise InvalidRequest("Each member needs a user_id or a user_email.", param="member")
    if len(set(ids)) < len(ids) or len(set(addresses)) < len(addresses):
        raise InvalidRequest("A member is named twice.", param="member")


def joined(roster: Roster, members: Iterable[Member], *, team_id: str) -> Roster:
    """With `members`, whose ids are known. Raises InvalidRequest: one is in it already."""
    ids = {entry.get("user_id") for entry in roster}
    added: Roster = []
    for member in members:
        if member.user_id in ids:
            raise InvalidRequest(
                f"User {member.user_id!r} is already in team {team_id!r}.",
                kind="team_member_already_in_team",
                param="user_id",
            )
        ids.add(member.user_id)
        added.append({"role": member.role, "user_id": member.user_id, "user_email": member.user_email})
    return [*roster, *added]


def id_of(entry: Row) -> str:
    """Of a member. Raises InvalidRequest: LiteLLM's tables may have one who was only invited, by e-mail address."""
    user_id = entry.get("user_id")
    if not isinstance(user_id, str):
        raise InvalidRequest("This member has no user yet, so nothing can be kept for him.", param="user_email")
    return user_id


def find_member(roster: Roster, *, user_id: str | None, user_email: str | None, team_id: str) -> dict[str, object]:
    """The entry of a member. Raises InvalidRequest: there is none."""
    if not user_id and not user_email:
        raise InvalidRequest("Name the member by user_id or user_email.", param="user_id")
    for entry in roster:
        if user_id:
            if entry.get("user_id") == user_id:
                return entry
        elif user_email and str(entry.get("user_email") or "").lower() == user_email.lower():
            return entry
    raise InvalidRequest(f"User {user_id or user_email!r} is not in team {team_id!r}.", param="user_id")
