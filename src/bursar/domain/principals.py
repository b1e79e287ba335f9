"""Who calls: the master key or a virtual key, with what the books and the permissions need to know about it."""

from enum import StrEnum

import msgspec

from bursar.domain.ids import KeyHash
from bursar.domain.limits import Limits
from bursar.domain.money import NanoUsd

MASTER_KEY_NAME = "litellm_proxy_master_key"
"""What LiteLLM's tables hold in place of a hash for calls made with the master key."""

DEFAULT_USER_ID = "default_user_id"
"""The master key's user, by LiteLLM's name."""


GATEWAY_USER = "litellm-proxy-budget"
"""The user row in which LiteLLM counts what goes through the whole gateway."""

RESERVED_USERS = frozenset({DEFAULT_USER_ID, MASTER_KEY_NAME, GATEWAY_USER})
"""Ids that mean somebody else than a user who is made by that name."""

DASHBOARD_TEAM = "litellm-dashboard"
"""The team of keys that stand for a user who has logged in, by LiteLLM's name. It has no row, and no other keys."""


class Role(StrEnum):
    """What a caller is, by LiteLLM's names. All but the last four stand in the table of users."""

    PROXY_ADMIN = "proxy_admin"
    PROXY_ADMIN_VIEWER = "proxy_admin_viewer"
    INTERNAL_USER = "internal_user"
    INTERNAL_USER_VIEWER = "internal_user_viewer"
    TEAM = "team"
    """Calls models, and nothing else."""
    CUSTOMER = "customer"
    """The same."""
    ORG_ADMIN = "org_admin"
    """A user, within an organization; see `Memberships`."""
    TEAM_ADMIN = "team_admin"
    """A user, within a team."""
    KEY = "key"
    """A virtual key that belongs to no user."""
    NOBODY = "nobody"
    """Whoever calls what is open to all."""


_OF_MEMBERS = frozenset({Role.ORG_ADMIN, Role.TEAM_ADMIN})
_OF_USERS = frozenset(Role) - _OF_MEMBERS - {Role.KEY, Role.NOBODY}


def role_of(user_id: str | None, user_role: str | None) -> Role:
    """The role of a key whose owner is `user_id` with the role `user_role`, as the tables have it.

    A role nobody knows gives no more than a key without an owner has; an owner without one is a user like most.
    """
    if user_id is None:
        return Role.KEY
    if user_role is None or user_role in _OF_MEMBERS:  # which mean something within a team or an organization alone
        return Role.INTERNAL_USER
    return Role(user_role) if user_role in _OF_USERS else Role.KEY


class Principal(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # there are many, and none refers back to itself
    """One caller, as of the last look into the database."""

    role: Role
    api_key: KeyHash | str
    """The hash of a virtual key; MASTER_KEY_NAME for the master key."""
    key_name: str | None = None
    """`sk-...` and the key's last four characters."""
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    team_alias: str | None = None
    organization_id: str | None = None
    models: tuple[str, ...] = ()
    """What may be called; empty: everything."""
    team_models: tuple[str, ...] = ()
    model_lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Further lists of what may be called, none of them empty, and whose they are: `user`, `org`."""
    aliases: dict[str, str] = {}
    """Names that mean a model of another name, by the key's and its team's word."""
    enforced_params: tuple[str, ...] = ()
    """What every call has to say: members of the body, and with a dot members of those."""
    allowed_routes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Added to the tags of each call, from the key's and the team's metadata."""
    spend_logs_metadata: dict[str, object] = {}
    expires_at_s: float | None = None
    """Seconds since 1970."""
    replaced: bool = False
    """It was asked with a secret that has been replaced, and works for a while yet."""
    blocked: bool = False
    team_blocked: bool = False
    spend_nano_usd: NanoUsd = NanoUsd(0)
    max_budget: float | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None
    limits: tuple[Limits, ...] = ()
    """Of the key, its owner, its team, the owner within the team, and the organization: those that have any."""
    tag_limits: dict[str, Limits] = {}
    """Of the key's calls with single tags."""
    end_user_limits: Limits | None = None
    """Of each end user of the key's calls that has none of its own; whose id is to be put in."""


class Memberships(msgspec.Struct, frozen=True, kw_only=True):
    """Where a user belongs, and what follows from it."""

    teams: frozenset[str] = frozenset()
    """Those he is a member of, as whatever."""
    administered_teams: frozenset[str] = frozenset()
    """Those among them in which he is an admin."""
    organizations: frozenset[str] = frozenset()
    administered_organizations: frozenset[str] = frozenset()
    teams_of_organizations: frozenset[str] = frozenset()
    """All teams of the organizations he administers."""
    member_permissions: dict[str, frozenset[str]] = {}
    """Of the teams in which he is a plain member: what members may do with the team's keys, as paths of routes. None of
    them: what they may by default."""

    @property
    def roles(self) -> frozenset[Role]:
        """What he is beside what the table of users says."""
        found = set()
        if self.administered_teams:
            found.add(Role.TEAM_ADMIN)
        if self.administered_organizations:
            found.add(Role.ORG_ADMIN)
        return frozenset(found)
