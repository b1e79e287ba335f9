"""Teams in PostgreSQL: implements `management.stores.Teams`."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg

from bursar.domain.audit import Action, Actor
from bursar.domain.edits import TeamEdit
from bursar.domain.errors import InvalidRequest
from bursar.domain.limit_terms import terms_after
from bursar.domain.limits import Scope, ScopeKind, member_scope, team_period_scope
from bursar.domain.periods import Calendar
from bursar.domain.preconditions import check_unchanged
from bursar.domain.team_roster import Member
from bursar.store.audit_log import record
from bursar.store.budget_table import OF_MEMBERS, budget_with, drop_own, with_budgets
from bursar.store.database import Database
from bursar.store.keys import delete_keys
from bursar.store.limits import period_limits
from bursar.store.named_sql import load_named_sql
from bursar.store.named_users import SeesUser
from bursar.store.rows import Row, change, json_of, looking, record_of, records_of, writing
from bursar.store.scope_windows import begin_anew, count_in, lock_totals
from bursar.store.team_members import join, locked_team, team_row

_SQL = {
    **load_named_sql("teams"),
    **load_named_sql("tell_limits"),
    **{f"member_{name}": statement for name, statement in load_named_sql("team_members").items()},
}
_TABLE = "LiteLLM_TeamTable"
_DEFAULT_BUDGET = "team_member_budget_id"
"""In a team's metadata: the budget of members without one of their own."""

_OF_DELETED = ("deleted_at", "deleted_by")


class PostgresTeams:
    """The table `LiteLLM_TeamTable`, and what hangs on its rows."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    async def find(self, team_id: str) -> Row | None:
        """See `management.stores.Teams.find`."""
        async with looking(self._database) as connection:
            row = await connection.fetchrow(_SQL["find"], team_id)
        return None if row is None else team_row(record_of(row))

    async def create(
        self,
        team_id: str,
        edit: TeamEdit,
        members: Sequence[Member],
        *,
        check: Callable[[Row, Row | None], None],
        actor: Actor,
        sees: SeesUser | None = None,
    ) -> Row | None:
        """See `management.stores.Teams.create`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            if await connection.fetchrow(_SQL["find"], team_id) is not None:
                return None
            terms = terms_after({}, edit.changes, now=datetime.now(UTC), calendar=self._calendar)
            check(terms, await _organization(connection, terms))
            terms |= await self._beside(connection, team_id, {}, terms, edit, actor)
            if await connection.fetchval(_SQL["insert"], team_id, json_of(terms)) is None:
                raise asyncpg.UniqueViolationError  # another program was faster
            if members:
                team = await _found(connection, team_id)
                await join(connection, team, members, {}, calendar=self._calendar, actor=actor, sees=sees)
            row = await _found(connection, team_id)
            await record(connection, change(Action.CREATED, _TABLE, team_id, actor, after=row))
            await connection.execute(_SQL["keys_of_teams"], [team_id], None)
        return row

    async def update(
        self,
        team_id: str,
        decide: Callable[[Row | None], TeamEdit],
        *,
        check: Callable[[Row, Row, Row | None], None] | None = None,
        expected: datetime | None = None,
        action: Action = Action.UPDATED,
        actor: Actor,
    ) -> Row:
        """See `management.stores.Teams.update`."""
        edits: list[TeamEdit] = []
        async with writing(self._database) as connection:
            await lock_totals(connection)
            before = await locked_team(connection, team_id, lambda row: edits.append(decide(row)))
            [edit] = edits
            updated_at = before["updated_at"]
            check_unchanged(expected, updated_at if isinstance(updated_at, datetime) else None)
            terms = terms_after(before, edit.changes, now=datetime.now(UTC), calendar=self._calendar)
            after = {**before, **terms}
            if check is not None:
                check(before, after, await _organization(connection, after))
            terms |= await self._beside(connection, team_id, before, terms, edit, actor)
            await connection.execute(_SQL["update"], team_id, json_of(terms))
            row = await _found(connection, team_id)
            if row["budget_duration"] != before["budget_duration"]:
                await count_in(connection, [Scope(ScopeKind.TEAM, team_id)])
            await record(connection, change(action, _TABLE, team_id, actor, before=before, after=row))
            await connection.execute(_SQL["keys_of_teams"], [team_id], None)
        return row

    async def _beside(
        self,
        connection: Any,  # noqa: ANN401  # asyncpg
        team_id: str,
        before: Row,
        terms: Mapping[str, object],
        edit: TeamEdit,
        actor: Actor,
    ) -> Row:
        """What of an edit is kept in other tables; the columns that lead there."""
        found: Row = {}
        if edit.aliases is not None:
            found["model_id"] = await connection.fetchval(
                _SQL["put_aliases"], before.get("model_id"), json_of(edit.aliases), actor.name
            )
        old = before.get("metadata")
        default = old.get(_DEFAULT_BUDGET) if isinstance(old, Mapping) else None
        given = terms.get("metadata", old)
        metadata = dict(given) if isinstance(given, Mapping) else {}
        if default is not None:
            metadata[_DEFAULT_BUDGET] = default
        elif "metadata" in terms:
            metadata.pop(_DEFAULT_BUDGET, None)  # whoever names a budget here could name somebody else's
        if edit.member_terms:
            budget = await budget_with(
                connection,
                default,
                edit.member_terms,
                calendar=self._calendar,
                actor=actor,
                prefix=OF_MEMBERS,
            )
            assert budget is not None, "there are terms"
            metadata[_DEFAULT_BUDGET] = budget["budget_id"]
            await connection.execute(_SQL["member_give_default_budget"], team_id, budget["budget_id"], default)
        return found if metadata == old and "metadata" not in terms else {**found, "metadata": metadata}

    async def delete(
        self, team_ids: Sequence[str], *, check: Callable[[str, Row | None], None], actor: Actor
    ) -> list[Row]:
        """See `management.stores.Teams.delete`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            return [await self._delete(connection, team_id, check, actor) for team_id in sorted(set(team_ids))]

    async def _delete(
        self,
        connection: Any,  # noqa: ANN401  # asyncpg
        team_id: str,
        check: Callable[[str, Row | None], None],
        actor: Actor,
    ) -> Row:
        team = await locked_team(connection, team_id, lambda row: check(team_id, row))
        tokens = [row["token"] for row in await connection.fetch(_SQL["tokens"], team_id, None)]
        await delete_keys(connection, tokens=tokens, actor=actor)
        await connection.execute(_SQL["leave_users"], team_id, None)
        memberships = await connection.fetch(_SQL["delete_memberships"], team_id)
        await connection.execute(_SQL["delete"], team_id, actor.name, actor.api_key, actor.on_behalf_of)
        if team["model_id"] is not None:
            await connection.execute(_SQL["delete_aliases"], team["model_id"])
        metadata = team["metadata"]
        default = metadata.get(_DEFAULT_BUDGET) if isinstance(metadata, Mapping) else None
        await drop_own(connection, [default, *(row["budget_id"] for row in memberships)], actor=actor)
        members = [member_scope(team_id, row["user_id"]) for row in memberships]
        periods = period_limits(partial(team_period_scope, team_id), team["budget_limits"])
        await begin_anew(connection, [Scope(ScopeKind.TEAM, team_id), *(one.scope for one in periods), *members])
        await record(connection, change(Action.DELETED, _TABLE, team_id, actor, before=team))
        return team

    async def page(
        self,
        *,
        within: tuple[Sequence[str], Sequence[str]] | None,
        user_id: str | None = None,
        organization_id: str | None = None,
        team_id: str | None = None,
        alias: str | None = None,
        sort_by: str = "created_at",
        downwards: bool = True,
        limit: int | None = None,
        offset: int = 0,
        deleted: bool = False,
    ) -> tuple[list[Row], int]:
        """See `management.stores.Teams.page`."""
        teams, organizations = (None, None) if within is None else within
        async with looking(self._database) as connection:
            found = records_of(
                await connection.fetch(
                    _SQL["page"],
                    None if teams is None else list(teams),
                    list(organizations or ()),
                    user_id,
                    organization_id,
                    team_id,
                    alias,
                    sort_by,
                    downwards,
                    limit,
                    offset,
                    deleted,
                )
            )
        totals = [row.pop("total") for row in found]
        if not found and offset:  # beyond the last page the total is told all the same
            first, total = await self.page(
                within=within,
                user_id=user_id,
                organization_id=organization_id,
                team_id=team_id,
                alias=alias,
                limit=1,
                deleted=deleted,
            )
            return [], total if first else 0
        if not deleted:
            found = [{name: value for name, value in row.items() if name not in _OF_DELETED} for row in found]
        return [team_row(row) for row in found], int(str(totals[0])) if totals else 0

    async def keys(self, team_ids: Sequence[str]) -> list[Row]:
        """See `management.stores.Teams.keys`."""
        async with looking(self._database) as connection:
            return records_of(await connection.fetch(_SQL["keys"], list(team_ids)))

    async def memberships(self, team_ids: Sequence[str]) -> list[Row]:
        """See `management.stores.Teams.memberships`."""
        async with looking(self._database) as connection:
            found = records_of(await connection.fetch(_SQL["memberships"], list(team_ids)))
            return await with_budgets(connection, found)


async def _organization(connection: Any, team: Mapping[str, object]) -> Row | None:  # noqa: ANN401  # asyncpg
    """The one a team belongs to. Raises InvalidRequest: it does not exist."""
    organization_id = team.get("organization_id")
    if organization_id is None:
        return None
    found = await connection.fetchrow(_SQL["organization"], organization_id)
    if found is None:
        raise InvalidRequest(
            f"Organization not found for organization_id={organization_id}. Create it with `/organization/new`.",
            param="organization_id",
        )
    return record_of(found)


async def _found(connection: Any, team_id: str) -> Row:  # noqa: ANN401  # asyncpg
    return team_row(record_of(await connection.fetchrow(_SQL["find"], team_id)))
