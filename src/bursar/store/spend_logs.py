"""Pages of the log, and its daily sums: implements `ports.reports.SpendLogStore`."""

from datetime import datetime
from typing import Any

from bursar.domain.money import without_dust
from bursar.domain.reports import Days, LogFilter, LogOrder, LogPage, LogPlace, Sight, SpendOnDay
from bursar.store.named_sql import load_named_sql
from bursar.store.reports import ReportReader

_LOOKED_THROUGH = 100_000
"""Rows that are looked at, the newest first, for what no index finds."""
_MANY_KEYS = 1000
"""With more keys than this, going by time is no slower."""
_OF_A_KEY, _OF_KEYS = 200, 20_000
"""Rows that are looked at of each key, at least, and of few keys together."""
_FIRST_DAY, _LAST_DAY = "0000-01-01", "9999-12-31"

_SQL = {**load_named_sql("spend_logs"), **load_named_sql("reports")}
_GROUPED = {0b111: "day", 0b011: "user", 0b101: "model", 0b110: "api_key"}
"""By GROUPING(user_id, model, api_key): a bit is set for what is not grouped by."""
_NAMED_BY = {"day": "date", "user": "user_id", "model": "model", "api_key": "api_key"}


class PostgresSpendLogs:
    """The table `LiteLLM_SpendLogs`."""

    def __init__(self, reader: ReportReader) -> None:
        self._reader = reader

    async def page(self, sight: Sight, asked: LogFilter, order: LogOrder) -> LogPage:
        """See `ports.reports.SpendLogStore.page`."""
        async with self._reader.reading() as connection:
            keys = await _keys(connection, sight, asked)
            scan = order.counted + 1 if asked.by_index else _LOOKED_THROUGH
            since = await _since(connection, keys, asked, order)
            row = await connection.fetchrow(
                _SQL["page"],
                since or asked.start,
                asked.end,
                keys,
                sight.everything,
                sight.user_id,
                list(sight.api_keys),
                list(sight.teams),
                list(sight.organizations),
                asked.user_id,
                asked.team_id,
                asked.end_user,
                asked.session_id,
                asked.request_id,
                None if order.below is None else order.below.start,
                None if order.below is None else order.below.request_id,
                scan,
                asked.status,
                asked.model,
                asked.model_id,
                asked.min_spend,
                asked.max_spend,
                asked.error_code,
                asked.error_message,
                order.counted + 1,
                order.sort_by,
                1 if order.ascending else -1,
                order.limit,
                order.offset,
                order.texts,
            )
        all_seen = row["seen"] < scan and since is None
        below = None
        if row["found"] > order.offset + row["shown"]:
            below = LogPlace(*row["last_shown"])
        elif row["seen"] == scan:
            below = LogPlace(*row["last_seen"])
        elif since is not None:
            below = LogPlace(since, "")
        return LogPage(
            rows=row["rows"],
            count=row["shown"],
            found=min(row["found"], order.counted),
            exact=all_seen and row["found"] <= order.counted,
            below=below,
        )

    async def summary(
        self, sight: Sight, days: Days, *, api_keys: tuple[str, ...] | None, user_id: str | None
    ) -> list[SpendOnDay]:
        """See `ports.reports.SpendLogStore.summary`."""
        async with self._reader.reading() as connection:
            rows = await connection.fetch(
                _SQL["summary"],
                sight.everything,
                sight.user_id,
                list(sight.api_keys),
                days.first,
                days.last,
                None if api_keys is None else list(api_keys),
                user_id,
            )
        found = []
        for row in rows:
            of = _GROUPED[row["grouped"]]
            found.append(SpendOnDay(row["date"], of, row[_NAMED_BY[of]] or "", without_dust(row["spend"])))
        return found


async def _keys(connection: Any, sight: Sight, asked: LogFilter) -> list[str] | None:  # noqa: ANN401  # asyncpg
    """The keys whose rows can be among those asked for; None: look at all."""
    among: set[str] | None = None if asked.api_keys is None else set(asked.api_keys)
    if asked.key_alias is not None:
        called = {row["token"] for row in await connection.fetch(_SQL["keys_called"], asked.key_alias)}
        among = called if among is None else among & called
    if among is not None:
        return sorted(among)
    if asked.request_id is not None or asked.session_id is not None or asked.end_user is not None:
        return None  # an index of its own finds them
    users, teams, organizations = _whose(sight, asked)
    if users is None:
        return None
    first, last = _day(asked.start, _FIRST_DAY), _day(asked.end, _LAST_DAY)
    rows = await connection.fetch(_SQL["keys_with_rows"], users, teams, organizations, first, last)
    keys = {row["api_key"] for row in rows}
    if not sight.everything and asked.user_id is None and asked.team_id is None:
        keys |= set(sight.api_keys)
    return sorted(keys) if len(keys) <= _MANY_KEYS else None


async def _since(
    connection: Any,  # noqa: ANN401  # asyncpg
    keys: list[str] | None,
    asked: LogFilter,
    order: LogOrder,
) -> datetime | None:
    """From when on the rows of `keys` are looked at, lest they are sorted all; None: from `asked.start` on."""
    if not keys:
        return None
    end = asked.end if order.below is None else min(asked.end or order.below.start, order.below.start)
    each = max(_OF_A_KEY, _OF_KEYS // len(keys))
    found = await connection.fetchval(_SQL["since"], keys, asked.start, end, each, order.counted + 1)
    return found if isinstance(found, datetime) else None


def _whose(sight: Sight, asked: LogFilter) -> tuple[list[str] | None, list[str], list[str]]:
    """The users, teams and organizations whose rows are asked for; no list of users: everybody's."""
    if asked.user_id is not None:
        return [asked.user_id], [], []
    if asked.team_id is not None:
        return [], [asked.team_id], []
    if sight.everything:
        return None, [], []
    return [] if sight.user_id is None else [sight.user_id], list(sight.teams), list(sight.organizations)


def _day(moment: datetime | None, otherwise: str) -> str:
    return otherwise if moment is None else moment.strftime("%Y-%m-%d")
