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


class Role(StrEnum):
    """What a caller is, by LiteLLM's names."""

    PROXY_ADMIN = "proxy_admin"
    INTERNAL_USER = "internal_user"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
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
    allowed_routes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Added to the tags of each call, from the key's and the team's metadata."""
    spend_logs_metadata: dict[str, object] = {}
    expires_at_s: float | None = None
    """Seconds since 1970."""
    blocked: bool = False
    team_blocked: bool = False
    spend_nano_usd: NanoUsd = NanoUsd(0)
    max_budget: float | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None
    limits: tuple[Limits, ...] = ()
    """Of the key, its owner, its team, the owner within the team, and the organization: those that have any."""
    model_limits: dict[str, Limits] = {}
    """Of the key's use of single models, by public name."""
