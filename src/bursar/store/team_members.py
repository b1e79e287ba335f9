"""Members of teams: implements `management.stores.TeamMembers`. Roster, users and memberships change together."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from bursar.domain.audit import Action, Actor
from bursar.domain.errors import InvalidRequest, NotFound
from bursar.domain.limit_terms import terms_after
from bursar.domain.limits import member_scope
from bursar.domain.money import NANO_PER_USD
from bursar.domain.periods import Calendar
from bursar.domain.preconditions import check_unchanged
from bursar.domain.team_roster import Member, Roster, TeamPlace, find_member, id_of, joined, roster_of
from bursar.store.audit_log import record
from bursar.store.budget_table import OWN, budget_with, drop_own, with_budgets
from bursar.store.database import Database
from bursar.store.keys import delete_keys
from bursar.store.named_sql import load_named_sql
from bursar.store.named_users import SeesUser, identified
from bursar.store.rows import Row, batches, change, json_of, looking, record_of, records_of, writing
from bursar.store.scope_windows import count_in, lock_totals, set_spent

_SQL = {
    **load_named_sql("team_members"),
    **load_named_sql("tell_limits"),
    **{f"team_{name}": statement for name, statement in load_named_sql("teams").items()},
    **{f"budget_{name}": statement for name, statement in load_named_sql("budget_table").items()},
}
_TABLE = "LiteLLM_TeamTable"


class PostgresTeamMembers:
    """Who is in which team, and what each may spend there."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    async def add(
        self,
        team_id: str,
        members: Sequence[Member],
        terms: Mapping[str, object],
        *,
        check: Callable[[Row | None], None],
        expected: datetime | None = None,
        actor: Actor,
        sees: SeesUser | None = None,
    ) -> tuple[Row, list[Row], list[Row]]:
        """See `management.stores.TeamMembers.add`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            team = await locked_team(connection, team_id, check, expected)
            users = await join(connection, team, members, terms, calendar=self._calendar, actor=actor, sees=sees)
            after = await _team(connection, team_id)
            await record(connection, change(Action.UPDATED, _TABLE, team_id, actor, before=team, after=after))
            memberships: list[Row] = []
            for some in batches([user["user_id"] for user in users]):
                found = records_of(await connection.fetch(_SQL["memberships"], team_id, some))
                memberships += await with_budgets(connection, found)
            return after, users, memberships

    async def remove(
        self,
        team_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        check: Callable[[Row | None], None],
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """See `management.stores.TeamMembers.remove`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            team = await locked_team(connection, team_id, check, expected)
            roster = roster_of(team)
            gone = find_member(roster, user_id=user_id, user_email=user_email, team_id=team_id)
            left = [entry for entry in roster if entry is not gone]
            await connection.execute(_SQL["team_update"], team_id, json_of({"members_with_roles": left}))
            after = await _team(connection, team_id)
            await record(connection, change(Action.UPDATED, _TABLE, team_id, actor, before=team, after=after))
            if gone.get("user_id") is not None:
                await _leave(connection, team_id, str(gone["user_id"]), actor)
        return after

    async def update(
        self,
        team_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        role: str | None,
        terms: Mapping[str, object],
        check: Callable[[Row | None], None],
        expected: datetime | None,
        actor: Actor,
    ) -> tuple[Row, Row, Row]:
        """See `management.stores.TeamMembers.update`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            team = await locked_team(connection, team_id, check, expected)
            roster = roster_of(team)
            entry = find_member(roster, user_id=user_id, user_email=user_email, team_id=team_id)
            moved = role is not None and role != entry.get("role")
            if moved:
                entry["role"] = role
            # even where only his limits change: memberships have no `updated_at` of their own
            await connection.execute(_SQL["team_update"], team_id, json_of({"members_with_roles": roster}))
            after = await _team(connection, team_id)
            if moved:
                await record(connection, change(Action.UPDATED, _TABLE, team_id, actor, before=team, after=after))
            member_id = id_of(entry)
            membership = await self._with_terms(connection, team, member_id, terms, actor)
            await connection.execute(_SQL["keys_of_teams"], [team_id], member_id)
            [found] = await with_budgets(connection, [membership])
        return after, entry, found

    async def _with_terms(
        self,
        connection: Any,  # noqa: ANN401  # asyncpg
        team: Row,
        user_id: str,
        terms: Mapping[str, object],
        actor: Actor,
    ) -> Row:
        """His membership, with limits of his own changed: those that he had, or the team's for its members."""
        team_id = str(team["team_id"])
        found = await connection.fetchrow(_SQL["membership"], team_id, user_id)
        before = {} if found is None else record_of(found)
        current = before.get("budget_id")
        starts = _default_budget(team) if current is None else str(current)
        budget = await budget_with(connection, starts, terms, calendar=self._calendar, actor=actor)
        budget_id = None if budget is None else str(budget["budget_id"])
        if found is None or budget_id != current:
            await connection.execute(_SQL["put_memberships"], team_id, [user_id], [budget_id])
            await count_in(connection, [member_scope(team_id, user_id)])
        after = record_of(await connection.fetchrow(_SQL["membership"], team_id, user_id))
        if after != before:
            object_id = f"{team_id}/{user_id}"
            told = change(Action.UPDATED, "LiteLLM_TeamMembership", object_id, actor, before=before, after=after)
            await record(connection, told)
        return after

    async def reset_spend(
        self,
        team_id: str,
        user_id: str,
        reset_to: float,
        *,
        check: Callable[[Row | None], None],
        expected: datetime | None,
        actor: Actor,
    ) -> Row | None:
        """See `management.stores.TeamMembers.reset_spend`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            team = await locked_team(connection, team_id, check, expected)
            if all(entry.get("user_id") != user_id for entry in roster_of(team)):
                return None
            await connection.execute(_SQL["put_memberships"], team_id, [user_id], [None])
            found = await connection.fetchrow(_SQL["membership"], team_id, user_id)
            before = record_of(found)
            if reset_to > found["spend"]:
                raise InvalidRequest(
                    f"reset_to ({reset_to}) must not be above what is spent ({found['spend']}).", param="reset_to"
                )
            await connection.execute(_SQL["set_spend"], team_id, user_id, reset_to)
            await set_spent(connection, [member_scope(team_id, user_id)], round(reset_to * NANO_PER_USD))
            after = record_of(await connection.fetchrow(_SQL["membership"], team_id, user_id))
            told = change(
                Action.UPDATED, "LiteLLM_TeamMembership", f"{team_id}/{user_id}", actor, before=before, after=after
            )
            await record(connection, told)
            await connection.execute(_SQL["keys_of_teams"], [team_id], user_id)
            [row] = await with_budgets(connection, [after])
        return row

    async def others(self, team_id: str, *, limit: int) -> list[Member]:
        """See `management.stores.TeamMembers.others`."""
        async with looking(self._database) as connection:
            rows = await connection.fetch(_SQL["everybody"], team_id, limit)
        return [Member(user_id=row["user_id"], user_email=row["user_email"]) for row in rows]


async def join(
    connection: Any,  # noqa: ANN401  # asyncpg
    team: Row,
    members: Sequence[Member],
    terms: Mapping[str, object],
    *,
    calendar: Calendar,
    actor: Actor,
    sees: SeesUser | None = None,
) -> list[Row]:
    """Put `members` into a team that is locked; users nobody knows are made. Their rows, as far as `sees` is for them.
    Raises InvalidRequest."""
    known = await identified(connection, members, actor=actor, sees=sees)
    entering = [member for member, _ in known]
    roster = joined(roster_of(team), entering, team_id=str(team["team_id"]))
    await _enter(connection, team, roster, entering, terms, calendar, actor)
    return [user for _, user in known]


async def join_teams(
    connection: Any,  # noqa: ANN401  # asyncpg
    user_id: str,
    user_email: str | None,
    places: Sequence[TeamPlace],
    *,
    calendar: Calendar,
    actor: Actor,
) -> None:
    """Put a user into teams that are new to him. Only after `lock_totals`. A roster that has his id keeps its entry.

    Raises NotFound: there is no such team; InvalidRequest: limits that cannot be.
    """
    for place in sorted(places, key=lambda place: place.team_id):
        team_id = place.team_id
        team = await locked_team(connection, team_id, partial(_check_there, team_id))
        member = Member(role=place.role, user_id=user_id, user_email=user_email)
        roster = roster_of(team)
        if all(entry.get("user_id") != user_id for entry in roster):
            roster = joined(roster, [member], team_id=team_id)
        await _enter(connection, team, roster, [member], place.terms, calendar, actor)
        after = await _team(connection, team_id)
        await record(connection, change(Action.UPDATED, _TABLE, team_id, actor, before=team, after=after))


async def not_in(connection: Any, user_id: str, places: Sequence[TeamPlace]) -> list[TeamPlace]:  # noqa: ANN401
    """Those of `places` that are in teams which do not have the user, or are not there. Only after `lock_totals`."""
    found = await connection.fetch(_SQL["teams_of"], user_id, [place.team_id for place in places])
    teams = {row["team_id"] for row in found}
    return [place for place in places if place.team_id not in teams]


def _check_there(team_id: str, team: Row | None) -> None:
    if team is None:
        raise NotFound(f"Team not found, passed team_id={team_id}", param="teams")


async def _enter(
    connection: Any,  # noqa: ANN401  # asyncpg
    team: Row,
    roster: Roster,
    entering: Sequence[Member],
    terms: Mapping[str, object],
    calendar: Calendar,
    actor: Actor,
) -> None:
    """The one way into a team: its `roster` with those who are `entering` it, each with a membership and its limits."""
    team_id, ids = str(team["team_id"]), [str(member.user_id) for member in entering]
    await connection.execute(_SQL["team_update"], team_id, json_of({"members_with_roles": roster}))
    await connection.execute(_SQL["join_users"], team_id, ids)
    budget_ids = await _budgets(connection, team, ids, terms, calendar, actor)
    await connection.execute(_SQL["put_memberships"], team_id, ids, budget_ids)
    await connection.execute(_SQL["keys_of_teams"], [team_id], ids[0] if len(ids) == 1 else None)


async def _budgets(
    connection: Any,  # noqa: ANN401  # asyncpg
    team: Row,
    user_ids: Sequence[str],
    terms: Mapping[str, object],
    calendar: Calendar,
    actor: Actor,
) -> list[str | None]:
    """Of new members: one each where limits are stated, else the team's for all its members, if it has one."""
    if not terms:
        default = _default_budget(team)
        exists = default is not None and await connection.fetch(_SQL["budget_find"], [default])
        return [default if exists else None] * len(user_ids)
    values = json_of(terms_after({}, terms, now=datetime.now(UTC), calendar=calendar))
    made: list[str | None] = []
    for some in batches(user_ids):
        ids = [f"{OWN}{uuid4()}" for _ in some]
        rows = records_of(await connection.fetch(_SQL["budget_insert"], ids, values, actor.name))
        told = [change(Action.CREATED, "LiteLLM_BudgetTable", row["budget_id"], actor, after=row) for row in rows]
        await record(connection, *told)
        made += ids
    return made


def _default_budget(team: Row) -> str | None:
    """Of its members who have none of their own."""
    metadata = team.get("metadata")
    default = metadata.get("team_member_budget_id") if isinstance(metadata, Mapping) else None
    return default if isinstance(default, str) else None


async def _leave(connection: Any, team_id: str, user_id: str, actor: Actor) -> None:  # noqa: ANN401  # asyncpg
    """What goes with a membership: keys, limits, and what counts as spent in it."""
    tokens = [row["token"] for row in await connection.fetch(_SQL["team_tokens"], team_id, [user_id])]
    await delete_keys(connection, tokens=tokens, actor=actor)
    await connection.execute(_SQL["team_leave_users"], team_id, [user_id])
    gone = await connection.fetch(_SQL["delete_memberships"], team_id, [user_id])
    await drop_own(connection, [row["budget_id"] for row in gone], actor=actor)
    await set_spent(connection, [member_scope(team_id, user_id)])


async def locked_team(
    connection: Any,  # noqa: ANN401  # asyncpg
    team_id: str,
    check: Callable[[Row | None], None],
    expected: datetime | None = None,
) -> Row:
    """A team's row, locked. `check` raises for one that is not there, or not to be changed by whoever asks.

    Raises StoreConflict: its `updated_at` is not `expected`.
    """
    found = await connection.fetchrow(_SQL["team_lock"], team_id)
    team = None if found is None else team_row(record_of(found))
    check(team)
    assert team is not None, "checked"
    updated_at = team["updated_at"]
    check_unchanged(expected, updated_at if isinstance(updated_at, datetime) else None)
    return team


async def _team(connection: Any, team_id: str) -> Row:  # noqa: ANN401  # asyncpg
    return team_row(record_of(await connection.fetchrow(_SQL["team_find"], team_id)))


def team_row(row: Row) -> Row:
    """A row of the table of teams, with its model aliases as LiteLLM shows them."""
    aliases = row.pop("model_aliases", None)
    model_id = row.get("model_id")
    return {**row, "litellm_model_table": None if model_id is None else {"id": model_id, "model_aliases": aliases}}
