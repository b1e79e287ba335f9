"""Members of teams: adding, changing and removing them, and what each may spend in the team."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bursar.domain.errors import InvalidRequest, NotFound, Refusal, StoreConflict, StoreRefused
from bursar.domain.masking import masked
from bursar.domain.team_roster import Member, check_named
from bursar.management.fields import Count, JsonObject, Name, given
from bursar.management.objects import require
from bursar.management.route import Asked, Route
from bursar.management.stores import Row, TeamMembers, Teams
from bursar.management.team_rights import changing, seeing
from bursar.management.teams import TEAM, MemberFields, shown

_AT_ONCE = 500
_EVERYBODY = 10_000
_OF_USER = ("user_id", "user_email", "user_alias", "user_role")
"""What is shown of users who are added."""
_TERMS = {
    "max_budget_in_team": "max_budget",
    "budget_duration": "budget_duration",
    "tpm_limit": "tpm_limit",
    "rpm_limit": "rpm_limit",
    "allowed_models": "allowed_models",
    "temp_budget_increase": "temp_budget_increase",
    "temp_budget_expiry": "temp_budget_expiry",
}

_ADDED: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_TeamTable`, with `updated_users` and `updated_team_memberships`.",
    "properties": {
        "team_id": {"type": "string"},
        "members_with_roles": {"type": "array", "items": {"type": "object"}},
        "updated_users": {"type": "array", "items": {"type": "object"}},
        "updated_team_memberships": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["team_id", "members_with_roles", "updated_users", "updated_team_memberships"],
}
_MEMBERSHIP: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_TeamMembership`, with its budget.",
    "properties": {
        "user_id": {"type": "string"},
        "team_id": {"type": "string"},
        "spend": {"type": "number"},
        "litellm_budget_table": {"type": ["object", "null"]},
    },
    "required": ["user_id", "team_id", "spend", "litellm_budget_table"],
}


class MemberTerms(msgspec.Struct, kw_only=True):
    """What a member may spend and call in the team. Money in US dollars."""

    max_budget_in_team: float | UnsetType | None = UNSET
    budget_duration: str | UnsetType | None = UNSET
    tpm_limit: Count | UnsetType | None = UNSET
    rpm_limit: Count | UnsetType | None = UNSET
    allowed_models: list[str] | UnsetType | None = UNSET
    temp_budget_increase: float | UnsetType | None = UNSET
    """Added to `max_budget_in_team` until `temp_budget_expiry`."""
    temp_budget_expiry: datetime | UnsetType | None = UNSET

    @property
    def terms(self) -> JsonObject:
        """By column of the budget."""
        return {_TERMS[name]: value for name, value in given(self, _TERMS).items()}


class AddMembers(MemberTerms, kw_only=True):
    """The body of `/team/member_add`."""

    team_id: Name
    member: MemberFields | list[MemberFields]
    updated_at: datetime | None = None
    """Of the team that this is based on; another one is refused."""


class AddManyMembers(MemberTerms, kw_only=True):
    """The body of `/team/bulk_member_add`."""

    team_id: Name
    members: list[MemberFields] | None = None
    all_users: bool = False
    """Everybody who is not in the team yet."""
    updated_at: datetime | None = None
    """Of the team that this is based on; another one is refused."""


class NamedMember(msgspec.Struct, kw_only=True):
    """The body of `/team/member_delete`."""

    team_id: Name
    user_id: Name | None = None
    user_email: Name | None = None
    updated_at: datetime | None = None
    """Of the team that this is based on; another one is refused."""


class UpdateMember(MemberTerms, kw_only=True):
    """The body of `/team/member_update`: absent fields stay as they are, null clears."""

    team_id: Name
    user_id: Name | None = None
    user_email: Name | None = None
    role: Literal["admin", "user"] | None = None
    updated_at: datetime | None = None
    """Of the team that the update is based on; another one is refused. Any change of a member gives it another one."""


class ResetSpend(msgspec.Struct, kw_only=True):
    """The body of a reset."""

    reset_to: Annotated[float, Meta(ge=0)] = 0.0
    updated_at: datetime | None = None
    """Of the team that this is based on; another one is refused."""


class UpdatedMember(msgspec.Struct, kw_only=True):
    """The answer of `/team/member_update`."""

    team_id: str
    user_id: str
    user_email: str | None
    role: str
    max_budget_in_team: float | None
    budget_duration: str | None
    tpm_limit: int | None
    rpm_limit: int | None
    allowed_models: list[str]
    updated_at: datetime
    """Of the team."""


class AddedMember(msgspec.Struct, kw_only=True):
    """How it went for one of many."""

    user_id: str | None
    user_email: str | None
    success: bool
    error: str | None = None
    updated_user: JsonObject | None = None
    updated_team_membership: JsonObject | None = None


class AddedMembers(msgspec.Struct, kw_only=True):
    """The answer of `/team/bulk_member_add`."""

    team_id: str
    results: list[AddedMember]
    total_requested: int
    successful_additions: int
    failed_additions: int


class TeamMemberEndpoints:
    """Who is in a team."""

    def __init__(self, teams: Teams, members: TeamMembers) -> None:
        self._teams = teams
        self._members = members

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/team/member_add",
                tag="teams",
                summary="Add members to a team",
                endpoint=self.add,
                body=AddMembers,
                answer=_ADDED,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/team/bulk_member_add",
                tag="teams",
                summary="Add many members to a team",
                endpoint=self.add_many,
                body=AddManyMembers,
                answer=AddedMembers,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/team/member_delete",
                tag="teams",
                summary="Remove a member from a team",
                endpoint=self.remove,
                body=NamedMember,
                answer=TEAM,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/team/member_update",
                tag="teams",
                summary="Change a member's role or limits",
                endpoint=self.update,
                body=UpdateMember,
                answer=UpdatedMember,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/team/{team_id}/member/{user_id}/reset_spend",
                tag="teams",
                summary="Set back what a member has spent in the current period",
                endpoint=self.reset_spend,
                body=ResetSpend,
                answer=_MEMBERSHIP,
                errors=(404, 409),
            ),
        )

    async def add(self, asked: Asked[AddMembers, None]) -> object:
        """All of them, or none. Users who do not exist are made. Each gets limits of his own, if any are stated. Of
        users whom the caller may not see, the answer and the team say what the caller said, and nothing else."""
        body = asked.body
        fields = body.member if isinstance(body.member, list) else [body.member]
        team, users, memberships = await self._add(
            asked, body.team_id, [field.member for field in fields], body.terms, expected=body.updated_at
        )
        return {
            **shown(team),
            "updated_users": [_user(user) for user in users],
            "updated_team_memberships": memberships,
        }

    async def _add(
        self,
        asked: Asked[MemberTerms, None],
        team_id: str,
        members: Sequence[Member],
        terms: Mapping[str, object],
        *,
        expected: datetime | None = None,
    ) -> tuple[Row, list[Row], list[Row]]:
        check_named(members)
        may = changing(asked.standing, team_id)
        return await self._members.add(
            team_id, members, terms, check=may, expected=expected, actor=asked.actor, sees=seeing(asked.standing)
        )

    async def add_many(self, asked: Asked[AddManyMembers, None]) -> object:
        """Each by himself: what speaks against one is told, and keeps nobody else out. Everybody (`all_users`): only
        with rights on all users. Should somebody change the team half way, those who are left are not added."""
        body = asked.body
        may = changing(asked.standing, body.team_id)
        may(await self._teams.find(body.team_id))
        if body.all_users:
            require(asked.standing.all, "Only a proxy admin can add all users.")
            everybody = await self._members.others(body.team_id, limit=_EVERYBODY)
            users: list[Row] = []
            if everybody:
                _, users, _ = await self._add(asked, body.team_id, everybody, body.terms, expected=body.updated_at)
            results = [
                AddedMember(
                    user_id=str(user["user_id"]),
                    user_email=_text(user.get("user_email")),
                    success=True,
                    updated_user=_user(user),
                )
                for user in users
            ]
        else:
            if not body.members or len(body.members) > _AT_ONCE:
                raise InvalidRequest(f"Name 1 to {_AT_ONCE} members.", param="members")
            results = await self._add_each(asked, [field.member for field in body.members])
        added = sum(result.success for result in results)
        return AddedMembers(
            team_id=body.team_id,
            results=results,
            total_requested=len(results),
            successful_additions=added,
            failed_additions=len(results) - added,
        )

    async def _add_each(self, asked: Asked[AddManyMembers, None], members: Sequence[Member]) -> list[AddedMember]:
        """Raises StoreConflict: the team is another one already, and nobody was added."""
        body = asked.body
        expected = body.updated_at
        results: list[AddedMember] = []
        for member in members:
            try:
                team, [user], [membership] = await self._add(
                    asked, body.team_id, [member], body.terms, expected=expected
                )
            except (Refusal, StoreConflict, StoreRefused) as error:
                if isinstance(error, StoreConflict) and not any(result.success for result in results):
                    raise
                results.append(_not_added(member, error))
                continue
            if expected is not None:
                expected = _moment(team["updated_at"])
            results.append(
                AddedMember(
                    user_id=str(user["user_id"]),
                    user_email=_text(user.get("user_email")),
                    success=True,
                    updated_user=_user(user),
                    updated_team_membership=membership,
                )
            )
        return results

    async def remove(self, asked: Asked[NamedMember, None]) -> object:
        """With him go his keys of the team."""
        body = asked.body
        team = await self._members.remove(
            body.team_id,
            user_id=body.user_id,
            user_email=body.user_email,
            check=changing(asked.standing, body.team_id),
            expected=body.updated_at,
            actor=asked.actor,
        )
        return shown(team)

    async def update(self, asked: Asked[UpdateMember, None]) -> object:
        """A limit that he shares with others so far becomes one of his own."""
        body = asked.body
        team, entry, membership = await self._members.update(
            body.team_id,
            user_id=body.user_id,
            user_email=body.user_email,
            role=body.role,
            terms=body.terms,
            check=changing(asked.standing, body.team_id),
            expected=body.updated_at,
            actor=asked.actor,
        )
        budget = membership["litellm_budget_table"]
        return {
            "team_id": body.team_id,
            "user_id": entry["user_id"],
            "user_email": entry.get("user_email"),
            "role": entry.get("role"),
            "updated_at": team["updated_at"],
            **{
                name: budget.get(column) if isinstance(budget, Mapping) else None
                for name, column in _TERMS.items()
                if not name.startswith("temp_")
            },
        }

    async def reset_spend(self, asked: Asked[ResetSpend, None]) -> object:
        """What he has spent so far counts no more against his budget in the team. Logs and totals stay."""
        team_id, user_id = asked.path["team_id"], asked.path["user_id"]
        membership = await self._members.reset_spend(
            team_id,
            user_id,
            asked.body.reset_to,
            check=changing(asked.standing, team_id),
            expected=asked.body.updated_at,
            actor=asked.actor,
        )
        if membership is None:
            raise NotFound(f"User {user_id!r} is not in team {team_id!r}.", param="user_id")
        return membership


def _not_added(member: Member, error: Exception) -> AddedMember:
    return AddedMember(
        user_id=_told(member.user_id), user_email=_told(member.user_email), success=False, error=_told(str(error))
    )


def _moment(value: object) -> datetime:
    assert isinstance(value, datetime), "every team has one"
    return value


def _user(row: Row) -> Row:
    return {name: row.get(name) for name in _OF_USER}


def _told(text: str | None) -> str | None:
    """As it may stand in an error."""
    return None if text is None else str(masked(text))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
