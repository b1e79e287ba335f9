"""`/tag/summary`, `/tag/dau`, `/tag/wau`, `/tag/mau`: how much each tag is used, and by how many users.

Tags that the gateway makes of user agents are among them: which programs people use, and how many people do.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from bursar.domain.reports import ActiveTag, Days
from bursar.management.fields import JsonObject
from bursar.management.report_words import DateText, days, report
from bursar.management.route import Asked, Route
from bursar.ports.reports import TagUsageStore

_TAG = "Spend reports"
_PERIODS = 7
"""That `/tag/dau` and its like go back, the one that ends today among them."""
_WEEK, _MONTH = 7, 30
_TEXT: JsonObject = {"type": "string"}
_COUNT: JsonObject = {"type": "integer"}
_MAYBE: JsonObject = {"type": ["string", "null"]}


def _results(optional: JsonObject, **always: JsonObject) -> JsonObject:
    """The schema of an answer: rows with these members, of which the `optional` ones may be missing."""
    row = {"type": "object", "properties": {**always, **optional}, "required": list(always)}
    return {"type": "object", "properties": {"results": {"type": "array", "items": row}}, "required": ["results"]}


_ACTIVE = _results({"period_start": _MAYBE, "period_end": _MAYBE}, tag=_TEXT, active_users=_COUNT, date=_TEXT)
_SUMMARY = _results(
    {},
    tag=_TEXT,
    unique_users=_COUNT,
    total_calls=_COUNT,
    successful_requests=_COUNT,
    failed_requests=_COUNT,
    total_tokens=_COUNT,
    total_spend={"type": "number"},
)


class TagFilter(msgspec.Struct, kw_only=True):
    """Which tags; none: all."""

    tag_filter: str | None = None
    """One tag."""
    tag_filters: list[str] | None = None
    """Several."""


class TagSummaryQuery(TagFilter, kw_only=True):
    """The query of `/tag/summary`: from a day to a day, both included."""

    start_date: DateText | None = None
    end_date: DateText | None = None


class TagUsageEndpoints:
    """Each method answers one route."""

    def __init__(self, usage: TagUsageStore) -> None:
        self._usage = usage

    @property
    def routes(self) -> Sequence[Route]:
        """See `route.Room`."""
        return (
            Route(
                method="GET",
                path="/tag/summary",
                tag=_TAG,
                summary="Users, calls, tokens and spend of each tag",
                endpoint=self.summary,
                query=TagSummaryQuery,
                answer=_SUMMARY,
                errors=(400,),
            ),
            _active("/tag/dau", "day", self.daily),
            _active("/tag/wau", "week", self.weekly),
            _active("/tag/mau", "thirty days", self.monthly),
        )

    async def summary(self, asked: Asked[None, TagSummaryQuery]) -> object:
        """GET /tag/summary"""
        span = days(asked.query.start_date, asked.query.end_date)
        async with report():
            return {"results": await self._usage.summary(span, tags=_tags(asked.query))}

    async def daily(self, asked: Asked[None, TagFilter]) -> object:
        """GET /tag/dau"""
        return await self._actives(asked.query, 1)

    async def weekly(self, asked: Asked[None, TagFilter]) -> object:
        """GET /tag/wau"""
        return await self._actives(asked.query, _WEEK)

    async def monthly(self, asked: Asked[None, TagFilter]) -> object:
        """GET /tag/mau"""
        return await self._actives(asked.query, _MONTH)

    async def _actives(self, query: TagFilter, length: int) -> object:
        spans = _spans(datetime.now(UTC).date(), length)
        async with report():
            rows = await self._usage.active_users(spans, tags=_tags(query))
        return {"results": [_shown(row, spans, length) for row in rows]}


def _active(path: str, period: str, endpoint: Callable[..., Awaitable[object]]) -> Route:
    return Route(
        method="GET",
        path=path,
        tag=_TAG,
        summary=f"Users of each tag in each {period} of the last {_PERIODS}",
        endpoint=endpoint,
        query=TagFilter,
        answer=_ACTIVE,
        errors=(400,),
    )


def _tags(query: TagFilter) -> list[str] | None:
    """What is asked for; None: all."""
    found = [*(query.tag_filters or ()), *([query.tag_filter] if query.tag_filter else ())]
    return found or None


def _spans(today: date, length: int) -> list[Days]:
    """Periods of `length` days, the latest, which ends today, first."""
    ends = [today - timedelta(days=length * number) for number in range(_PERIODS)]
    return [Days((end - timedelta(days=length - 1)).isoformat(), end.isoformat()) for end in ends]


def _shown(row: ActiveTag, spans: Sequence[Days], length: int) -> JsonObject:
    span = spans[row.period]
    whole = {"period_start": span.first, "period_end": span.last} if length > 1 else {}
    return {
        "tag": row.tag,
        "active_users": row.users,
        "date": span.last,
        "period_start": None,
        "period_end": None,
        **whole,
    }
