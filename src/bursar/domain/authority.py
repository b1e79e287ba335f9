"""Who may do what with the management API: the one table of permissions. What is not in it does not exist, and what is
in it does.

A row is a route, and how far each role reaches with it (`Reach`): which objects it is about for them. Roles that follow
from memberships add to the role a user has; the furthest reach counts. Whether a single object lies within that reach
decides `management.objects`. A key's own `allowed_routes` come on top (`domain.permissions`).

Not in it: what is the gateway's own (`gateway.own_routes`). Those routes are about no object that anybody owns,
so there is no reach to speak of: calls, `/v1/models` and `/health` are for every key, and for the models it may use;
`/metrics` is for every key, and `/health/liveliness` and `/health/readiness` are open to all. The one thing there that
depends on the role, whether `/health` tells where deployments are, is said in `gateway.health`.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from bursar.domain.principals import MASTER_KEY_NAME, Memberships, Principal, Role


class Reach(StrEnum):
    """How far a caller's rights go on one route; each holds those before it."""

    NONE = "none"
    OWN = "own"
    """What is the caller's: his keys, his spend, his user row; to look at, also the teams he belongs to."""
    TEAM = "team"
    """And what belongs to the teams he administers."""
    ORGANIZATION = "organization"
    """And what belongs to the organizations he administers."""
    ALL = "all"

    def covers(self, other: "Reach") -> bool:
        """Whether this goes at least as far as `other`."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = tuple(Reach)

Rights = Mapping[Role, Reach]
"""What one route is for each role; a role that is not in it has none."""

ROLES = (
    Role.PROXY_ADMIN,
    Role.PROXY_ADMIN_VIEWER,
    Role.ORG_ADMIN,
    Role.TEAM_ADMIN,
    Role.INTERNAL_USER,
    Role.INTERNAL_USER_VIEWER,
    Role.KEY,
)
"""The table's columns. Every other role has no rights here."""

_TABLE = """
# method, path                              admin viewer org    team   user   uview  key

# Keys. None gets more than the one it is made with.
POST   /key/generate                        all   -      org    team   own    -      -
POST   /key/service-account/generate        all   -      org    team   -      -      -
POST   /key/update                          all   -      org    team   own    -      -
POST   /key/bulk_update                     all   -      org    team   own    -      -
POST   /key/delete                          all   -      org    team   own    -      -
GET    /key/info                            all   all    org    team   own    own    own
POST   /v2/key/info                         all   all    org    team   own    own    own
GET    /key/list                            all   all    org    team   own    own    -
GET    /key/aliases                         all   all    org    team   own    own    -
POST   /key/block                           all   -      org    team   -      -      -
POST   /key/unblock                         all   -      org    team   -      -      -
POST   /key/regenerate                      all   -      org    team   own    -      -
POST   /key/{key}/regenerate                all   -      org    team   own    -      -
POST   /key/{key}/reset_spend               all   -      org    team   -      -      -
POST   /key/health                          all   all    org    team   own    own    own

# Users
POST   /user/new                            all   -      org    -      -      -      -
GET    /user/info                           all   all    org    own    own    own    -
GET    /v2/user/info                        all   all    org    own    own    own    -
POST   /user/update                         all   -      org    own    own    -      -
POST   /user/bulk_update                    all   -      -      -      -      -      -
GET    /user/list                           all   all    org    -      -      -      -
POST   /user/delete                         all   -      org    -      -      -      -
GET    /user/available_roles                all   all    org    team   own    own    -
GET    /user/available_users                all   all    -      -      -      -      -
GET    /user/daily/activity                 all   all    org    own    own    own    -
GET    /user/daily/activity/aggregated      all   all    org    own    own    own    -

# Teams
POST   /team/new                            all   -      org    -      -      -      -
POST   /team/update                         all   -      org    team   -      -      -
POST   /team/member_add                     all   -      org    team   -      -      -
POST   /team/bulk_member_add                all   -      org    team   -      -      -
POST   /team/member_delete                  all   -      org    team   -      -      -
POST   /team/member_update                  all   -      org    team   -      -      -
POST   /team/delete                         all   -      org    -      -      -      -
GET    /team/info                           all   all    org    team   own    own    own
GET    /team/list                           all   all    org    team   own    own    -
GET    /v2/team/list                        all   all    org    team   own    own    -
POST   /team/block                          all   -      org    -      -      -      -
POST   /team/unblock                        all   -      org    -      -      -      -
POST   /team/model/add                      all   -      org    team   -      -      -
POST   /team/model/delete                   all   -      org    team   -      -      -
GET    /team/permissions_list               all   all    org    team   own    own    -
POST   /team/permissions_update             all   -      org    team   -      -      -
GET    /team/available                      all   all    org    team   own    own    -
POST   /team/{team_id}/member/{user_id}/reset_spend  all - org  team   -      -      -
GET    /team/daily/activity                 all   all    org    team   own    own    -

# Organizations
POST   /organization/new                    all   -      -      -      -      -      -
PATCH  /organization/update                 all   -      org    -      -      -      -
DELETE /organization/delete                 all   -      -      -      -      -      -
GET    /organization/list                   all   all    org    own    own    own    -
GET    /organization/info                   all   all    org    own    own    own    -
POST   /organization/info                   all   all    org    own    own    own    -
POST   /organization/member_add             all   -      org    -      -      -      -
PATCH  /organization/member_update          all   -      org    -      -      -      -
DELETE /organization/member_delete          all   -      org    -      -      -      -
GET    /organization/daily/activity         all   all    org    -      -      -      -

# Customers: `/end_user/*` is the same
POST   /customer/new                        all   -      -      -      -      -      -
GET    /customer/info                       all   all    -      -      -      -      -
POST   /customer/update                     all   -      -      -      -      -      -
POST   /customer/delete                     all   -      -      -      -      -      -
GET    /customer/list                       all   all    -      -      -      -      -
POST   /customer/block                      all   -      -      -      -      -      -
POST   /customer/unblock                    all   -      -      -      -      -      -
GET    /customer/daily/activity             all   all    -      -      -      -      -

# Budgets
POST   /budget/new                          all   -      -      -      -      -      -
POST   /budget/update                       all   -      -      -      -      -      -
POST   /budget/info                         all   all    -      -      -      -      -
GET    /budget/list                         all   all    -      -      -      -      -
POST   /budget/delete                       all   -      -      -      -      -      -
GET    /budget/settings                     all   all    -      -      -      -      -

# Tags
POST   /tag/new                             all   -      -      -      -      -      -
POST   /tag/update                          all   -      -      -      -      -      -
POST   /tag/info                            all   all    -      -      -      -      -
GET    /tag/list                            all   all    -      -      -      -      -
POST   /tag/delete                          all   -      -      -      -      -      -
GET    /tag/daily/activity                  all   all    -      -      -      -      -
GET    /tag/summary                         all   all    -      -      -      -      -
GET    /tag/dau                             all   all    -      -      -      -      -
GET    /tag/wau                             all   all    -      -      -      -      -
GET    /tag/mau                             all   all    -      -      -      -      -

# Models: looking is bounded by what the caller may use. Models of a single team are not built: who may choose an
# address and a price is an administrator
GET    /model/info                          all   all    org    team   own    own    own
GET    /v2/model/info                       all   all    org    team   own    own    own
GET    /model_group/info                    all   all    org    team   own    own    own
POST   /model/new                           all   -      -      -      -      -      -
POST   /model/update                        all   -      -      -      -      -      -
PATCH  /model/{model_id}/update             all   -      -      -      -      -      -
POST   /model/delete                        all   -      -      -      -      -      -
POST   /credentials                         all   -      -      -      -      -      -
GET    /credentials                         all   all    -      -      -      -      -
GET    /credentials/{credential_name}       all   all    -      -      -      -      -
PATCH  /credentials/{credential_name}       all   -      -      -      -      -      -
DELETE /credentials/{credential_name}       all   -      -      -      -      -      -
GET    /credentials/by_name/{credential_name}  all all   -      -      -      -      -
GET    /credentials/by_model/{model_id}     all   all    -      -      -      -      -

# Spend
GET    /spend/logs                          all   all    org    team   own    own    -
GET    /spend/logs/v2                       all   all    org    team   own    own    -
GET    /spend/logs/ui/{request_id}          all   all    org    team   own    own    -
GET    /spend/logs/session/ui               all   all    org    team   own    own    -
GET    /spend/keys                          all   all    org    team   own    own    -
GET    /spend/users                         all   all    own    own    own    own    -
GET    /spend/tags                          all   all    -      -      -      -      -
POST   /spend/calculate                     all   all    org    team   own    own    own
GET    /global/spend                        all   all    -      -      -      -      -
GET    /global/spend/logs                   all   all    -      -      -      -      -
GET    /global/spend/keys                   all   all    -      -      -      -      -
GET    /global/spend/models                 all   all    -      -      -      -      -
GET    /global/spend/teams                  all   all    -      -      -      -      -
POST   /global/spend/end_users              all   all    -      -      -      -      -
GET    /global/spend/tags                   all   all    -      -      -      -      -
GET    /global/spend/all_tag_names          all   all    -      -      -      -      -
GET    /global/spend/provider               all   all    -      -      -      -      -
GET    /global/spend/report                 all   all    -      -      -      -      -
POST   /global/spend/reset                  master -     -      -      -      -      -
POST   /global/spend/refresh                all   -      -      -      -      -      -
GET    /global/activity                     all   all    -      -      -      -      -
GET    /global/activity/model               all   all    -      -      -      -      -

# Running the gateway
GET    /audit                               all   all    -      -      -      -      -
GET    /audit/{id}                          all   all    -      -      -      -      -
GET    /health/services                     all   -      -      -      -      -      -
POST   /config/update                       all   -      -      -      -      -      -
GET    /config/list                         all   all    -      -      -      -      -
GET    /config/field/info                   all   all    -      -      -      -      -
GET    /cache/ping                          all   all    -      -      -      -      -
POST   /cache/delete                        all   -      -      -      -      -      -
POST   /cache/flushall                      all   -      -      -      -      -      -
POST   /utils/token_counter                 all   all    org    team   own    own    own

# Open to all: what leads to a session, and the documentation
POST   /login                               public
POST   /v2/login                            public
GET    /openapi.json                        public
GET    /docs                                public
GET    /routes                              public
GET    /test                                public
"""

_WORDS = {"-": Reach.NONE, "own": Reach.OWN, "team": Reach.TEAM, "org": Reach.ORGANIZATION, "all": Reach.ALL}
_MASTER_ONLY = "master"
_PUBLIC = "public"
_PARAMETER = re.compile(r"\{\w+\}")


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table."""

    method: str
    path: str
    rights: Rights
    public: bool = False
    """No key is asked for, nor looked at."""
    master_only: bool = False
    """Only with the master key, not with that of an administrator."""

    @property
    def reading(self) -> bool:
        """It changes nothing: those who may only look may use it, if anybody may."""
        return self.rights.get(Role.PROXY_ADMIN_VIEWER, Reach.NONE) is not Reach.NONE

    def reach_of(self, roles: Iterable[Role]) -> Reach:
        """The furthest reach of any of `roles`."""
        return max((self.rights.get(role, Reach.NONE) for role in roles), key=_ORDER.index, default=Reach.NONE)


def _row(line: str) -> Permission:
    method, path, *words = line.split()
    if words == [_PUBLIC]:
        return Permission(method=method, path=path, rights={}, public=True)
    master_only = words[0] == _MASTER_ONLY
    reaches = [Reach.ALL, *(_WORDS[word] for word in words[1:])] if master_only else [_WORDS[word] for word in words]
    rights = dict(zip(ROLES, reaches, strict=True))
    return Permission(method=method, path=path, rights=MappingProxyType(rights), master_only=master_only)


PERMISSIONS = tuple(_row(line) for line in _TABLE.splitlines() if line and not line.startswith("#"))
"""The table's rows."""


def _key(method: str, path: str) -> tuple[str, str]:
    return method, _PARAMETER.sub("{}", path)


_BY_ROUTE = {_key(row.method, row.path): row for row in PERMISSIONS}


def permission(method: str, path: str) -> Permission | None:
    """The row of a route; None: there is none, so nobody may. How parameters of the path are called does not matter."""
    return _BY_ROUTE.get(_key(method, path))


MEMBER_PERMISSIONS = tuple(sorted({row.path for row in PERMISSIONS if row.path.startswith("/key/")}))
"""What a team may let its members do with its keys, as paths of routes."""
DEFAULT_MEMBER_PERMISSIONS = ("/key/health", "/key/info")
"""What they may where the team says nothing."""
_SAME_PERMISSION = {
    "/v2/key/info": "/key/info",
    "/key/aliases": "/key/list",
    "/key/bulk_update": "/key/update",
    "/key/{key}/regenerate": "/key/regenerate",
}
"""Routes that do for other keys, or to more of them, what another does."""


def is_member_permission(path: str) -> bool:
    """Whether `path` is one of MEMBER_PERMISSIONS, whatever its parameters are called."""
    return _PARAMETER.sub("{}", path) in _MEMBER_ROUTES


_MEMBER_ROUTES = frozenset(_PARAMETER.sub("{}", path) for path in MEMBER_PERMISSIONS)


def _permitting(row: Permission, memberships: Memberships) -> frozenset[str]:
    """The teams that let their members use the route of `row` on their keys."""
    paths = (row.path, _SAME_PERMISSION.get(row.path, row.path))
    if not any(is_member_permission(path) for path in paths):
        return frozenset()
    names = {_PARAMETER.sub("{}", path) for path in paths}
    return frozenset(
        team
        for team, given in memberships.member_permissions.items()
        if any(_PARAMETER.sub("{}", path) in names for path in given or DEFAULT_MEMBER_PERMISSIONS)
    )


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A caller on one route: who, how far, and where he belongs."""

    caller: Principal
    reach: Reach
    memberships: Memberships = Memberships()
    """Known where the reach depends on them: of users, not of administrators."""
    permitting_teams: frozenset[str] = frozenset()
    """Teams that let him, a plain member, use this route on their keys."""
    row: Permission | None = None
    """Of the table, for the route; None: on routes that are everybody's."""

    @property
    def all(self) -> bool:
        """Every object is within reach."""
        return self.reach is Reach.ALL


_WITH_MEMBERSHIPS = frozenset({Role.INTERNAL_USER, Role.INTERNAL_USER_VIEWER})


def needs_memberships(caller: Principal) -> bool:
    """Whether what a caller may do depends on where he belongs."""
    return caller.role in _WITH_MEMBERSHIPS and caller.user_id is not None


def standing(row: Permission, caller: Principal, memberships: Memberships) -> Standing:
    """How `caller` stands on the route of `row`. A viewer stays one in the teams he administers."""
    if row.master_only and caller.api_key != MASTER_KEY_NAME:
        return Standing(caller=caller, reach=Reach.NONE, row=row)
    if caller.role is not Role.INTERNAL_USER:
        return Standing(caller=caller, reach=row.reach_of({caller.role}), memberships=memberships, row=row)
    reach, permitting = row.reach_of({caller.role} | memberships.roles), _permitting(row, memberships)
    return Standing(
        caller=caller,
        reach=Reach.OWN if permitting and reach is Reach.NONE else reach,
        memberships=memberships,
        permitting_teams=permitting,
        row=row,
    )


def may_any(row: Permission, caller: Principal) -> bool:
    """Whether some membership could give `caller` this route: else nobody needs to look them up."""
    roles = {caller.role}
    if caller.role is Role.INTERNAL_USER:
        roles |= {Role.TEAM_ADMIN, Role.ORG_ADMIN}
    return row.reach_of(roles) is not Reach.NONE
