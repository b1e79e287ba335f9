"""Looking at teams: one of them, and lists."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.authority import Reach, Standing
from bursar.domain.errors import NotFound
from bursar.management.fields import JsonObject, Name
from bursar.management.objects import changes_team, require, sees_key, sees_team
from bursar.management.route import Asked, Route
from bursar.management.stores import Row, Teams
from bursar.management.teams import TEAM, shown


class TeamQuery(msgspec.Struct, kw_only=True):
    """The team that is meant."""

    team_id: Name


class TeamInfo(msgspec.Struct, kw_only=True):
    """The answer of `/team/info`."""

    team_id: str
    team_info: JsonObject
    """The row of `LiteLLM_TeamTable`."""
    keys: list[JsonObject]
    """Those of the team's keys that the caller may see."""
    team_memberships: list[JsonObject]


class TeamsQuery(msgspec.Struct, kw_only=True):
    """Which teams."""

    user_id: str | None = None
    """A member of theirs."""
    organization_id: str | None = None


class PageQuery(msgspec.Struct, kw_only=True):
    """Which teams, and which page of them."""

    user_id: str | None = None
    organization_id: str | None = None
    team_id: str | None = None
    team_alias: str | None = None
    """A part of it."""
    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Meta(ge=1, le=100)] = 10
    sort_by: Literal["team_id", "team_alias", "created_at", "spend", "max_budget"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"
    status: Literal["active", "deleted"] = "active"
    """Deleted ones are shown to those who rule them without being in them."""


class TeamsPage(msgspec.Struct, kw_only=True):
    """A page of teams."""

    teams: list[JsonObject]
    total: int
    page: int
    page_size: int
    total_pages: int


class TeamViews:
    """Looking at teams."""

    def __init__(self, teams: Teams, *, available: Sequence[str] = ()) -> None:
        """`available`: teams that users may join by themselves."""
        self._teams = teams
        self._available = available

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="GET",
                path="/team/info",
                tag="teams",
                summary="Look at a team",
                endpoint=self.info,
                query=TeamQuery,
                answer=TeamInfo,
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/team/list",
                tag="teams",
                summary="List teams with their keys and memberships",
                endpoint=self.list_all,
                query=TeamsQuery,
                answer={"type": "array", "items": TEAM},
            ),
            Route(
                method="GET",
                path="/v2/team/list",
                tag="teams",
                summary="List teams by pages",
                endpoint=self.page,
                query=PageQuery,
                answer=TeamsPage,
            ),
            Route(
                method="GET",
                path="/team/available",
                tag="teams",
                summary="List teams that one may join",
                endpoint=self.available,
                answer={"type": "array", "items": TEAM},
            ),
        )

    async def info(self, asked: Asked[None, TeamQuery]) -> object:
        """Members see their own keys and their own membership; who administers the team sees all."""
        standing, team_id = asked.standing, asked.query.team_id
        team = await self._teams.find(team_id)
        require(
            standing.all if team is None else sees_team(standing, team), "You are not allowed to look at this team."
        )
        if team is None:
            raise NotFound(f"Team not found, passed team id: {team_id}.", param="team_id")
        [found] = await self._complete(standing, [team])
        return {
            "team_id": team_id,
            "team_info": _bare(found),
            "keys": found["keys"],
            "team_memberships": found["team_memberships"],
        }

    async def list_all(self, asked: Asked[None, TeamsQuery]) -> object:
        """All at once: with many teams, `/v2/team/list` is the better one."""
        rows, _ = await self._teams.page(
            within=_within(asked.standing),
            user_id=asked.query.user_id,
            organization_id=asked.query.organization_id,
        )
        return await self._complete(asked.standing, rows)

    async def page(self, asked: Asked[None, PageQuery]) -> object:
        """Newest first, unless asked for otherwise."""
        query = asked.query
        deleted, within = query.status == "deleted", _within(asked.standing)
        rows, total = await self._teams.page(
            within=within if within is None or not deleted else ([], within[1]),  # a new team of the id has new members
            deleted=deleted,
            user_id=query.user_id,
            organization_id=query.organization_id,
            team_id=query.team_id,
            alias=query.team_alias,
            sort_by=query.sort_by,
            downwards=query.sort_order == "desc",
            limit=query.page_size,
            offset=(query.page - 1) * query.page_size,
        )
        return TeamsPage(
            teams=[shown(row) for row in rows],
            total=total,
            page=query.page,
            page_size=query.page_size,
            total_pages=-(-total // query.page_size),
        )

    async def available(self, asked: Asked[None, None]) -> object:
        """Those of `default_internal_user_params.available_teams` in which the caller is not yet. Of each its name, and
        not who is in it."""
        wanted = [team for team in self._available if team not in asked.standing.memberships.teams]
        rows, _ = await self._teams.page(within=(wanted, ()))
        return [{"team_id": row["team_id"], "team_alias": row["team_alias"], "models": row["models"]} for row in rows]

    async def _complete(self, standing: Standing, teams: Sequence[Row]) -> list[Row]:
        """With keys and memberships, as far as the caller may see them."""
        ids = [str(team["team_id"]) for team in teams]
        keys = _grouped([key for key in await self._teams.keys(ids) if sees_key(standing, key)])
        memberships = _grouped(await self._teams.memberships(ids))
        own = standing.caller.user_id
        return [
            {
                **shown(team),
                "keys": keys.get(team["team_id"], []),
                "team_memberships": [
                    membership
                    for membership in memberships.get(team["team_id"], [])
                    if changes_team(standing, team) or membership["user_id"] == own
                ],
            }
            for team in teams
        ]


def _within(standing: Standing) -> tuple[Sequence[str], Sequence[str]] | None:
    """Which teams a caller sees."""
    if standing.all:
        return None
    memberships = standing.memberships
    administers = standing.reach.covers(Reach.ORGANIZATION)
    return list(memberships.teams), list(memberships.administered_organizations) if administers else []


def _bare(team: Row) -> Row:
    return {name: value for name, value in team.items() if name not in ("keys", "team_memberships")}


def _grouped(rows: Sequence[Row]) -> dict[object, list[Row]]:
    """By team."""
    found: dict[object, list[Row]] = {}
    for row in rows:
        found.setdefault(row["team_id"], []).append(row)
    return found
