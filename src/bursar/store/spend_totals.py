"""Sums of what was spent, by day, key, model, team …: implements `ports.reports.SpendTotalStore`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bursar.domain.money import without_dust
from bursar.domain.reports import ActiveTag, Days, Sight
from bursar.store.named_sql import load_named_sql
from bursar.store.reports import ReportReader
from bursar.store.rows import SUMS

_SQL = load_named_sql("spend_totals")

_CUSTOMERS = 50
"""That a report shows of each day."""
_TAGS = 1000
"""That a report shows of each period."""

Rows = list[dict[str, object]]


class PostgresSpendTotals:
    """The daily tables, and the counters of keys and users. All methods raise as `ReportReader.reading` does."""

    def __init__(self, reader: ReportReader) -> None:
        self._reader = reader

    async def total(self, days: Days) -> float:
        """Everything that was spent, in US dollars."""
        async with self._reader.reading() as connection:
            return without_dust(await connection.fetchval(_SQL["total"], *_span(days)))

    async def by_day(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows:
        """`date`, `spend`, `api_requests`, `total_tokens`."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_day"], *_span(days), _list(api_keys)))

    async def by_day_and_model(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows:
        """`date`, `model` (by its public name), `api_requests`, `total_tokens`."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_day_and_model"], *_span(days), _list(api_keys)))

    async def by_key(self, days: Days, *, limit: int) -> Rows:
        """`api_key`, `total_spend`; the most first."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_key"], *_span(days), limit))

    async def by_model(self, days: Days, *, limit: int) -> Rows:
        """`model`, `total_spend`; the most first."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_model"], *_span(days), limit))

    async def by_provider(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows:
        """`provider`, `spend`; the most first."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_provider"], *_span(days), _list(api_keys)))

    async def by_team(self, days: Days) -> Rows:
        """`date`, `team_id`, `team_alias`, `spend`."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_team"], *_span(days)))

    async def by_end_user(self, days: Days, *, api_keys: Sequence[str] | None, limit: int) -> Rows:
        """`end_user`, `total_count`, `total_spend`; the most first."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_end_user"], *_span(days), _list(api_keys), limit))

    async def by_tag(self, days: Days, *, tags: Sequence[str] | None = None) -> Rows:
        """`tag`, `log_count`, `total_spend`; the most first."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["by_tag"], *_span(days), _list(tags)))

    async def keys(self, sight: Sight, *, limit: int) -> Rows:
        """Rows of keys; first who spent most in the current period."""
        seen = (
            sight.everything,
            sight.user_id,
            list(sight.api_keys),
            list(sight.teams),
            list(sight.organizations),
        )
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["keys"], *seen, limit))

    async def users(self, *, user_id: str | None, limit: int) -> Rows:
        """Rows of users, without what they log in with; first who spent most in the current period."""
        async with self._reader.reading() as connection:
            return _dicts(await connection.fetch(_SQL["users"], user_id, limit))

    async def report_by_team(self, days: Days, *, team_id: str | None) -> bytes:
        """JSON: for each day the teams, what they spent, on which models by which keys."""
        async with self._reader.reading() as connection:
            return bytes(await connection.fetchval(_SQL["report_by_team"], *_span(days), team_id))

    async def report_by_customer(
        self, days: Days, *, customer_id: str | None, others: str, most: int = _CUSTOMERS
    ) -> bytes:
        """JSON: the same of end users, of each day the `most` that spent most, the rest as `others`."""
        arguments = (*_span(days), customer_id, most, others)
        async with self._reader.reading() as connection:
            return bytes(await connection.fetchval(_SQL["report_by_customer"], *arguments))

    async def report_by_key(self, days: Days, *, api_keys: Sequence[str] | None, user_id: str | None) -> bytes:
        """JSON: keys, what they spent, on which models."""
        arguments = (*_span(days), _list(api_keys), user_id)
        async with self._reader.reading() as connection:
            return bytes(await connection.fetchval(_SQL["report_by_key"], *arguments))

    async def summary(self, days: Days, *, tags: Sequence[str] | None) -> Rows:
        """See `ports.reports.TagUsageStore.summary`."""
        return [
            {
                "tag": row["tag"],
                "unique_users": row["users"],
                "total_calls": row["calls"],
                "successful_requests": row["successful"],
                "failed_requests": row["failed"],
                "total_tokens": row["tokens"],
                "total_spend": without_dust(row["spend"]),
            }
            for row in await self._usage_of_tags([days], tags)
        ]

    async def active_users(self, periods: Sequence[Days], *, tags: Sequence[str] | None) -> list[ActiveTag]:
        """See `ports.reports.TagUsageStore.active_users`."""
        rows = await self._usage_of_tags(periods, tags)
        return [ActiveTag(period=row["period"], tag=row["tag"], users=row["users"]) for row in rows]

    async def _usage_of_tags(self, periods: Sequence[Days], tags: Sequence[str] | None) -> list[Any]:
        firsts, lasts = [days.first for days in periods], [days.last for days in periods]
        async with self._reader.reading() as connection:
            return list(await connection.fetch(_SQL["usage_of_tags"], firsts, lasts, _list(tags), _TAGS))


def _span(days: Days) -> tuple[str, str]:
    return days.first, days.last


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


_JSON_COLUMNS = frozenset(
    {
        "aliases",
        "config",
        "permissions",
        "metadata",
        "model_spend",
        "model_max_budget",
        "router_settings",
        "budget_limits",
        "budget_fallbacks",
    }
)


def _dicts(rows: list[Any]) -> Rows:
    """JSON stays as it is stored, encoded; times are UTC."""
    found: Rows = []
    for row in rows:
        values: dict[str, object] = dict(row)
        for name, value in values.items():
            if isinstance(value, datetime):
                values[name] = value.replace(tzinfo=UTC)
            elif name in SUMS and isinstance(value, float):
                values[name] = without_dust(value)
            elif name in _JSON_COLUMNS and isinstance(value, str):
                values[name] = msgspec.Raw(value.encode())
        found.append(values)
    return found
