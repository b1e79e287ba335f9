"""`/global/*`, `/spend/keys`, `/spend/users`, `/spend/tags`: what was spent in all, by day, key, model, team …"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.errors import Forbidden
from bursar.domain.money import without_dust
from bursar.domain.reports import Days
from bursar.management.report_schemas import (
    BY_DAY,
    BY_END_USER,
    BY_KEY,
    BY_MODEL,
    BY_PROVIDER,
    BY_TEAM,
    CALLS,
    CALLS_BY_MODEL,
    DONE,
    KEYS,
    REPORT,
    TAG_NAMES,
    TAG_SHARES,
    TAGS,
    TOTAL,
    USERS,
    Schema,
)
from bursar.management.report_words import OTHERS, DateText, day, days, hash_of, last_days, report, sight_of
from bursar.management.route import Asked, Plain, Route
from bursar.ports.budgets import SpendReset
from bursar.ports.keys import KeyForms
from bursar.ports.reports import ReportNames, SpendTotalStore

_TAG = "Spend reports"
_LAST = 30
"""Days that reports without dates are about."""
_END_USERS = 100
_ALL_TAGS = "all-tags"
"""What LiteLLM's pages say in place of tags when they mean all of them."""

Limit = Annotated[int, Meta(ge=1, le=10_000)]


class KeyQuery(msgspec.Struct, kw_only=True):
    """One key, or all."""

    api_key: str | None = None


class LimitQuery(msgspec.Struct, kw_only=True):
    """So many at most."""

    limit: Limit = 10


class ManyQuery(msgspec.Struct, kw_only=True):
    """The query of `/spend/keys` and `/spend/users`."""

    user_id: str | None = None
    limit: Limit = 1000


class DaysQuery(msgspec.Struct, kw_only=True):
    """Days, both included; without them the last 30."""

    start_date: DateText | None = None
    end_date: DateText | None = None
    api_key: str | None = None


class TagsQuery(msgspec.Struct, kw_only=True):
    """Days, and some tags."""

    start_date: DateText | None = None
    end_date: DateText | None = None
    tags: list[str] | None = None


class EndUsersBody(msgspec.Struct, kw_only=True):
    """The body of `/global/spend/end_users`."""

    api_key: str | None = None
    startTime: DateText | None = None  # noqa: N815  # LiteLLM's name
    endTime: DateText | None = None  # noqa: N815


class ReportQuery(msgspec.Struct, kw_only=True):
    """The query of `/global/spend/report`."""

    start_date: DateText | None = None
    end_date: DateText | None = None
    group_by: Literal["team", "customer", "api_key"] = "team"
    api_key: str | None = None
    internal_user_id: str | None = None
    team_id: str | None = None
    customer_id: str | None = None


class SpendTotalEndpoints:
    """Each method answers one route."""

    def __init__(
        self,
        totals: SpendTotalStore,
        names: ReportNames,
        forms: KeyForms,
        reset: SpendReset,
        *,
        max_budget: float | None,
    ) -> None:
        """`max_budget`: of the whole gateway, in US dollars."""
        self._totals = totals
        self._names = names
        self._forms = forms
        self._reset = reset
        self._max_budget = max_budget

    @property
    def routes(self) -> Sequence[Route]:
        """See `route.Room`."""
        return (
            _get("/spend/keys", "Keys, by what they spent in their current period", self.keys, KEYS, ManyQuery),
            _get(
                "/spend/users",
                "Users, by what they spent in their current period",
                self.users,
                USERS,
                ManyQuery,
            ),
            _get("/spend/tags", "What was spent under each tag", self.tags, TAGS, TagsQuery),
            _get("/global/spend", "What was spent in the last 30 days, and the budget", self.spend, TOTAL),
            _get(
                "/global/spend/logs",
                "What was spent on each of the last 30 days",
                self.by_day,
                BY_DAY,
                KeyQuery,
            ),
            _get(
                "/global/spend/keys",
                "The keys that spent most in the last 30 days",
                self.by_key,
                BY_KEY,
                LimitQuery,
            ),
            _get("/global/spend/models", "The models most was spent on", self.by_model, BY_MODEL, LimitQuery),
            _get("/global/spend/teams", "What each team spent on each of the last 30 days", self.by_team, BY_TEAM),
            Route(
                method="POST",
                path="/global/spend/end_users",
                tag=_TAG,
                summary="The end users most was spent for",
                endpoint=self.by_end_user,
                body=EndUsersBody,
                answer=BY_END_USER,
                errors=(400,),
            ),
            _get("/global/spend/tags", "What was spent under each tag", self.by_tag, TAG_SHARES, TagsQuery),
            _get("/global/spend/all_tag_names", "All tags of calls in the last year", self.tag_names, TAG_NAMES),
            _get(
                "/global/spend/provider",
                "What was spent with each provider",
                self.by_provider,
                BY_PROVIDER,
                DaysQuery,
            ),
            _get(
                "/global/spend/report",
                "By day and team or customer, or by key",
                self.report,
                REPORT,
                ReportQuery,
            ),
            _get("/global/activity", "Calls and tokens of each day", self.activity, CALLS, DaysQuery),
            _get(
                "/global/activity/model",
                "Calls and tokens of each day, by model",
                self.activity_by_model,
                CALLS_BY_MODEL,
                DaysQuery,
            ),
            Route(
                method="POST",
                path="/global/spend/reset",
                tag=_TAG,
                summary="All keys and teams have spent nothing in their current periods; logs and daily totals stay",
                endpoint=self.reset,
                answer=DONE,
            ),
            Route(
                method="POST",
                path="/global/spend/refresh",
                tag=_TAG,
                summary="Have reports show the present",
                endpoint=self.refresh,
                answer=DONE,
            ),
        )

    async def keys(self, asked: Asked[None, ManyQuery]) -> object:
        """GET /spend/keys"""
        async with report():
            return await self._totals.keys(await sight_of(asked.standing, self._names), limit=asked.query.limit)

    async def users(self, asked: Asked[None, ManyQuery]) -> object:
        """GET /spend/users"""
        user_id = asked.query.user_id or None
        if not asked.standing.all:
            own = asked.caller.user_id
            if own is None or user_id not in (None, own):
                raise Forbidden("You may look at your own user's spend only.")
            user_id = own
        async with report():
            return await self._totals.users(user_id=user_id, limit=asked.query.limit)

    async def tags(self, asked: Asked[None, TagsQuery]) -> object:
        """GET /spend/tags"""
        return [
            {
                "individual_request_tag": row["tag"],
                "log_count": row["log_count"],
                "total_spend": row["total_spend"],
            }
            for row in await self._tags(asked.query)
        ]

    async def spend(self, _asked: Asked[None, None]) -> object:
        """GET /global/spend"""
        async with report():
            return {"spend": await self._totals.total(last_days(_LAST)), "max_budget": self._max_budget}

    async def by_day(self, asked: Asked[None, KeyQuery]) -> object:
        """GET /global/spend/logs"""
        async with report():
            rows = await self._totals.by_day(last_days(_LAST), api_keys=hash_of(asked.query.api_key, self._forms))
        return [{"date": row["date"], "spend": row["spend"]} for row in rows]

    async def by_key(self, asked: Asked[None, LimitQuery]) -> object:
        """GET /global/spend/keys"""
        async with report():
            rows = await self._totals.by_key(last_days(_LAST), limit=asked.query.limit)
            names = await self._names.key_names([str(row["api_key"]) for row in rows])
        for row in rows:
            called = names.get(str(row["api_key"]))
            row["key_alias"] = None if called is None else called.key_alias
            row["key_name"] = None if called is None else called.key_name
        return rows

    async def by_model(self, asked: Asked[None, LimitQuery]) -> object:
        """GET /global/spend/models"""
        async with report():
            return await self._totals.by_model(last_days(_LAST), limit=asked.query.limit)

    async def by_team(self, _asked: Asked[None, None]) -> object:
        """GET /global/spend/teams"""
        async with report():
            rows = await self._totals.by_team(last_days(_LAST))
        names = _team_names(rows)
        daily: dict[str, dict[str, object]] = {}
        totals: defaultdict[str, float] = defaultdict(float)
        for row in rows:
            name, spend = names[str(row["team_id"])], _number(row["spend"])
            daily.setdefault(str(row["date"]), {"date": row["date"]})[name] = spend
            totals[name] += spend
        ranked = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
        return {
            "daily_spend": list(daily.values()),
            "teams": [name for name, _ in ranked],
            "total_spend_per_team": [{"team_id": name, "total_spend": without_dust(total)} for name, total in ranked],
        }

    async def by_end_user(self, asked: Asked[EndUsersBody, None]) -> object:
        """POST /global/spend/end_users"""
        body = asked.body
        span = _span(body.startTime, body.endTime)
        async with report():
            keys = hash_of(body.api_key, self._forms)
            return await self._totals.by_end_user(span, api_keys=keys, limit=_END_USERS)

    async def by_tag(self, asked: Asked[None, TagsQuery]) -> object:
        """GET /global/spend/tags"""
        rows = await self._tags(asked.query)
        return {
            "spend_per_tag": [
                {"name": row["tag"], "spend": row["total_spend"], "log_count": row["log_count"]} for row in rows
            ]
        }

    async def tag_names(self, _asked: Asked[None, None]) -> object:
        """GET /global/spend/all_tag_names"""
        async with report():
            rows = await self._totals.by_tag(last_days(366))
        return {"tag_names": sorted(str(row["tag"]) for row in rows)}

    async def by_provider(self, asked: Asked[None, DaysQuery]) -> object:
        """GET /global/spend/provider"""
        query = asked.query
        async with report():
            return await self._totals.by_provider(
                _span(query.start_date, query.end_date), api_keys=hash_of(query.api_key, self._forms)
            )

    async def report(self, asked: Asked[None, ReportQuery]) -> object:
        """GET /global/spend/report"""
        query = asked.query
        span = days(query.start_date, query.end_date)
        async with report():
            if query.group_by == "api_key" or query.api_key or query.internal_user_id:
                keys = hash_of(query.api_key, self._forms)
                found = await self._totals.report_by_key(span, api_keys=keys, user_id=query.internal_user_id or None)
            elif query.group_by == "customer" or query.customer_id:
                found = await self._totals.report_by_customer(
                    span, customer_id=query.customer_id or None, others=OTHERS
                )
            else:
                found = await self._totals.report_by_team(span, team_id=query.team_id or None)
        return Plain(200, [(b"content-type", b"application/json")], found)

    async def activity(self, asked: Asked[None, DaysQuery]) -> object:
        """GET /global/activity"""
        query = asked.query
        async with report():
            rows = await self._totals.by_day(
                _span(query.start_date, query.end_date), api_keys=hash_of(query.api_key, self._forms)
            )
        return _activity(rows)

    async def activity_by_model(self, asked: Asked[None, DaysQuery]) -> object:
        """GET /global/activity/model"""
        query = asked.query
        async with report():
            rows = await self._totals.by_day_and_model(
                _span(query.start_date, query.end_date), api_keys=hash_of(query.api_key, self._forms)
            )
        models: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
        for row in rows:
            models[str(row["model"])].append(row)
        found = [{"model": model, **_activity(of_model)} for model, of_model in models.items()]
        return sorted(found, key=lambda item: -_number(item["sum_api_requests"]))

    async def reset(self, asked: Asked[None, None]) -> object:
        """POST /global/spend/reset"""
        await self._reset.reset(asked.actor)
        return {"message": "Spend for all API Keys and Teams reset successfully", "status": "success"}

    async def refresh(self, asked: Asked[None, None]) -> object:  # noqa: ARG002
        """Does nothing: reports show at any time what has been posted."""
        return {"message": "Reports are always up to date", "status": "success"}

    async def _tags(self, query: TagsQuery) -> list[dict[str, object]]:
        async with report():
            tags = None if _ALL_TAGS in (query.tags or ()) else query.tags or None
            return await self._totals.by_tag(_span(query.start_date, query.end_date), tags=tags)


def _get(
    path: str,
    summary: str,
    endpoint: Callable[..., Awaitable[object]],
    answer: Schema,
    query: type | None = None,
) -> Route:
    return Route(
        method="GET",
        path=path,
        tag=_TAG,
        summary=summary,
        endpoint=endpoint,
        query=query,
        answer=answer,
        errors=(400,),
    )


def _span(start: str | None, end: str | None) -> Days:
    """The days that are named; with none, the last 30; with one of them, up to today or from 30 days before."""
    if start and end:
        return days(start, end)
    if start:
        return days(start, max(datetime.now(UTC).date(), day(start, param="start_date")).isoformat())
    if end:
        last = day(end, param="end_date")
        first = last - timedelta(days=min(_LAST - 1, last.toordinal() - 1))
        return Days(first.isoformat(), last.isoformat())
    return last_days(_LAST)


def _activity(rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    return {
        "daily_data": [
            {"date": row["date"], "api_requests": row["api_requests"], "total_tokens": row["total_tokens"]}
            for row in rows
        ],
        "sum_api_requests": sum(int(_number(row["api_requests"])) for row in rows),
        "sum_total_tokens": sum(int(_number(row["total_tokens"])) for row in rows),
    }


def _team_names(rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Teams by id as people call them: by their alias, unless two have the same one."""
    aliases = {str(row["team_id"]): str(row["team_alias"] or "") for row in rows}
    count: defaultdict[str, int] = defaultdict(int)
    for alias in aliases.values():
        count[alias] += 1
    return {
        team: alias if alias and count[alias] == 1 and alias != "date" else team or "Unassigned"
        for team, alias in aliases.items()
    }


def _number(value: object) -> float:
    assert isinstance(value, int | float), "a sum"
    return value
