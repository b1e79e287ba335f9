"""What is said and answered at `/key/*`."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.management.key_fields import JsonObject, KeyFields

Name = Annotated[str, Meta(max_length=10_000)]
Page = Annotated[int, Meta(ge=1, le=1_000_000)]
PageSize = Annotated[int, Meta(ge=1, le=100)]

ROW: JsonObject = {"type": "object", "description": "The row of `LiteLLM_VerificationToken`, without the hash."}
MADE: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_VerificationToken`, and the plain key, which is shown this once.",
    "properties": {
        "key": {"type": "string"},
        "key_name": {"type": "string", "examples": ["sk-...9f2a"]},
        "token": {"type": "string", "description": "The key's hash."},
        "token_id": {"type": "string"},
        "expires": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["key", "key_name", "token", "token_id", "expires"],
}


class GenerateKey(KeyFields, kw_only=True):
    """The body of `/key/generate`."""

    key: str | None = None
    """A key of one's own: `sk-` and at least 13 more characters."""


class UpdateKey(KeyFields, kw_only=True):
    """The body of `/key/update`. What is not named stays as it is; null clears."""

    key: Name | None = None
    """The key or its hash; None: the one that has `key_alias`."""
    updated_at: datetime | None = None
    """That of the key this is based on: refused if it is another by now."""


class UpdateKeys(msgspec.Struct, kw_only=True):
    """The body of `/key/bulk_update`."""

    keys: Annotated[list[UpdateKey], Meta(min_length=1, max_length=500)]


class RegenerateKey(KeyFields, kw_only=True):
    """The body of `/key/regenerate`."""

    key: Name | None = None
    """The key or its hash, where the path does not say; None: the one that asks."""
    new_key: str | None = None
    """The new one; None: it is made up."""
    grace_period: str | None = None
    """How long the old one works, too, such as `24h`."""
    new_master_key: str | None = None
    updated_at: datetime | None = None


class DeleteKeys(msgspec.Struct, kw_only=True):
    """The body of `/key/delete`."""

    keys: list[str] | None = None
    key_aliases: list[str] | None = None


class OneKey(msgspec.Struct, kw_only=True):
    """A key or its hash."""

    key: Name
    updated_at: datetime | None = None
    """That of the key this is based on: refused if it is another by now."""


class SeveralKeys(msgspec.Struct, kw_only=True):
    """Keys, or their hashes."""

    keys: list[str]


class ResetSpend(msgspec.Struct, kw_only=True):
    """The body of `/key/{key}/reset_spend`."""

    reset_to: float
    """US dollars."""
    updated_at: datetime | None = None
    """Of the row that this is based on; another one is refused."""


class NamedKey(msgspec.Struct, kw_only=True):
    """The query of `/key/info`."""

    key: str | None = None
    """The key or its hash; None: the one that asks."""


class ListKeys(msgspec.Struct, kw_only=True):
    """Which keys, and which page of them."""

    page: Page = 1
    size: PageSize = 10
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    key_alias: str | None = None
    key_hash: str | None = None
    return_full_object: bool = False
    """Rows in place of hashes."""
    include_team_keys: bool = False
    """Also those of the teams that one administers, or that let their members list keys."""
    include_created_by_keys: bool = False
    """Also those that the user has made for others."""
    sort_by: Literal[
        "created_at", "updated_at", "key_alias", "spend", "max_budget", "expires", "user_id", "team_id", "token"
    ] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    expand: list[Literal["user"]] = []
    status: Literal["active", "expired", "revoked", "deleted"] | None = None


class ListAliases(msgspec.Struct, kw_only=True):
    """Which page of the aliases."""

    page: Page = 1
    size: PageSize = 50
    search: str | None = None
    """Part of them."""


class KeyList(msgspec.Struct, kw_only=True):
    """A page of keys."""

    keys: list[object]
    """Hashes, or rows."""
    total_count: int
    current_page: int
    total_pages: int


class AliasList(msgspec.Struct, kw_only=True):
    """A page of aliases."""

    aliases: list[str]
    total_count: int
    current_page: int
    total_pages: int
    size: int


class KeyDescription(msgspec.Struct, kw_only=True):
    """The answer of `/key/info`."""

    key: str
    """As it was asked for."""
    info: JsonObject
    """The row of `LiteLLM_VerificationToken`, without the hash; `litellm_budget_table`, `status`; and of a key that has
    such budgets `model_max_budget_usage` and `budget_limits_usage`: what is spent of them in the periods that run."""


class KeyDescriptions(msgspec.Struct, kw_only=True):
    """The answer of `/v2/key/info`."""

    key: list[str]
    """As they were asked for: those that there are."""
    info: list[JsonObject]


class DeletedKeys(msgspec.Struct, kw_only=True):
    """The answer of `/key/delete`."""

    deleted_keys: list[str]
    """Each as it was given."""


class BulkUpdate(msgspec.Struct, kw_only=True):
    """The answer of `/key/bulk_update`."""

    total_requested: int
    successful_updates: list[JsonObject]
    failed_updates: list[JsonObject]
    """The hash of each key, and why."""


class KeyHealth(msgspec.Struct, kw_only=True):
    """The answer of `/key/health`."""

    key: Literal["healthy"]
    logging_callbacks: JsonObject | None
    """Keys have no callbacks of their own here."""
