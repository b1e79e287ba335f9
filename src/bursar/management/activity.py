"""`/user/daily/activity` and its like for teams, tags …: spend, tokens and calls of each day, by model, key …"""

import asyncio
import operator
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from bursar.domain.errors import Forbidden
from bursar.domain.reports import ActivityFilter, ActivityRow, Amounts, KeyNames, Sight
from bursar.management.report_schemas import ACTIVITY
from bursar.management.report_words import OTHERS, DateText, days, hash_of, report, sight_of
from bursar.management.route import Asked, Route
from bursar.ports.keys import KeyForms
from bursar.ports.reports import ActivityStore, ReportNames

_TAG = "Spend reports"
_UNKNOWN = "unknown"
_NOBODY = "Unassigned"
_ROWS_AT_A_TIME = 500
"""Then calls have their turn."""

PageNumber = Annotated[int, Meta(ge=1, le=1_000_000)]
PageSize = Annotated[int, Meta(ge=1, le=1000)]


class ActivityQuery(msgspec.Struct, kw_only=True):
    """What all of them take."""

    start_date: DateText | None = None
    end_date: DateText | None = None
    model: str | None = None
    api_key: str | None = None
    page: PageNumber = 1
    page_size: PageSize = 50
    timezone: int | None = None
    """Passed over: the days are those of UTC, and cannot be cut anew."""


class UserActivityQuery(ActivityQuery, kw_only=True):
    """Of users."""

    user_id: str | None = None


class TeamActivityQuery(ActivityQuery, kw_only=True):
    """Of teams."""

    team_ids: list[str] | None = None
    exclude_team_ids: list[str] | None = None


class TagActivityQuery(ActivityQuery, kw_only=True):
    """Of tags."""

    tags: list[str] | None = None


class OrganizationActivityQuery(ActivityQuery, kw_only=True):
    """Of organizations."""

    organization_ids: list[str] | None = None
    exclude_organization_ids: list[str] | None = None


class CustomerActivityQuery(ActivityQuery, kw_only=True):
    """Of customers."""

    end_user_ids: list[str] | None = None
    exclude_end_user_ids: list[str] | None = None


class ActivityEndpoints:
    """Each method answers one route."""

    def __init__(self, activity: ActivityStore, names: ReportNames, forms: KeyForms) -> None:
        self._activity = activity
        self._names = names
        self._forms = forms

    @property
    def routes(self) -> Sequence[Route]:
        """See `route.Room`."""
        return (
            _route("/user/daily/activity", "users", self.users, UserActivityQuery),
            _route("/user/daily/activity/aggregated", "users, at once", self.users_at_once, UserActivityQuery),
            _route("/team/daily/activity", "teams", self.teams, TeamActivityQuery),
            _route("/tag/daily/activity", "tags", self.tags, TagActivityQuery),
            _route("/organization/daily/activity", "organizations", self.organizations, OrganizationActivityQuery),
            _route(
                "/customer/daily/activity",
                "customers",
                self.customers,
                CustomerActivityQuery,
                aliases=("/end_user/daily/activity",),
            ),
        )

    async def users(self, asked: Asked[None, UserActivityQuery]) -> object:
        """GET /user/daily/activity"""
        sight = await self._sight(asked)
        return await self._page(self._of_users(asked, sight), asked.query)

    async def users_at_once(self, asked: Asked[None, UserActivityQuery]) -> object:
        """GET /user/daily/activity/aggregated"""
        wanted = self._of_users(asked, await self._sight(asked))
        async with report():
            rows = await self._activity.all(wanted, others=OTHERS)
            names = await self._names.key_names(sorted({row.api_key for row in rows}))
        return await _shown(rows, names, {}, page=1, pages=1, more=False)

    async def teams(self, asked: Asked[None, TeamActivityQuery]) -> object:
        """GET /team/daily/activity"""
        sight, query = await self._sight(asked), asked.query
        if not sight.everything and not set(query.team_ids or ()) <= {*sight.teams, *sight.member_of}:
            raise Forbidden("You may look at the activity of your own teams only.")
        wanted = self._filter(
            "team",
            query,
            entities=query.team_ids,
            excluded=query.exclude_team_ids,
            seen=None if sight.everything else (sight.teams, sight.api_keys),
        )
        return await self._page(wanted, query, aliases=True)

    async def tags(self, asked: Asked[None, TagActivityQuery]) -> object:
        """GET /tag/daily/activity"""
        sight, query = await self._sight(asked), asked.query
        seen = None if sight.everything else ((), sight.api_keys)
        return await self._page(self._filter("tag", query, entities=query.tags, seen=seen), query)

    async def organizations(self, asked: Asked[None, OrganizationActivityQuery]) -> object:
        """GET /organization/daily/activity"""
        sight, query = await self._sight(asked), asked.query
        if not sight.everything and not set(query.organization_ids or ()) <= {*sight.organizations}:
            raise Forbidden("You may look at the activity of organizations that you administer only.")
        wanted = self._filter(
            "organization",
            query,
            entities=query.organization_ids,
            excluded=query.exclude_organization_ids,
            seen=None if sight.everything else (sight.organizations, ()),
        )
        return await self._page(wanted, query)

    async def customers(self, asked: Asked[None, CustomerActivityQuery]) -> object:
        """GET /customer/daily/activity"""
        sight, query = await self._sight(asked), asked.query
        wanted = self._filter(
            "customer",
            query,
            entities=query.end_user_ids,
            excluded=query.exclude_end_user_ids,
            seen=None if sight.everything else ((), sight.api_keys),
        )
        return await self._page(wanted, query)

    async def _sight(self, asked: Asked[None, ActivityQuery]) -> Sight:
        async with report():
            return await sight_of(asked.standing, self._names)

    def _of_users(self, asked: Asked[None, UserActivityQuery], sight: Sight) -> ActivityFilter:
        query = asked.query
        if not sight.everything and query.user_id not in (None, "", sight.user_id):
            raise Forbidden("You may look at your own activity only.")
        own = () if sight.user_id is None else (sight.user_id,)
        keys = sight.api_keys if sight.user_id is None else ()  # a key may have been somebody else's before
        return self._filter(
            "user",
            query,
            entities=[query.user_id] if query.user_id else None,
            seen=None if sight.everything else (own, keys),
        )

    def _filter(
        self,
        kind: str,
        query: ActivityQuery,
        *,
        entities: Sequence[str] | None,
        excluded: Sequence[str] | None = None,
        seen: tuple[tuple[str, ...], tuple[str, ...]] | None,
    ) -> ActivityFilter:
        return ActivityFilter(
            kind=kind,
            days=days(query.start_date, query.end_date),
            entities=tuple(entities) if entities else None,
            excluded=tuple(excluded or ()),
            api_keys=hash_of(query.api_key, self._forms),
            model=query.model or None,
            seen_entities=None if seen is None else seen[0],
            seen_keys=None if seen is None else seen[1],
        )

    async def _page(self, wanted: ActivityFilter, query: ActivityQuery, *, aliases: bool = False) -> object:
        offset = (query.page - 1) * query.page_size
        async with report():
            rows, count = await self._activity.page(wanted, limit=query.page_size, offset=offset)
            names = await self._names.key_names(sorted({row.api_key for row in rows}))
            teams = await self._names.team_aliases(sorted({row.entity for row in rows})) if aliases else {}
        pages = -(-count // query.page_size)
        return await _shown(rows, names, teams, page=query.page, pages=pages, more=query.page < pages)


def _route(
    path: str, of: str, endpoint: Callable[..., Awaitable[object]], query: type, *, aliases: tuple[str, ...] = ()
) -> Route:
    return Route(
        method="GET",
        path=path,
        tag=_TAG,
        summary=f"Daily activity of {of}",
        endpoint=endpoint,
        query=query,
        answer=ACTIVITY,
        written_freely=False,
        errors=(400,),
        aliases=aliases,
    )


_NOTHING = Amounts()
_SPEND, _PROMPT, _COMPLETION = (Amounts._fields.index(name) for name in ("spend", "prompt_tokens", "completion_tokens"))
_NANO = 9
"""Digits of a dollar. Rows come in any order, and what is added up in another differs in the digits behind them."""


class _Sum:
    """Rows added up. A long report adds some hundred thousand times: plain tuples are the quickest."""

    __slots__ = ("amounts",)

    def __init__(self) -> None:
        self.amounts: tuple[float, ...] = _NOTHING

    def add(self, more: Amounts) -> None:
        self.amounts = tuple(map(operator.add, self.amounts, more))

    def as_json(self) -> dict[str, object]:
        found: dict[str, object] = dict(zip(Amounts._fields, self.amounts, strict=True))
        found["spend"] = round(self.amounts[_SPEND], _NANO)
        found["total_tokens"] = self.amounts[_PROMPT] + self.amounts[_COMPLETION]
        return found


class _Part(_Sum):
    """One model, provider …, and its keys."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, _Sum] = defaultdict(_Sum)


_SECTIONS = ("models", "model_groups", "providers", "endpoints", "mcp_servers", "entities")


class _Day:
    """One day and its breakdown."""

    def __init__(self) -> None:
        self.total = _Sum()
        self.sections: dict[str, dict[str, _Part]] = {name: defaultdict(_Part) for name in _SECTIONS}
        self.keys: dict[str, _Sum] = defaultdict(_Sum)

    def add(self, row: ActivityRow) -> None:
        amounts = row.amounts
        self.total.add(amounts)
        self.keys[row.api_key].add(amounts)
        named = (
            row.model or _UNKNOWN,
            row.model_group or _UNKNOWN,
            row.provider or _UNKNOWN,
            row.endpoint,
            row.mcp_server,
            row.entity or _NOBODY,
        )
        for section, name in zip(self.sections.values(), named, strict=True):
            if name:
                part = section[name]
                part.add(amounts)
                part.keys[row.api_key].add(amounts)

    def as_json(self, names: Mapping[str, KeyNames], teams: Mapping[str, str | None]) -> dict[str, object]:
        breakdown: dict[str, object] = {"api_keys": _keys(self.keys, names)}
        for section, parts in self.sections.items():
            breakdown[section] = {
                name: {
                    "metrics": part.as_json(),
                    "metadata": {"team_alias": teams[name]} if section == "entities" and name in teams else {},
                    "api_key_breakdown": _keys(part.keys, names),
                }
                for name, part in parts.items()
            }
        return {"metrics": self.total.as_json(), "breakdown": breakdown}


def _keys(sums: Mapping[str, _Sum], names: Mapping[str, KeyNames]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, total in sums.items():
        called = names.get(key, KeyNames())
        metadata = {"key_alias": called.key_alias, "team_id": called.team_id}
        found[key] = {"metrics": total.as_json(), "metadata": metadata}
    return found


async def _shown(
    rows: Sequence[ActivityRow],
    names: Mapping[str, KeyNames],
    teams: Mapping[str, str | None],
    *,
    page: int,
    pages: int,
    more: bool,
) -> object:
    """The answer, made in steps, between which calls have their turn."""
    found: dict[str, _Day] = defaultdict(_Day)
    total = _Sum()
    for number, row in enumerate(rows, 1):
        found[row.date].add(row)
        total.add(row.amounts)
        if number % _ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
    results: list[dict[str, object]] = []
    for date, day in found.items():
        results.append({"date": date, **day.as_json(names, teams)})
        await asyncio.sleep(0)
    metadata = {f"total_{name}": value for name, value in total.as_json().items() if name != "total_tokens"}
    metadata["total_tokens"] = total.as_json()["total_tokens"]
    return {"results": results, "metadata": {**metadata, "page": page, "total_pages": pages, "has_more": more}}
