"""Days of users, teams and others, from the daily tables: implements `ports.reports.ActivityStore`."""

from typing import Any

from bursar.domain.reports import ActivityFilter, ActivityRow, Amounts
from bursar.store.named_sql import load_named_sql
from bursar.store.reports import ReportReader

_SQL = load_named_sql("activity")
_APART = 20
"""Keys, and users or teams, that are shown one by one where everything is shown at once."""


class PostgresActivity:
    """The tables `LiteLLM_DailyUserSpend`, `LiteLLM_DailyTeamSpend` and so on."""

    def __init__(self, reader: ReportReader) -> None:
        self._reader = reader

    async def page(self, asked: ActivityFilter, *, limit: int, offset: int) -> tuple[list[ActivityRow], int]:
        """See `ports.reports.ActivityStore.page`."""
        async with self._reader.reading() as connection:
            rows = await connection.fetch(_SQL["page"], *_arguments(asked), limit, offset)
            if not rows and offset:  # past the end: how many there are still has to be told
                first = await connection.fetchrow(_SQL["page"], *_arguments(asked), 1, 0)
                return [], 0 if first is None else first["rows"]
        return [_row(row) for row in rows], rows[0]["rows"] if rows else 0

    async def all(self, asked: ActivityFilter, *, others: str) -> list[ActivityRow]:
        """See `ports.reports.ActivityStore.all`."""
        async with self._reader.reading() as connection:
            return [_row(row) for row in await connection.fetch(_SQL["all"], *_arguments(asked), _APART, others)]


def _arguments(asked: ActivityFilter) -> tuple[object, ...]:
    return (
        asked.kind,
        asked.days.first,
        asked.days.last,
        None if asked.entities is None else list(asked.entities),
        list(asked.excluded),
        None if asked.api_keys is None else list(asked.api_keys),
        asked.model,
        None if asked.seen_entities is None else list(asked.seen_entities),
        None if asked.seen_keys is None else list(asked.seen_keys),
    )


def _row(row: Any) -> ActivityRow:  # noqa: ANN401  # asyncpg
    amounts = Amounts(*(row[name] for name in Amounts._fields))
    return ActivityRow(
        date=row["date"],
        entity=row["entity"],
        api_key=row["api_key"],
        model=row["model"],
        model_group=row["model_group"],
        provider=row["provider"],
        endpoint=row["endpoint"],
        mcp_server=row["mcp_server"],
        amounts=amounts,
    )
