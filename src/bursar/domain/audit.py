"""A change that somebody made to what the gateway keeps: what the log of changes holds."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Action(StrEnum):
    """What was done, in LiteLLM's words."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    ROTATED = "rotated"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who does it."""

    api_key: str
    """The hash of the key it is done with, or the master key's name."""
    user_id: str | None = None
    on_behalf_of: str | None = None
    """Whom an administrator names."""

    @property
    def name(self) -> str:
        """As `changed_by`, `created_by` and `updated_by` have it."""
        return self.on_behalf_of or self.user_id or self.api_key


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to one row. Values as they stand in the table; secrets are masked when it is recorded."""

    action: Action
    table_name: str
    object_id: str
    actor: Actor
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
