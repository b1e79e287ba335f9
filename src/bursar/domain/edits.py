"""What is to become of a row, and of what belongs to it and is kept in other tables."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType


class TeamEdit(msgspec.Struct, frozen=True, kw_only=True):
    """Of a team."""

    changes: Mapping[str, object] = {}
    """Columns of the row."""
    aliases: Mapping[str, object] | None = None
    """Model aliases; None: they stay as they are."""
    member_terms: Mapping[str, object] = {}
    """Limits of each member that has none of their own."""


class BudgetedEdit(msgspec.Struct, frozen=True, kw_only=True):
    """Of a row whose limits are in a budget that it names."""

    changes: Mapping[str, object] = {}
    """Columns of the row."""
    budget_id: str | UnsetType | None = UNSET
    """Another budget; None: it has none any more."""
    terms: Mapping[str, object] = {}
    """Limits that are to be the row's own."""
