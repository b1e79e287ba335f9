"""`/team/*`: making, changing and deleting teams; members are in `team_members`, looking at teams in `team_views`."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal, Never
from uuid import uuid4

import msgspec
from msgspec import UNSET, UnsetType

from bursar.domain.audit import Action
from bursar.domain.authority import DEFAULT_MEMBER_PERMISSIONS, MEMBER_PERMISSIONS, is_member_permission
from bursar.domain.edits import TeamEdit
from bursar.domain.errors import InvalidRequest, NotFound
from bursar.domain.ids import check_new_id
from bursar.domain.principals import DASHBOARD_TEAM
from bursar.domain.team_roster import ADMIN, Member, check_named
from bursar.management.fields import Count, JsonObject, MetadataFields, Name, SmallCount, given, metadata_after
from bursar.management.objects import require, sees_team
from bursar.management.route import Asked, Route
from bursar.management.stores import Row, Teams
from bursar.management.team_rights import changing, check_place, check_terms, ruling, seeing

_COLUMNS = (
    "team_alias",
    "organization_id",
    "models",
    "max_budget",
    "soft_budget",
    "budget_duration",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "max_parallel_requests",
    "model_max_budget",
    "budget_limits",
    "blocked",
    "team_member_permissions",
    "default_team_member_models",
    "router_settings",
    "access_group_ids",
)
_OF_MEMBERS = {
    "team_member_budget": "max_budget",
    "team_member_budget_duration": "budget_duration",
    "team_member_rpm_limit": "rpm_limit",
    "team_member_tpm_limit": "tpm_limit",
}

TEAM: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_TeamTable`.",
    "properties": {
        "team_id": {"type": "string"},
        "team_alias": {"type": ["string", "null"]},
        "organization_id": {"type": ["string", "null"]},
        "members_with_roles": {"type": "array", "items": {"type": "object"}},
        "models": {"type": "array", "items": {"type": "string"}},
        "max_budget": {"type": ["number", "null"]},
        "spend": {"type": "number"},
        "blocked": {"type": "boolean"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
    "required": ["team_id", "members_with_roles", "models", "spend", "blocked", "updated_at"],
}


class TeamFields(MetadataFields, kw_only=True):
    """What can be said of a team. Money in US dollars."""

    team_alias: str | UnsetType | None = UNSET
    organization_id: str | UnsetType | None = UNSET
    models: list[str] | UnsetType | None = UNSET
    """What its keys may call; empty: everything."""
    model_aliases: dict[str, str] | UnsetType | None = UNSET
    max_budget: float | UnsetType | None = UNSET
    soft_budget: float | UnsetType | None = UNSET
    """Told about, never refused; below `max_budget`."""
    budget_duration: str | UnsetType | None = UNSET
    tpm_limit: Count | UnsetType | None = UNSET
    rpm_limit: Count | UnsetType | None = UNSET
    tpd_limit: Count | UnsetType | None = UNSET
    """Kept, and not enforced."""
    max_parallel_requests: SmallCount | UnsetType | None = UNSET
    model_max_budget: JsonObject | UnsetType | None = UNSET
    budget_limits: list[JsonObject] | UnsetType | None = UNSET
    """Beside `max_budget`: `{"budget_duration": "1d", "max_budget": 5}` for each period of another length."""
    blocked: bool | UnsetType | None = UNSET
    team_member_budget: float | UnsetType | None = UNSET
    """Of each member that has no budget of their own; the same for the three that follow."""
    team_member_budget_duration: str | UnsetType | None = UNSET
    team_member_rpm_limit: Count | UnsetType | None = UNSET
    team_member_tpm_limit: Count | UnsetType | None = UNSET
    team_member_key_duration: str | UnsetType | None = UNSET
    team_member_permissions: list[str] | UnsetType | None = UNSET
    default_team_member_models: list[str] | UnsetType | None = UNSET
    router_settings: JsonObject | UnsetType | None = UNSET
    access_group_ids: list[str] | UnsetType | None = UNSET


class MemberFields(msgspec.Struct, kw_only=True):
    """Somebody who is to be in a team."""

    role: Literal["admin", "user"] = "user"
    user_id: Name | None = None
    user_email: Name | None = None

    @property
    def member(self) -> Member:
        """As a record."""
        return Member(role=self.role, user_id=self.user_id, user_email=self.user_email)


class NewTeam(TeamFields, kw_only=True):
    """The body of `/team/new`."""

    team_id: Name | None = None
    """None: one is made."""
    members_with_roles: list[MemberFields] | None = None


class UpdateTeam(TeamFields, kw_only=True):
    """The body of `/team/update`: absent fields stay as they are, null clears."""

    team_id: Name
    updated_at: datetime | None = None
    """Of the row that the update is based on; another one is refused."""


class TeamIds(msgspec.Struct, kw_only=True):
    """The body of `/team/delete`."""

    team_ids: list[str]


class OneTeam(msgspec.Struct, kw_only=True):
    """The team that is meant."""

    team_id: Name


class SwitchTeam(OneTeam, kw_only=True):
    """The body of `/team/block` and `/team/unblock`."""

    updated_at: datetime | None = None
    """Of the row that this is based on; another one is refused."""


class TeamModels(msgspec.Struct, kw_only=True):
    """Models of a team."""

    team_id: Name
    models: list[str]
    updated_at: datetime | None = None
    """Of the row that this is based on; another one is refused."""


class MemberPermissions(msgspec.Struct, kw_only=True):
    """The body of `/team/permissions_update`."""

    team_id: Name
    team_member_permissions: list[str]
    updated_at: datetime | None = None
    """Of the row that this is based on; another one is refused."""


class Permissions(msgspec.Struct, kw_only=True):
    """What members may do with the team's keys."""

    team_id: str
    team_member_permissions: list[str]
    all_available_permissions: list[str]


class UpdatedTeam(msgspec.Struct, kw_only=True):
    """The answer of `/team/update`."""

    team_id: str
    data: JsonObject
    """The row of `LiteLLM_TeamTable`."""


class TeamEndpoints:
    """Making, changing and deleting teams."""

    def __init__(self, teams: Teams) -> None:
        self._teams = teams

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            _post("/team/new", "Make a team", self.new, NewTeam, TEAM, ()),
            _post("/team/update", "Change a team", self.update, UpdateTeam, UpdatedTeam, (404, 409)),
            _post("/team/delete", "Delete teams", self.delete, TeamIds, {"type": "integer"}),
            _post("/team/block", "Refuse all calls with a team's keys", self.block, SwitchTeam, TEAM, (404, 409)),
            _post("/team/unblock", "Refuse them no more", self.unblock, SwitchTeam, TEAM, (404, 409)),
            _post("/team/model/add", "Allow a team more models", self.add_models, TeamModels, TEAM, (404, 409)),
            _post("/team/model/delete", "Allow a team fewer models", self.remove_models, TeamModels, TEAM, (404, 409)),
            Route(
                method="GET",
                path="/team/permissions_list",
                tag="teams",
                summary="What members may do with a team's keys",
                endpoint=self.permissions,
                query=OneTeam,
                answer=Permissions,
                errors=(404,),
            ),
            _post(
                "/team/permissions_update",
                "Change what members may do with a team's keys",
                self.set_permissions,
                MemberPermissions,
                TEAM,
                (404, 409),
            ),
        )

    async def new(self, asked: Asked[NewTeam, None]) -> object:
        """Users who are named as members and do not exist are made. Whoever makes it and is no administrator of the
        gateway becomes its admin."""
        body, standing = asked.body, asked.standing
        check_place(standing, None if body.organization_id is UNSET else body.organization_id)
        members = [member.member for member in body.members_with_roles or ()]
        creator = standing.caller.user_id
        if not standing.all and creator is not None and creator not in {member.user_id for member in members}:
            members.append(Member(role=ADMIN, user_id=creator))
        if members:
            check_named(members)
        if body.team_id == DASHBOARD_TEAM:
            raise InvalidRequest(f"The team {DASHBOARD_TEAM} is that of logins.", param="team_id")
        if body.team_id is not None:
            check_new_id(body.team_id, param="team_id")
        team_id = body.team_id or str(uuid4())
        made = await self._teams.create(
            team_id,
            _edit(body, None),
            members,
            check=lambda after, organization: check_terms(standing, None, after, organization),
            actor=asked.actor,
            sees=seeing(standing),
        )
        if made is None:
            raise InvalidRequest(
                f"Team id = {team_id} already exists. Please use a different team id.", param="team_id"
            )
        return shown(made)

    async def update(self, asked: Asked[UpdateTeam, None]) -> object:
        """A team's own admins cannot give it more money, rate or models than it had, except within what its
        organization has."""
        body, standing = asked.body, asked.standing
        may = changing(standing, body.team_id)

        def decide(team: Row | None) -> TeamEdit:
            may(team)
            if body.blocked is not UNSET:
                ruling(standing, body.team_id)(team)
            before = None if team is None else team["organization_id"]
            if body.organization_id is not UNSET and body.organization_id != before:
                check_place(standing, body.organization_id)
            return _edit(body, team)

        row = await self._teams.update(
            body.team_id,
            decide,
            check=lambda before, after, organization: check_terms(standing, before, after, organization),
            expected=body.updated_at,
            actor=asked.actor,
        )
        return UpdatedTeam(team_id=body.team_id, data=shown(row))

    async def delete(self, asked: Asked[TeamIds, None]) -> object:
        """With them go their keys and memberships; what they spent stays on the books. All of them or, if one does not
        exist, none. Gives how many."""
        if not asked.body.team_ids:
            raise InvalidRequest("Name the teams to delete in `team_ids`.", param="team_ids")
        gone = await self._teams.delete(
            asked.body.team_ids,
            check=lambda team_id, team: ruling(asked.standing, team_id)(team),
            actor=asked.actor,
        )
        return len(gone)

    async def block(self, asked: Asked[SwitchTeam, None]) -> object:
        """At once, on every worker."""
        return await self._switch(asked, Action.BLOCKED)

    async def unblock(self, asked: Asked[SwitchTeam, None]) -> object:
        """At once, on every worker."""
        return await self._switch(asked, Action.UNBLOCKED)

    async def _switch(self, asked: Asked[SwitchTeam, None], action: Action) -> Row:
        body, may = asked.body, ruling(asked.standing, asked.body.team_id)

        def decide(team: Row | None) -> TeamEdit:
            may(team)
            return TeamEdit(changes={"blocked": action is Action.BLOCKED})

        row = await self._teams.update(body.team_id, decide, expected=body.updated_at, action=action, actor=asked.actor)
        return shown(row)

    async def add_models(self, asked: Asked[TeamModels, None]) -> object:
        """A team that might call everything may call these alone afterwards."""
        return await self._set_models(asked, lambda models: list(dict.fromkeys([*models, *asked.body.models])))

    async def remove_models(self, asked: Asked[TeamModels, None]) -> object:
        """The last one stays: without any the team might call everything."""
        gone = set(asked.body.models)

        def left(models: list[str]) -> list[str]:
            found = [model for model in models if model not in gone]
            if models and not found:
                raise InvalidRequest(
                    "Without any model in its list the team could call all of them. Block the team, or update its "
                    "`models`, instead.",
                    param="models",
                )
            return found

        return await self._set_models(asked, left)

    async def _set_models(self, asked: Asked[TeamModels, None], after: Callable[[list[str]], list[str]]) -> Row:
        standing = asked.standing
        may = changing(standing, asked.body.team_id)

        def decide(team: Row | None) -> TeamEdit:
            may(team)
            assert team is not None, "there"
            return TeamEdit(changes={"models": after(strings(team["models"]))})

        row = await self._teams.update(
            asked.body.team_id,
            decide,
            check=lambda before, changed, organization: check_terms(standing, before, changed, organization),
            expected=asked.body.updated_at,
            actor=asked.actor,
        )
        return shown(row)

    async def permissions(self, asked: Asked[None, OneTeam]) -> object:
        """Routes of `/key/*`, by path."""
        team = await self._teams.find(asked.query.team_id)
        require(
            asked.standing.all if team is None else sees_team(asked.standing, team),
            "You are not allowed to look at this team.",
        )
        if team is None:
            raise NotFound(f"Team not found, passed team_id={asked.query.team_id}", param="team_id")
        return Permissions(
            team_id=asked.query.team_id,
            team_member_permissions=strings(team["team_member_permissions"]) or list(DEFAULT_MEMBER_PERMISSIONS),
            all_available_permissions=list(MEMBER_PERMISSIONS),
        )

    async def set_permissions(self, asked: Asked[MemberPermissions, None]) -> object:
        """Raises InvalidRequest: not the path of a route of `/key/*`."""
        body = asked.body
        may = changing(asked.standing, body.team_id)
        if unknown := [path for path in body.team_member_permissions if not is_member_permission(path)]:
            raise InvalidRequest(
                f"{len(unknown)} of the permissions are not there; `/team/permissions_list` shows all.",
                param="team_member_permissions",
            )

        def decide(team: Row | None) -> TeamEdit:
            may(team)
            return TeamEdit(changes={"team_member_permissions": body.team_member_permissions})

        return shown(await self._teams.update(body.team_id, decide, expected=body.updated_at, actor=asked.actor))


def _post(
    path: str,
    summary: str,
    endpoint: Callable[[Asked[Never, Never]], Awaitable[object]],
    body: type,
    answer: type | JsonObject,
    errors: tuple[int, ...] = (404,),
) -> Route:
    return Route(
        method="POST",
        path=path,
        tag="teams",
        summary=summary,
        endpoint=endpoint,
        body=body,
        answer=answer,
        errors=errors,
    )


def _edit(body: TeamFields, before: Row | None) -> TeamEdit:
    """What a body says of a team that was `before`."""
    changes = given(body, _COLUMNS)
    old = None if before is None else before["metadata"]
    if (metadata := metadata_after(old, body)) is not None:
        changes["metadata"] = metadata
    said = given(body, _OF_MEMBERS)
    return TeamEdit(
        changes=changes,
        aliases=None if isinstance(body.model_aliases, UnsetType) else body.model_aliases or {},
        member_terms={_OF_MEMBERS[name]: value for name, value in said.items()},
    )


def shown(team: Row) -> Row:
    """A team's row as answers have it: one that never had members has an empty list of them."""
    members = team["members_with_roles"]
    return {**team, "members_with_roles": members if isinstance(members, list) else []}


def strings(value: object) -> list[str]:
    """A column that is a list of text, or null."""
    return [str(item) for item in value] if isinstance(value, list) else []
