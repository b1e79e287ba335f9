"""`/organization/*`: organizations, which bound what their teams get, and who belongs to them."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal, Never
from uuid import uuid4

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bursar.domain.authority import Standing
from bursar.domain.edits import BudgetedEdit
from bursar.domain.errors import Forbidden, InvalidRequest, NotFound
from bursar.domain.key_bounds import bounds_of
from bursar.domain.team_bounds import check_not_raised
from bursar.domain.team_roster import Member, check_named
from bursar.domain.user_bounds import narrowest
from bursar.management.fields import (
    BudgetFields,
    Count,
    JsonObject,
    Name,
    budget_terms,
    given,
    metadata_after,
)
from bursar.management.objects import changes_organization, require, sees_organization
from bursar.management.route import Asked, Route
from bursar.management.stores import Organizations, Row

_COLUMNS = ("organization_alias", "models")
_OF_USER = ("user_id", "user_email", "user_alias", "user_role")
_FORBIDDEN = "You are not allowed to change this organization."
OrganizationRole = Literal["org_admin", "internal_user", "internal_user_viewer"]

ORGANIZATION: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_OrganizationTable`, with its budget, members and teams.",
    "properties": {
        "organization_id": {"type": "string"},
        "organization_alias": {"type": "string"},
        "budget_id": {"type": "string"},
        "models": {"type": "array", "items": {"type": "string"}},
        "spend": {"type": "number"},
        "litellm_budget_table": {"type": ["object", "null"]},
        "members": {"type": "array", "items": {"type": "object"}},
        "teams": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["organization_id", "organization_alias", "budget_id", "models", "spend"],
}
_MEMBERSHIP: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_OrganizationMembership`.",
    "properties": {
        "user_id": {"type": "string"},
        "organization_id": {"type": "string"},
        "user_role": {"type": ["string", "null"]},
        "updated_at": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["user_id", "organization_id", "user_role"],
}


class OrganizationFields(BudgetFields, kw_only=True):
    """What can be said of an organization. Money in US dollars."""

    models: list[str] | UnsetType | None = UNSET
    """What its teams may call; empty: everything."""
    metadata: JsonObject | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    """Kept inside the metadata, as the two that follow."""
    model_rpm_limit: dict[str, Count] | UnsetType | None = UNSET
    model_tpm_limit: dict[str, Count] | UnsetType | None = UNSET
    budget_id: Name | UnsetType | None = UNSET
    """A budget that others may share; limits that are stated as well are put on a copy of it. Null: one of its own."""


class NewOrganization(OrganizationFields, kw_only=True):
    """The body of `/organization/new`."""

    organization_alias: Name
    organization_id: Name | None = None
    """None: one is made."""


class UpdateOrganization(OrganizationFields, kw_only=True):
    """The body of `/organization/update`: absent fields stay as they are, null clears."""

    organization_id: Name
    organization_alias: Name | UnsetType = UNSET
    updated_at: datetime | None = None
    """Of the row that the update is based on; another one is refused."""


class OrganizationIds(msgspec.Struct, kw_only=True):
    """The body of `/organization/delete`."""

    organization_ids: list[str]


class OrganizationQuery(msgspec.Struct, kw_only=True):
    """The organization that is meant."""

    organization_id: Name


class NamedOrganizations(msgspec.Struct, kw_only=True):
    """The body of `POST /organization/info`."""

    organizations: Annotated[list[Name], Meta(min_length=1)]


class OrganizationsQuery(msgspec.Struct, kw_only=True):
    """Which organizations."""

    org_id: str | None = None
    org_alias: str | None = None
    """A part of it."""


class OrganizationMember(msgspec.Struct, kw_only=True):
    """Somebody who is to belong to it."""

    role: OrganizationRole = "internal_user"
    user_id: Name | None = None
    user_email: Name | None = None


class AddOrganizationMembers(msgspec.Struct, kw_only=True):
    """The body of `/organization/member_add`."""

    organization_id: Name
    member: OrganizationMember | list[OrganizationMember]
    max_budget_in_organization: float | UnsetType | None = UNSET
    """Kept, and not enforced."""
    updated_at: datetime | None = None
    """Of the organization that this is based on; another one is refused."""


class UpdateOrganizationMember(msgspec.Struct, kw_only=True):
    """The body of `/organization/member_update`."""

    organization_id: Name
    user_id: Name | None = None
    user_email: Name | None = None
    role: OrganizationRole | None = None
    max_budget_in_organization: float | UnsetType | None = UNSET
    updated_at: datetime | None = None
    """Of the membership that the update is based on; another one is refused."""


class NamedOrganizationMember(msgspec.Struct, kw_only=True):
    """The body of `/organization/member_delete`."""

    organization_id: Name
    user_id: Name | None = None
    user_email: Name | None = None
    updated_at: datetime | None = None
    """Of the membership that this is based on; another one is refused."""


class AddedMembers(msgspec.Struct, kw_only=True):
    """The answer of `/organization/member_add`."""

    organization_id: str
    updated_users: list[JsonObject]
    updated_organization_memberships: list[JsonObject]


class OrganizationEndpoints:
    """Organizations and their members."""

    def __init__(self, organizations: Organizations) -> None:
        self._organizations = organizations

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            _route("POST", "/organization/new", "Make an organization", self.new, NewOrganization, ORGANIZATION, ()),
            _route(
                "PATCH",
                "/organization/update",
                "Change an organization",
                self.update,
                UpdateOrganization,
                ORGANIZATION,
                (404, 409),
            ),
            _route(
                "DELETE",
                "/organization/delete",
                "Delete organizations",
                self.delete,
                OrganizationIds,
                {"type": "array", "items": ORGANIZATION},
            ),
            Route(
                method="GET",
                path="/organization/list",
                tag="organizations",
                summary="List organizations",
                endpoint=self.list_all,
                query=OrganizationsQuery,
                answer={"type": "array", "items": ORGANIZATION},
            ),
            Route(
                method="GET",
                path="/organization/info",
                tag="organizations",
                summary="Look at an organization",
                endpoint=self.info,
                query=OrganizationQuery,
                answer=ORGANIZATION,
                errors=(404,),
            ),
            _route(
                "POST",
                "/organization/info",
                "Look at several organizations",
                self.infos,
                NamedOrganizations,
                {"type": "array", "items": ORGANIZATION},
                (),
            ),
            _route(
                "POST",
                "/organization/member_add",
                "Add members to an organization",
                self.add_members,
                AddOrganizationMembers,
                AddedMembers,
                (404, 409),
            ),
            _route(
                "PATCH",
                "/organization/member_update",
                "Change a member's role or limits",
                self.update_member,
                UpdateOrganizationMember,
                _MEMBERSHIP,
                (404, 409),
            ),
            _route(
                "DELETE",
                "/organization/member_delete",
                "Remove a member from an organization",
                self.remove_member,
                NamedOrganizationMember,
                _MEMBERSHIP,
                (404, 409),
            ),
        )

    async def new(self, asked: Asked[NewOrganization, None]) -> object:
        """Its limits are in a budget of its own, unless it names one."""
        body = asked.body
        organization_id = body.organization_id or str(uuid4())
        made = await self._organizations.create(organization_id, _edit(body, None), actor=asked.actor)
        if made is None:
            raise InvalidRequest(
                f"Organization {organization_id!r} already exists. Use another organization_id.",
                param="organization_id",
            )
        return made

    async def update(self, asked: Asked[UpdateOrganization, None]) -> object:
        """Its own admins cannot give it more than it had. Changes reach the keys of all its teams at once."""
        body, standing = asked.body, asked.standing
        may = _changing(standing, body.organization_id)

        def decide(organization: Row | None) -> BudgetedEdit:
            may(organization)
            assert organization is not None, "there"
            edit = _edit(body, organization)
            if not standing.all:
                if body.budget_id is not UNSET:
                    raise Forbidden("Only a proxy admin can choose an organization's budget.", param="budget_id")
                _check_own(organization, edit)
            return edit

        return await self._organizations.update(
            body.organization_id,
            decide,
            check=lambda before, after: None if standing.all else check_not_raised(before, after),
            expected=body.updated_at,
            actor=asked.actor,
        )

    async def delete(self, asked: Asked[OrganizationIds, None]) -> object:
        """One that still has teams, keys or users is refused. All of them, or none."""
        if not asked.body.organization_ids:
            raise InvalidRequest("Name the organizations to delete in `organization_ids`.", param="organization_ids")
        return await self._organizations.delete(
            asked.body.organization_ids,
            check=lambda organization_id, row: _changing(asked.standing, organization_id)(row),
            actor=asked.actor,
        )

    async def list_all(self, asked: Asked[None, OrganizationsQuery]) -> object:
        """Those that the caller belongs to; administrators see all."""
        standing, query = asked.standing, asked.query
        within = None if standing.all else sorted(standing.memberships.organizations)
        found = await self._organizations.find(within=within, organization_id=query.org_id, alias=query.org_alias)
        return [_visible(standing, row) for row in found]

    async def info(self, asked: Asked[None, OrganizationQuery]) -> object:
        """Members see what it may spend; who administers it sees its members and teams."""
        organization_id = asked.query.organization_id
        require(sees_organization(asked.standing, organization_id), "You are not allowed to look at this organization.")
        found = await self._organizations.find(within=None, organization_id=organization_id)
        if not found:
            raise _not_found(organization_id)
        return _visible(asked.standing, found[0])

    async def infos(self, asked: Asked[NamedOrganizations, None]) -> object:
        """Those of them that are there, if the caller may look at all of them."""
        standing, names = asked.standing, asked.body.organizations
        require(
            all(sees_organization(standing, name) for name in names),
            "You are not allowed to look at all of these organizations.",
        )
        return [_visible(standing, row) for row in await self._organizations.find(within=names)]

    async def add_members(self, asked: Asked[AddOrganizationMembers, None]) -> object:
        """All of them, or none. Users who do not exist are made; by its own admins with its limits and theirs, since
        they could be means to go past those. Its own admins cannot add users who exist already and
        belong to none of their organizations: it would give them rights over strangers."""
        body, standing = asked.body, asked.standing
        fields = body.member if isinstance(body.member, list) else [body.member]
        members = [Member(user_id=field.user_id, user_email=field.user_email) for field in fields]
        check_named(members)

        def may_add(user_id: str, organizations: Sequence[str]) -> None:
            own = standing.memberships.administered_organizations
            require(
                user_id == standing.caller.user_id or not own.isdisjoint(organizations),
                "Only a proxy admin can add users who exist already.",
            )

        users, memberships = await self._organizations.add_members(
            body.organization_id,
            [(member, field.role) for member, field in zip(members, fields, strict=True)],
            _terms(body.max_budget_in_organization),
            check=_changing(standing, body.organization_id),
            may_add=None if standing.all else may_add,
            limits={} if standing.all else await self._limits_of_new(standing, body.organization_id),
            expected=body.updated_at,
            actor=asked.actor,
        )
        return AddedMembers(
            organization_id=body.organization_id,
            updated_users=[{name: user.get(name) for name in _OF_USER} for user in users],
            updated_organization_memberships=memberships,
        )

    async def _limits_of_new(self, standing: Standing, organization_id: str) -> Row:
        """Those of users whom its admin makes."""
        found = await self._organizations.bounds_of_new(organization_id, standing.caller.user_id)
        return narrowest([*found, bounds_of(standing.caller)])

    async def update_member(self, asked: Asked[UpdateOrganizationMember, None]) -> object:
        """By id or e-mail address."""
        body = asked.body
        _check_named(body.user_id, body.user_email)
        return await self._organizations.update_member(
            body.organization_id,
            user_id=body.user_id,
            user_email=body.user_email,
            role=body.role,
            terms=_terms(body.max_budget_in_organization),
            check=_changing(asked.standing, body.organization_id),
            expected=body.updated_at,
            actor=asked.actor,
        )

    async def remove_member(self, asked: Asked[NamedOrganizationMember, None]) -> object:
        """His teams and keys stay."""
        body = asked.body
        _check_named(body.user_id, body.user_email)
        return await self._organizations.remove_member(
            body.organization_id,
            user_id=body.user_id,
            user_email=body.user_email,
            check=_changing(asked.standing, body.organization_id),
            expected=body.updated_at,
            actor=asked.actor,
        )


def _route(
    method: str,
    path: str,
    summary: str,
    endpoint: Callable[[Asked[Never, Never]], Awaitable[object]],
    body: type,
    answer: type | JsonObject,
    errors: tuple[int, ...] = (404,),
) -> Route:
    return Route(
        method=method,
        path=path,
        tag="organizations",
        summary=summary,
        endpoint=endpoint,
        body=body,
        answer=answer,
        errors=errors,
    )


def _edit(body: OrganizationFields, before: Row | None) -> BudgetedEdit:
    changes = given(body, _COLUMNS)
    if (metadata := metadata_after(None if before is None else before["metadata"], body)) is not None:
        changes["metadata"] = metadata
    return BudgetedEdit(changes=changes, budget_id=body.budget_id, terms=budget_terms(body))


def _check_own(before: Row, edit: BudgetedEdit) -> None:
    """Raises Forbidden: more models than it had, or less of what its metadata bounds."""
    old = {name: before[name] for name in ("models", "metadata")}
    check_not_raised(old, {name: edit.changes.get(name, value) for name, value in old.items()})


def _terms(max_budget: float | UnsetType | None) -> JsonObject:
    return {} if isinstance(max_budget, UnsetType) else {"max_budget": max_budget}


def _check_named(user_id: str | None, user_email: str | None) -> None:
    if user_id is None and user_email is None:
        raise InvalidRequest("Name the member by user_id or user_email.", param="user_id")


def _changing(standing: Standing, organization_id: str) -> Callable[[Row | None], None]:
    """Raises for one that is not the caller's to change."""

    def check(organization: Row | None) -> None:
        require(changes_organization(standing, organization_id), _FORBIDDEN)
        if organization is None:
            raise _not_found(organization_id)

    return check


def _not_found(organization_id: str) -> NotFound:
    return NotFound(f"Organization not found, passed organization_id={organization_id}", param="organization_id")


def _visible(standing: Standing, organization: Row) -> Row:
    """Who does not administer it does not see who and what else belongs to it."""
    organization_id = str(organization["organization_id"])
    if changes_organization(standing, organization_id):
        return organization
    teams, members = organization["teams"], organization["members"]
    assert isinstance(teams, list)
    assert isinstance(members, list)
    own = standing.caller.user_id
    return {
        **organization,
        "metadata": {},
        "teams": [team for team in teams if team["team_id"] in standing.memberships.teams],
        "members": [member for member in members if member["user_id"] == own],
    }
