"""`/user/*`: internal users, who own keys and log in. Passwords come in, and never leave."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal, Never
from uuid import uuid4

import msgspec
from msgspec import UNSET, Meta

from bursar.domain.audit import Actor
from bursar.domain.authority import Standing
from bursar.domain.errors import InvalidRequest, NotFound, Refusal, StoreConflict, StoreRefused
from bursar.domain.key_bounds import bounds_of, check_within
from bursar.domain.limit_terms import check_amount, terms_after
from bursar.domain.masking import masked, unmasked
from bursar.domain.periods import Calendar
from bursar.domain.team_roster import TeamPlace
from bursar.domain.user_bounds import LIMITS, narrowest
from bursar.management.key_fields import Count, Given, JsonObject, KeyFields, SmallCount
from bursar.management.key_making import KeyMaker, made
from bursar.management.key_rules import asker_of, moved
from bursar.management.objects import require, sees_key, sees_team, sees_user
from bursar.management.route import Asked, Route
from bursar.management.teams import shown as shown_team
from bursar.management.user_rules import UserRules
from bursar.ports.keys import KeyPlace, NewKey
from bursar.ports.users import MembershipLookup, UserAdministration, UserFilter, UserRow

_MAX_AT_ONCE = 500
_ALL_MAX = 10_000
Id = Annotated[str, Meta(min_length=1, max_length=10_000)]
Password = Annotated[str, Meta(min_length=8, max_length=1_000)]
UserRole = Literal["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"]

_ROW: JsonObject = {"type": "object", "description": "The row of `LiteLLM_UserTable`, without the password."}
_ROLES = {
    "proxy_admin": ("Admin (all permissions)", "everything"),
    "proxy_admin_viewer": ("Admin (view only)", "sees everything, and changes nothing"),
    "internal_user": ("Internal user (create, delete, view)", "makes, deletes and sees his own keys and their spend"),
    "internal_user_viewer": ("Internal user (view only)", "sees his own keys and their spend"),
}


class UserFields(msgspec.Struct, kw_only=True):
    """What can be said about a user. Fields of LiteLLM's that have no meaning here yet are passed over."""

    user_email: Given[Annotated[str, Meta(description="Unique.", examples=["ada@example.org"])]] = UNSET
    user_alias: Given[str] = UNSET
    user_role: Given[UserRole] = UNSET
    sso_user_id: Given[str] = UNSET
    password: Given[Password] = UNSET
    models: Given[Annotated[list[str], Meta(description="What keys outside of teams may call; none: all.")]] = UNSET
    max_budget: Given[Annotated[float, Meta(description="US dollars.", examples=[10.0])]] = UNSET
    budget_duration: Given[Annotated[str, Meta(description="After which it starts anew.", examples=["30d"])]] = UNSET
    tpm_limit: Given[Count] = UNSET
    rpm_limit: Given[Count] = UNSET
    max_parallel_requests: Given[SmallCount] = UNSET
    model_max_budget: Given[
        Annotated[JsonObject, Meta(examples=[{"gpt-4o": {"budget_limit": 5.0, "time_period": "1d"}}])]
    ] = UNSET
    metadata: Given[JsonObject] = UNSET
    allowed_cache_controls: Given[list[str]] = UNSET
    spend: Given[float] = UNSET


class TeamOfUser(msgspec.Struct, kw_only=True):
    """A team to join."""

    team_id: Id
    max_budget_in_team: Annotated[float, Meta(description="US dollars.", examples=[5.0])] | None = None
    """None: the team's `team_member_budget`."""
    user_role: Literal["admin", "user"] = "user"
    """In the team."""

    @property
    def place(self) -> TeamPlace:
        """As a record."""
        terms = {} if self.max_budget_in_team is None else {"max_budget": self.max_budget_in_team}
        return TeamPlace(team_id=self.team_id, role=self.user_role, terms=terms)


class NewUser(UserFields, kw_only=True):
    """The body of `/user/new`."""

    user_id: Id | None = None
    """None: one is made up."""
    teams: list[str | TeamOfUser] | None = None
    organizations: list[str] | None = None
    auto_create_key: bool = True
    key_alias: Annotated[str, Meta(examples=["ada"])] | None = None
    duration: str | None = None
    """Of the key."""
    aliases: JsonObject | None = None
    """Of the key, as are the two that follow."""
    config: JsonObject | None = None
    permissions: JsonObject | None = None


class UpdateUser(UserFields, kw_only=True):
    """The body of `/user/update`. What is not named stays as it is; null clears."""

    user_id: Id | None = None
    """None: the user who has `user_email`."""
    teams: list[str | TeamOfUser] | None = None
    """To join. Those that he is in already he stays in, as he is."""
    updated_at: datetime | None = None
    """That of the user this is based on: refused if it is another by now."""


class UpdateUsers(msgspec.Struct, kw_only=True):
    """The body of `/user/bulk_update`."""

    users: Annotated[list[UpdateUser], Meta(max_length=_MAX_AT_ONCE)] | None = None
    all_users: bool = False
    user_updates: UserFields | None = None
    """With `all_users`: what all of them get."""


class DeleteUsers(msgspec.Struct, kw_only=True):
    """The body of `/user/delete`."""

    user_ids: Annotated[list[Id], Meta(min_length=1)]


class NamedUser(msgspec.Struct, kw_only=True):
    """The query of `/user/info`."""

    user_id: str | None = None
    """None: who asks."""


class ListUsers(msgspec.Struct, kw_only=True):
    """Which users, and which page of them."""

    role: UserRole | None = None
    user_ids: list[str] = []
    user_email: str | None = None
    """Part of it."""
    user_alias: str | None = None
    """Part of it."""
    sso_user_ids: list[str] = []
    team: str | None = None
    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Meta(ge=1, le=100)] = 25
    sort_by: Literal["user_id", "user_email", "user_alias", "user_role", "spend", "max_budget", "created_at"] = (
        "created_at"
    )
    sort_order: Literal["asc", "desc"] = "desc"


class UserList(msgspec.Struct, kw_only=True):
    """A page of users."""

    users: list[JsonObject]
    """Rows, each with the number of his keys, `key_count`."""
    total: int
    page: int
    page_size: int
    total_pages: int


class UserDescription(msgspec.Struct, kw_only=True):
    """The answer of `/user/info`."""

    user_id: str | None
    user_info: JsonObject | None
    """None: of a user who owns keys and has no row."""
    keys: list[JsonObject]
    teams: list[JsonObject]


class ChangedUser(msgspec.Struct, kw_only=True):
    """The answer of `/user/update`."""

    user_id: str
    data: JsonObject


class BulkUpdate(msgspec.Struct, kw_only=True):
    """The answer of `/user/bulk_update`."""

    results: list[JsonObject]
    total_requested: int
    successful_updates: int
    failed_updates: int


class UserCount(msgspec.Struct, kw_only=True):
    """The answer of `/user/available_users`: there is no limit here."""

    total_users: int | None
    total_users_used: int
    total_users_remaining: int | None


@dataclass(slots=True, frozen=True)
class UserSettings:
    """What the configuration says about new users."""

    defaults: NewUser = field(default_factory=NewUser)
    budget: float | None = None
    """US dollars, of internal users that are made without one."""
    budget_duration: str | None = None
    calendar: Calendar = field(default_factory=Calendar)


class UserEndpoints:
    """Making, changing, deleting and looking at users."""

    def __init__(
        self,
        users: UserAdministration,
        memberships: MembershipLookup,
        maker: KeyMaker,
        settings: UserSettings,
        *,
        hash_password: Callable[[str], str],
    ) -> None:
        """`hash_password` takes its time: it runs in a thread."""
        self._users = users
        self._memberships = memberships
        self._rules = UserRules(memberships)
        self._maker = maker
        self._settings = settings
        self._hash_password = hash_password

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        lists = ("/user/get_users",)
        return (
            _post("/user/new", "Make a user", self.new, NewUser, _ROW, 404, 409),
            _get("/user/info", "Look at a user, his keys and teams", self.info, NamedUser, UserDescription, 404),
            _get("/v2/user/info", "Look at a user", self.row, NamedUser, _ROW, 404),
            _post("/user/update", "Change a user", self.update, UpdateUser, ChangedUser, 404, 409),
            _post("/user/bulk_update", "Change several users", self.bulk_update, UpdateUsers, BulkUpdate),
            _get("/user/list", "List users", self.list, ListUsers, UserList, aliases=lists),
            _post("/user/delete", "Delete users", self.delete, DeleteUsers, {"type": "integer"}, 404),
            _get("/user/available_roles", "List the roles that users can have", self.available_roles, None, _ANY),
            _get("/user/available_users", "Count users", self.available_users, None, UserCount),
        )

    async def new(self, asked: Asked[NewUser, None]) -> object:
        """With a key, unless `auto_create_key` is false; the key is shown this once. Who administers an organization
        makes users in it."""
        body, standing = await self._bounded(asked.body, asked.standing), asked.standing
        given = _columns(body, {}, self._settings.calendar)
        places = _places(body.teams or ())
        teams = [place.team_id for place in places]
        organizations = self._rules.check_new(
            standing, given, named_id=body.user_id, teams=teams, organizations=body.organizations
        )
        user: dict[str, object] = {
            "user_role": "internal_user",
            "models": [],
            "metadata": {},
            "model_max_budget": {},
            "allowed_cache_controls": [],
            **{name: value for name, value in given.items() if value is not None},
            "user_id": body.user_id or str(uuid4()),
        }
        await self._hash(user)
        plain, key = "", None
        if body.auto_create_key:
            plain = self._maker.secret(None)
            key = self._key(asked, user, organizations, plain)

        def check(place: KeyPlace) -> None:
            stands = moved(standing, place)
            self._rules.check_new(stands, given, named_id=body.user_id, teams=teams, organizations=organizations)
            if key is not None:
                self._maker.check(standing, key, place)

        row, made_key = await self._users.insert(
            user,
            teams=places,
            organizations=organizations,
            key=key,
            actor=asked.actor,
            asker=asker_of(standing),
            check=check,
        )
        shown = {} if made_key is None else made(made_key, plain, None)
        return {
            **shown,
            **row,
            "key": plain,
            "expires": shown.get("expires"),
            "teams": row["teams"],
            "organizations": organizations,
        }

    def _key(
        self, asked: Asked[NewUser, None], user: Mapping[str, object], organizations: Sequence[str], plain: str
    ) -> NewKey:
        """The user's first key; his own limits are his, and not repeated in it."""
        body = asked.body
        said = KeyFields(user_id=str(user["user_id"]), models=body.models)
        for name in ("key_alias", "duration", "aliases", "config", "permissions"):
            if (value := getattr(body, name)) is not None:
                setattr(said, name, value)
        if not asked.standing.all:
            said.organization_id = organizations[0]
        return self._maker.plan(asked.standing, said, plain)

    async def info(self, asked: Asked[None, NamedUser]) -> object:
        """Of his keys and teams those that the caller may see."""
        row, user_id = await self._seen(asked)
        keys, teams = ([], []) if user_id is None else await self._users.belongings(user_id)
        standing = asked.standing
        return UserDescription(
            user_id=user_id,
            user_info=row,
            keys=[key for key in keys if sees_key(standing, key)],
            teams=[dict(shown_team(team)) for team in teams if sees_team(standing, team)],
        )

    async def row(self, asked: Asked[None, NamedUser]) -> object:
        """Without his keys and teams."""
        row, user_id = await self._seen(asked)
        if row is None:
            raise NotFound(f"User {user_id} not found")
        return row

    async def _seen(self, asked: Asked[None, NamedUser]) -> tuple[UserRow | None, str | None]:
        """Raises NotFound; Forbidden: who may not see a user does not learn whether he exists."""
        named, own = asked.query.user_id, asked.caller.user_id
        user_id = named if named is not None else own
        row = None if user_id is None else await self._users.find(user_id)
        if row is None and user_id is not None and " " in user_id:  # LiteLLM takes a plus for itself in this parameter
            user_id = user_id.replace(" ", "+")
            row = await self._users.find(user_id)
        if user_id != own and user_id is not None and not asked.standing.all:
            organizations = (await self._memberships.find(user_id)).organizations if row is not None else ()
            require(
                sees_user(asked.standing, user_id, organizations=organizations),
                f"You are not allowed to access the user {user_id}.",
            )
        if row is None and named is not None:
            raise NotFound(f"User {named} not found")
        return row, user_id

    async def update(self, asked: Asked[UpdateUser, None]) -> object:
        """What is not named stays as it is; null clears. A user changes his own name, password and metadata."""
        row = await self._update(asked.standing, asked.body, asked.actor)
        return ChangedUser(user_id=str(row["user_id"]), data=row)

    async def bulk_update(self, asked: Asked[UpdateUsers, None]) -> object:
        """Each for himself: one that fails keeps no other from being changed."""
        body = asked.body
        wanted = body.users or []
        if body.all_users:
            if body.user_updates is None:
                raise InvalidRequest("Say in `user_updates` what all users get.", param="user_updates")
            said = msgspec.structs.asdict(body.user_updates)
            wanted = [UpdateUser(user_id=user, **said) for user in await self._users.all_ids(_ALL_MAX)]
        if not wanted:
            raise InvalidRequest("Name users in `users`, or set `all_users`.", param="users")
        results: list[JsonObject] = []
        for one in wanted:
            result: JsonObject = {"user_id": masked(one.user_id), "user_email": masked(one.user_email or None)}
            try:
                result |= {"success": True, "updated_user": await self._update(asked.standing, one, asked.actor)}
            except (Refusal, StoreConflict, StoreRefused) as error:
                result |= {"success": False, "error": masked(str(error))}
            results.append(result)
        done = sum(1 for result in results if result["success"])
        return BulkUpdate(
            results=results,
            total_requested=len(results),
            successful_updates=done,
            failed_updates=len(results) - done,
        )

    async def _update(self, standing: Standing, body: UpdateUser, actor: Actor) -> UserRow:
        user_id = body.user_id
        named = user_id or str(body.user_email)
        if user_id is None:
            if not isinstance(body.user_email, str):
                raise InvalidRequest("Name the user in `user_id`, or by his `user_email`.", param="user_id")
            found = await self._users.find_by_email(body.user_email)
            user_id = "" if found is None else str(found["user_id"])
            body = msgspec.structs.replace(body, user_email=UNSET)
        password: dict[str, object] = {"password": body.password} if isinstance(body.password, str) else {}
        target = await self._users.find(user_id)
        given = _columns(body, target or {}, self._settings.calendar)
        places = _places(body.teams or ())
        teams = [place.team_id for place in places]
        await self._rules.check_change(standing, user_id, target, given, named=named, teams=teams)
        if target is None:
            raise NotFound(f"User {named} not found")
        await self._hash(password)

        def edit(row: UserRow) -> Mapping[str, object]:
            changes = _columns(body, row, self._settings.calendar)
            self._rules.check_not_raised(standing, row, changes)
            return changes | password

        row = await self._users.change(
            user_id, edit, teams=places, actor=actor, expected=body.updated_at, spend=isinstance(body.spend, float)
        )
        if row is None:
            raise NotFound(f"User {named} not found")
        return row

    async def list(self, asked: Asked[None, ListUsers]) -> object:
        """Who administers organizations sees their members."""
        query, standing = asked.query, asked.standing
        found = await self._users.page(
            UserFilter(
                organizations=None if standing.all else tuple(standing.memberships.administered_organizations),
                role=query.role,
                user_ids=tuple(query.user_ids) or None,
                user_email=query.user_email,
                user_alias=query.user_alias,
                sso_user_ids=tuple(query.sso_user_ids) or None,
                team=query.team,
                sort_by=query.sort_by,
                downwards=query.sort_order == "desc",
            ),
            limit=query.page_size,
            offset=(query.page - 1) * query.page_size,
        )
        return UserList(
            users=found.users,
            total=found.total,
            page=query.page,
            page_size=query.page_size,
            total_pages=-(-found.total // query.page_size),
        )

    async def delete(self, asked: Asked[DeleteUsers, None]) -> object:
        """With their keys and memberships; what they spent stays on the books. Gives how many were deleted."""
        user_ids = list(dict.fromkeys(asked.body.user_ids))
        await self._rules.check_delete(asked.standing, user_ids, [await self._users.find(user) for user in user_ids])
        return len(await self._users.delete(user_ids, actor=asked.actor))

    async def available_roles(self, _: Asked[None, None]) -> object:
        """With how they are shown."""
        return {role: {"ui_label": label, "description": words} for role, (label, words) in _ROLES.items()}

    async def available_users(self, _: Asked[None, None]) -> object:
        """There is no limit to them."""
        return UserCount(total_users=None, total_users_used=await self._users.count(), total_users_remaining=None)

    async def _bounded(self, said: NewUser, standing: Standing) -> NewUser:
        """What is not said comes from the configuration, within what bounds the caller. Raises Forbidden: it is said
        and goes beyond that."""
        body = self._with_defaults(said)
        if standing.all:
            return body
        organizations = self._rules.organizations_of_new(standing, body.organizations)
        found = await self._users.bounds_of_new(organizations, standing.caller.user_id)
        bound = narrowest([*found, bounds_of(standing.caller)])
        stated = {name: value for name in LIMITS if (value := getattr(said, name)) not in (UNSET, None, [])}
        by_model = body.model_max_budget or {}
        checked = {**stated, "model_max_budget": by_model}
        check_within(checked, bound, whose="his organization, or who makes him,", what="A user")
        default = {name: value for name in LIMITS if (value := getattr(body, name)) is not UNSET}
        least = narrowest([bound, {name: value for name, value in default.items() if name not in stated}])
        if bound.get("max_budget") is not None:
            least["budget_duration"] = bound["budget_duration"]
        if isinstance(bounded := least.get("model_max_budget"), Mapping):
            least["model_max_budget"] = {**by_model, **bounded}
        return msgspec.structs.replace(body, **{name: value for name, value in least.items() if name not in stated})

    def _with_defaults(self, body: NewUser) -> NewUser:
        """What is not said comes from the configuration."""
        settings = self._settings
        said = {
            name: value
            for name in NewUser.__struct_fields__
            if (value := getattr(settings.defaults, name)) not in (UNSET, None) and getattr(body, name) in (UNSET, None)
        }
        body = msgspec.structs.replace(body, **said)
        if (
            settings.budget is not None
            and body.max_budget is UNSET
            and body.user_role in (UNSET, None, "internal_user")
        ):
            period = settings.budget_duration if body.budget_duration is UNSET else body.budget_duration
            body = msgspec.structs.replace(body, max_budget=settings.budget, budget_duration=period)
        return body

    async def _hash(self, columns: dict[str, object]) -> None:
        """Put a password's hash in its place."""
        if isinstance(password := columns.get("password"), str):
            columns["password"] = await asyncio.to_thread(self._hash_password, password)


def _places(teams: Sequence[str | TeamOfUser]) -> list[TeamPlace]:
    """Raises InvalidRequest: a team is named twice, and not with the same place in it."""
    places: dict[str, TeamPlace] = {}
    for team in teams:
        place = TeamPlace(team_id=team) if isinstance(team, str) else team.place
        if places.setdefault(place.team_id, place) != place:
            raise InvalidRequest("A team is named twice, with different places in it.", param="teams")
    return list(places.values())


_CLEARED: dict[str, object] = {
    **{name: [] for name in ("models", "allowed_cache_controls")},
    **{name: {} for name in ("metadata", "model_max_budget")},
    "spend": 0.0,
}
"""What null comes to where the column takes none."""


def _columns(said: UserFields, before: Mapping[str, object], calendar: Calendar) -> dict[str, object]:
    """The columns that change, of a user who was `before` (empty: a new one). Raises InvalidRequest."""
    given = {name: value for name in UserFields.__struct_fields__ if (value := getattr(said, name)) is not UNSET}
    found = {name: _CLEARED.get(name) if value is None else value for name, value in given.items()}
    if "metadata" in found:
        found["metadata"] = unmasked(found["metadata"], before.get("metadata"))
    check_amount(found.get("spend"), "spend")
    return terms_after(before, found, now=datetime.now(UTC), calendar=calendar)


_ANY: JsonObject = {"type": "object"}
Endpoint = Callable[[Asked[Never, Never]], Awaitable[object]]
Answer = type | JsonObject


def _post(path: str, summary: str, endpoint: Endpoint, body: type, answer: Answer, *errors: int) -> Route:
    return Route(
        method="POST",
        path=path,
        tag="users",
        summary=summary,
        endpoint=endpoint,
        body=body,
        answer=answer,
        errors=errors,
    )


def _get(
    path: str,
    summary: str,
    endpoint: Endpoint,
    query: type | None,
    answer: Answer,
    *errors: int,
    aliases: tuple[str, ...] = (),
) -> Route:
    return Route(
        method="GET",
        path=path,
        tag="users",
        summary=summary,
        endpoint=endpoint,
        query=query,
        answer=answer,
        errors=errors,
        aliases=aliases,
    )
