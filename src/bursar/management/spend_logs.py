"""`/spend/logs*`: the log of calls, row by row, and by day."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.errors import InvalidRequest, NotFound
from bursar.domain.reports import COUNTED, Days, LogFilter, LogOrder, LogPage, LogPlace
from bursar.management.report_schemas import LOG_TEXTS, LOGS
from bursar.management.report_words import DATES_MISSING, DateText, days, hash_of, moment, report, sight_of
from bursar.management.route import Asked, Plain, Route
from bursar.ports.keys import KeyForms
from bursar.ports.reports import ReportNames, SpendLogStore

_LISTED_MAX = 5000
"""Rows of one list without pages."""
_TAG = "Spend reports"
_JSON = b"application/json"

PageNumber = Annotated[int, Meta(ge=1, le=1_000_000)]
LogPageSize = Annotated[int, Meta(ge=1, le=100)]
SortBy = Literal[
    "startTime", "endTime", "spend", "prompt_tokens", "completion_tokens", "total_tokens", "request_duration_ms"
]


class LogsQuery(msgspec.Struct, kw_only=True):
    """The query of `/spend/logs`."""

    api_key: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    start_date: DateText | None = None
    end_date: DateText | None = None
    summarize: bool = True
    """By day, where both dates are given."""


class LogPageQuery(msgspec.Struct, kw_only=True):
    """The query of `/spend/logs/v2`."""

    api_key: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    team_id: str | None = None
    min_spend: float | None = None
    max_spend: float | None = None
    start_date: DateText | None = None
    end_date: DateText | None = None
    page: PageNumber = 1
    page_size: LogPageSize = 50
    status_filter: Literal["success", "failure"] | None = None
    model: str | None = None
    model_id: str | None = None
    key_alias: str | None = None
    end_user: str | None = None
    session_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    sort_by: SortBy = "startTime"
    sort_order: Literal["asc", "desc"] = "desc"
    cursor: str | None = None
    """An earlier answer's `next_cursor`."""


class SessionQuery(msgspec.Struct, kw_only=True):
    """The query of `/spend/logs/session/ui`."""

    session_id: str
    page: PageNumber = 1
    page_size: LogPageSize = 50


class OneLogQuery(msgspec.Struct, kw_only=True):
    """The query of `/spend/logs/ui/{request_id}`."""

    start_date: DateText | None = None


class LogPageAnswer(msgspec.Struct, kw_only=True):
    """A page of rows."""

    data: msgspec.Raw
    total: int
    total_is_exact: bool
    page: int
    page_size: int
    total_pages: int
    next_cursor: str | None


class SpendLogEndpoints:
    """Each method answers one route."""

    def __init__(self, logs: SpendLogStore, names: ReportNames, forms: KeyForms) -> None:
        self._logs = logs
        self._names = names
        self._forms = forms

    @property
    def routes(self) -> Sequence[Route]:
        """See `route.Room`."""
        return (
            Route(
                method="GET",
                path="/spend/logs",
                tag=_TAG,
                summary="Rows of the log, newest first; with both dates, what was spent on each day",
                endpoint=self.logs,
                query=LogsQuery,
                answer=LOGS,
                errors=(400,),
            ),
            Route(
                method="GET",
                path="/spend/logs/v2",
                aliases=("/spend/logs/ui",),
                tag=_TAG,
                summary="Rows of the log, page by page",
                endpoint=self.page,
                query=LogPageQuery,
                answer=_PAGE_SCHEMA,
                errors=(400,),
            ),
            Route(
                method="GET",
                path="/spend/logs/session/ui",
                tag=_TAG,
                summary="Rows of a session, in their order",
                endpoint=self.session,
                query=SessionQuery,
                answer=_PAGE_SCHEMA,
                errors=(400,),
            ),
            Route(
                method="GET",
                path="/spend/logs/ui/{request_id}",
                tag=_TAG,
                summary="Prompt and answer of a row, where they are kept",
                endpoint=self.one,
                query=OneLogQuery,
                answer=LOG_TEXTS,
                errors=(400, 404),
            ),
        )

    async def logs(self, asked: Asked[None, LogsQuery]) -> object:
        """GET /spend/logs"""
        query = asked.query
        if query.start_date and query.end_date and query.summarize and not query.request_id:
            return await self._summary(asked)
        wanted = LogFilter(
            start=moment(query.start_date, param="start_date") if query.start_date else None,
            end=moment(query.end_date, param="end_date") if query.end_date else None,
            api_keys=hash_of(query.api_key, self._forms),
            user_id=query.user_id or None,
            request_id=query.request_id or None,
        )
        page = await self._page(asked, wanted, LogOrder(limit=_LISTED_MAX, counted=_LISTED_MAX))
        cut = page.below is not None
        headers = [(b"content-type", _JSON)] + ([(b"x-litellm-spend-logs-truncated", b"true")] if cut else [])
        return Plain(200, headers, page.rows)

    async def _summary(self, asked: Asked[None, LogsQuery]) -> object:
        """Whole days, up to the one before the last: a date means its midnight, as in the list of rows."""
        query = asked.query
        span = days(query.start_date, query.end_date)
        first, end = date.fromisoformat(span.first), date.fromisoformat(span.last)
        if first == end:
            return []
        last = end - timedelta(days=1)
        async with report():
            sums = await self._logs.summary(
                await sight_of(asked.standing, self._names),
                Days(first.isoformat(), last.isoformat()),
                api_keys=hash_of(query.api_key, self._forms),
                user_id=query.user_id or None,
            )
        found = {day.isoformat(): _Day() for day in _each(first, last)}
        for item in sums:
            found[item.date].take(item.of, item.name, item.spend)
        return [day.as_json(name) for name, day in found.items()]

    async def page(self, asked: Asked[None, LogPageQuery]) -> object:
        """GET /spend/logs/v2"""
        query = asked.query
        if not query.start_date or not query.end_date:
            raise InvalidRequest(DATES_MISSING, param="end_date" if query.start_date else "start_date")
        start, end = moment(query.start_date, param="start_date"), moment(query.end_date, param="end_date")
        if start > end:
            raise InvalidRequest("start_date is after end_date.", param="start_date")
        wanted = LogFilter(
            start=start,
            end=end,
            api_keys=hash_of(query.api_key, self._forms),
            key_alias=query.key_alias or None,
            user_id=query.user_id or None,
            team_id=query.team_id or None,
            end_user=query.end_user or None,
            session_id=query.session_id or None,
            request_id=query.request_id or None,
            status=query.status_filter,
            model=query.model or None,
            model_id=query.model_id or None,
            min_spend=query.min_spend,
            max_spend=query.max_spend,
            error_code=query.error_code or None,
            error_message=query.error_message or None,
        )
        order = LogOrder(
            sort_by=query.sort_by,
            ascending=query.sort_order == "asc",
            offset=_offset(query.page, query.page_size),
            limit=query.page_size,
            below=_place(query.cursor),
        )
        page = await self._page(asked, wanted, order)
        by_time = query.sort_by == "startTime" and query.sort_order == "desc"
        return _answer(page, query.page, query.page_size, cursor=page.below if by_time else None)

    async def session(self, asked: Asked[None, SessionQuery]) -> object:
        """GET /spend/logs/session/ui"""
        query = asked.query
        order = LogOrder(ascending=True, offset=_offset(query.page, query.page_size), limit=query.page_size)
        page = await self._page(asked, LogFilter(session_id=query.session_id), order)
        return _answer(page, query.page, query.page_size, cursor=None)

    async def one(self, asked: Asked[None, OneLogQuery]) -> object:
        """GET /spend/logs/ui/{request_id}"""
        wanted = LogFilter(request_id=asked.path["request_id"])
        page = await self._page(asked, wanted, LogOrder(limit=1, texts=True))
        if not page.count:
            raise NotFound("No such request in the spend logs.")
        [row] = msgspec.json.decode(page.rows, type=list[dict[str, msgspec.Raw]])
        return {name: row[name] for name in ("request_id", "messages", "response", "proxy_server_request")}

    async def _page(self, asked: Asked[None, object], wanted: LogFilter, order: LogOrder) -> LogPage:
        async with report():
            return await self._logs.page(await sight_of(asked.standing, self._names), wanted, order)


class _Day:
    """What was spent on a day."""

    def __init__(self) -> None:
        self._total = 0.0
        self._parts: dict[str, dict[str, float]] = {"user": {}, "model": {}, "api_key": {}}

    def take(self, of: str, name: str, spend: float) -> None:
        if of == "day":
            self._total = spend
        else:
            part = self._parts[of]
            part[name] = part.get(name, 0.0) + spend

    def as_json(self, day: str) -> dict[str, object]:
        """Keys stand beside the fields, under their hashes, as LiteLLM has them."""
        users, models, keys = self._parts.values()
        return {**keys, "startTime": day, "spend": self._total, "users": users, "models": models}


def _each(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _offset(page: int, size: int) -> int:
    if page * size > COUNTED:
        raise InvalidRequest(
            f"Pages by number end after {COUNTED} rows. Ask for fewer days, or go on with `next_cursor`.",
            param="page",
        )
    return (page - 1) * size


def _answer(page: LogPage, number: int, size: int, *, cursor: LogPlace | None) -> LogPageAnswer:
    return LogPageAnswer(
        data=msgspec.Raw(page.rows),
        total=page.found,
        total_is_exact=page.exact,
        page=number,
        page_size=size,
        total_pages=-(-page.found // size),
        next_cursor=None if cursor is None else f"{cursor.start.isoformat()}~{cursor.request_id}",
    )


def _place(cursor: str | None) -> LogPlace | None:
    if not cursor:
        return None
    start, _, request_id = cursor.partition("~")
    try:
        at = datetime.fromisoformat(start)
    except ValueError:
        at = None
    if at is None or at.tzinfo is not None:
        raise InvalidRequest("cursor: expected the `next_cursor` of an earlier page.", param="cursor")
    return LogPlace(at, request_id)


_PAGE_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "data": {"type": "array", "items": {"type": "object"}, "description": "Rows of LiteLLM_SpendLogs."},
        "total": {"type": "integer"},
        "total_is_exact": {"type": "boolean", "description": "False: there are more; so many were counted."},
        "page": {"type": "integer"},
        "page_size": {"type": "integer"},
        "total_pages": {"type": "integer"},
        "next_cursor": {"type": ["string", "null"]},
    },
}
