"""The log of what administrators changed."""

from datetime import datetime
from typing import Protocol

import msgspec

AuditRow = dict[str, object]
"""A row of `LiteLLM_AuditLog` by column name."""


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which changes, in which order; None: any."""

    changed_by: str | None = None
    changed_by_api_key: str | None = None
    action: str | None = None
    table_name: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    """Not included."""
    sort_by: str = "updated_at"
    """A column; among equals, time decides."""
    downwards: bool = True


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the changes."""

    total: int
    """Of all that fit."""
    rows: list[AuditRow]


class AuditLog(Protocol):
    """What was changed by whom: PostgreSQL (`store.audit_log`)."""

    async def find(self, entry_id: str) -> AuditRow | None:
        """One entry. Raises StoreUnavailable."""

    async def page(self, wanted: AuditFilter, *, limit: int, offset: int) -> AuditPage:
        """Entries. Raises StoreUnavailable, StoreRefused."""
