"""Where users belong: teams and organizations, from LiteLLM's tables."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bursar.domain.principals import Memberships
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("memberships")


class PostgresMemberships:
    """Implements `ports.users.MembershipLookup`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, user_id: str) -> Memberships:
        """The memberships of a user, empty for one nobody knows. Raises StoreUnavailable."""
        if "\x00" in user_id:  # no text in the database has it
            return Memberships()
        return _memberships(await self._database.read_row(_SQL["memberships_of"], user_id))


async def memberships_of(connection: Any, user_id: str) -> Memberships:  # noqa: ANN401  # asyncpg
    """The same as `PostgresMemberships.find`, within a transaction."""
    return _memberships(await connection.fetchrow(_SQL["memberships_of"], user_id))


def _memberships(row: Mapping[str, Any] | None) -> Memberships:
    assert row is not None, "it is about any user"
    found = dict(row)
    permissions = msgspec.json.decode(found.pop("member_permissions") or "{}", type=dict[str, frozenset[str]])
    return Memberships(**{name: frozenset(ids) for name, ids in found.items()}, member_permissions=permissions)
