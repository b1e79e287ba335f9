"""What bounds users whom somebody makes in organizations: the limits of those, and his own."""

from collections.abc import Sequence
from typing import Any

from bursar.store.named_sql import load_named_sql
from bursar.store.rows import Row, records_of

_SQL = load_named_sql("user_bounds")


async def bounds_of_new(connection: Any, organization_ids: Sequence[str], maker: str | None) -> list[Row]:  # noqa: ANN401
    """As `domain.user_bounds.narrowest` takes them. `maker`: the user who makes them."""
    return records_of(await connection.fetch(_SQL["bounds"], list(organization_ids), maker))
