"""Organizations in PostgreSQL: implements `management.stores.Organizations`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.edits import BudgetedEdit
from bursar.domain.errors import InvalidRequest
from bursar.domain.limit_terms import terms_after
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.periods import Calendar
from bursar.domain.preconditions import check_unchanged
from bursar.domain.team_roster import Member
from bursar.store.audit_log import record
from bursar.store.budget_table import budget_after, budget_with, drop_own, empty_budget, with_budgets
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql
from bursar.store.named_users import identified, organizations_of
from bursar.store.rows import Row, change, json_of, looking, record_of, records_of, writing
from bursar.store.scope_windows import begin_anew, count_in, lock_totals
from bursar.store.user_bounds import bounds_of_new

_SQL = {**load_named_sql("organizations"), **load_named_sql("tell_limits")}
_TABLE = "LiteLLM_OrganizationTable"
_MEMBERS = "LiteLLM_OrganizationMembership"


class PostgresOrganizations:
    """The table `LiteLLM_OrganizationTable`, and who belongs to its rows."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    async def create(self, organization_id: str, edit: BudgetedEdit, *, actor: Actor) -> Row | None:
        """See `management.stores.Organizations.create`."""
        async with writing(self._database) as connection:
            if await connection.fetchrow(_SQL["find"], organization_id) is not None:
                return None
            budget_id = await budget_after(connection, None, edit, calendar=self._calendar, actor=actor)
            values = {**edit.changes, "budget_id": budget_id or await empty_budget(connection, actor=actor)}
            made = await connection.fetchrow(_SQL["insert"], organization_id, json_of(values), actor.name)
            if made is None:
                raise asyncpg.UniqueViolationError  # somebody else was faster: the budget goes with the transaction
            row = record_of(made)
            await record(connection, change(Action.CREATED, _TABLE, organization_id, actor, after=row))
            [shown] = await with_budgets(connection, [row])
        return {**shown, "members": [], "teams": []}

    async def update(
        self,
        organization_id: str,
        decide: Callable[[Row | None], BudgetedEdit],
        *,
        check: Callable[[Row, Row], None],
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """See `management.stores.Organizations.update`."""
        async with writing(self._database) as connection:
            await lock_totals(connection)
            found = await connection.fetchrow(_SQL["lock"], organization_id)
            before = None if found is None else record_of(found)
            edit = decide(before)
            assert before is not None, "decided"
            check_unchanged(expected, found["updated_at"])
            current = str(before["budget_id"])
            budget_id = await budget_after(connection, current, edit, calendar=self._calendar, actor=actor, check=check)
            values = {**edit.changes, "budget_id": budget_id or await empty_budget(connection, actor=actor)}
            await connection.execute(_SQL["update"], organization_id, json_of(values), actor.name)
            if budget_id != current:
                await count_in(connection, [Scope(ScopeKind.ORGANIZATION, organization_id)])
            await drop_own(connection, [current], actor=actor)
            row = record_of(await connection.fetchrow(_SQL["find"], organization_id))
            await record(connection, change(Action.UPDATED, _TABLE, organization_id, actor, before=before, after=row))
            await connection.execute(_SQL["keys_of_organization"], organization_id)
            [shown] = await self._complete(connection, [row])
        return shown

    async def delete(
        self, organization_ids: Sequence[str], *, check: Callable[[str, Row | None], None], actor: Actor
    ) -> list[Row]:
        """See `management.stores.Organizations.delete`."""
        gone = []
        async with writing(self._database) as connection:
            await lock_totals(connection)
            for organization_id in sorted(set(organization_ids)):
                found = await connection.fetchrow(_SQL["lock"], organization_id)
                row = None if found is None else record_of(found)
                check(organization_id, row)
                assert row is not None, "checked"
                await _delete(connection, organization_id, row, actor)
                gone.append(row)
        return gone

    async def find(
        self, *, within: Sequence[str] | None, organization_id: str | None = None, alias: str | None = None
    ) -> list[Row]:
        """See `management.stores.Organizations.find`."""
        async with looking(self._database) as connection:
            found = await connection.fetch(
                _SQL["list"], None if within is None else list(within), organization_id, alias
            )
            return await self._complete(connection, records_of(found))

    async def _complete(self, connection: Any, rows: Sequence[Row]) -> list[Row]:  # noqa: ANN401  # asyncpg
        """With budgets, members and teams."""
        ids = [row["organization_id"] for row in rows]
        members, teams = (
            _grouped(await connection.fetch(_SQL["members"], ids)),
            _grouped(await connection.fetch(_SQL["teams"], ids)),
        )
        return [
            {**row, "members": members.get(row["organization_id"], []), "teams": teams.get(row["organization_id"], [])}
            for row in await with_budgets(connection, rows)
        ]

    async def bounds_of_new(self, organization_id: str, maker: str | None) -> list[Row]:
        """See `management.stores.Organizations.bounds_of_new`."""
        async with looking(self._database) as connection:
            return await bounds_of_new(connection, [organization_id], maker)

    async def add_members(
        self,
        organization_id: str,
        members: Sequence[tuple[Member, str]],
        terms: Mapping[str, object],
        *,
        check: Callable[[Row | None], None],
        may_add: Callable[[str, Sequence[str]], None] | None,
        limits: Mapping[str, object],
        expected: datetime | None,
        actor: Actor,
    ) -> tuple[list[Row], list[Row]]:
        """See `management.stores.Organizations.add_members`."""
        memberships = []
        async with writing(self._database) as connection:
            found = await connection.fetchrow(_SQL["lock"], organization_id)
            organization = None if found is None else record_of(found)
            check(organization)
            assert organization is not None, "checked"
            _check_row(organization, expected)
            terms_of_new = terms_after({}, limits, now=datetime.now(UTC), calendar=self._calendar)
            may_use = None if may_add is None else self._may_use(connection, may_add)
            known = await identified(
                connection, [member for member, _ in members], actor=actor, may_use=may_use, limits=terms_of_new
            )
            for (member, user), (_, role) in zip(known, members, strict=True):
                budget = await budget_with(connection, None, terms, calendar=self._calendar, actor=actor)
                budget_id = None if budget is None else budget["budget_id"]
                made = await connection.fetchrow(
                    _SQL["insert_member"], organization_id, member.user_id, role, budget_id
                )
                if made is None:
                    raise InvalidRequest(
                        f"User {user['user_id']!r} is already in organization {organization_id!r}.", param="member"
                    )
                row = record_of(made)
                await record(connection, membership_change(Action.CREATED, row, actor, after=row))
                memberships.append(row)
            return [user for _, user in known], await with_budgets(connection, memberships)

    def _may_use(
        self,
        connection: Any,  # noqa: ANN401  # asyncpg
        may_add: Callable[[str, Sequence[str]], None],
    ) -> Callable[[Sequence[str]], Awaitable[None]]:
        async def asked(user_ids: Sequence[str]) -> None:
            for user_id, organizations in (await organizations_of(connection, user_ids)).items():
                may_add(user_id, organizations)

        return asked

    async def update_member(
        self,
        organization_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        role: str | None,
        terms: Mapping[str, object],
        check: Callable[[Row | None], None],
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """See `management.stores.Organizations.update_member`."""
        async with writing(self._database) as connection:
            found = await connection.fetchrow(_SQL["lock"], organization_id)
            check(None if found is None else record_of(found))
            before = await _member(connection, organization_id, user_id, user_email)
            _check_row(before, expected)
            named = before["budget_id"]
            current = None if named is None else str(named)
            budget = await budget_with(connection, current, terms, calendar=self._calendar, actor=actor)
            row = record_of(
                await connection.fetchrow(
                    _SQL["update_member"],
                    organization_id,
                    before["user_id"],
                    role or before["user_role"],
                    None if budget is None else budget["budget_id"],
                )
            )
            await record(connection, membership_change(Action.UPDATED, row, actor, before=before, after=row))
            [shown] = await with_budgets(connection, [row])
        return shown

    async def remove_member(
        self,
        organization_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        check: Callable[[Row | None], None],
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """See `management.stores.Organizations.remove_member`."""
        async with writing(self._database) as connection:
            found = await connection.fetchrow(_SQL["lock"], organization_id)
            check(None if found is None else record_of(found))
            before = await _member(connection, organization_id, user_id, user_email)
            _check_row(before, expected)
            await connection.fetch(_SQL["delete_memberships"], organization_id, before["user_id"])
            await drop_own(connection, [before["budget_id"]], actor=actor)
            await record(connection, membership_change(Action.DELETED, before, actor, before=before))
        return before


def _check_row(row: Row, expected: datetime | None) -> None:
    updated_at = row["updated_at"]
    check_unchanged(expected, updated_at if isinstance(updated_at, datetime) else None)


async def _member(
    connection: Any,  # noqa: ANN401  # asyncpg
    organization_id: str,
    user_id: str | None,
    user_email: str | None,
) -> Row:
    """A membership, locked. Raises InvalidRequest: there is none, or several."""
    address = (user_email or "").lower()
    found = await connection.fetch(_SQL["member"], organization_id, user_id, address)
    if len(found) != 1:
        what = "is not in" if not found else "is not the only one with this address in"
        raise InvalidRequest(
            f"User {user_id or user_email!r} {what} organization {organization_id!r}.", param="user_id"
        )
    return record_of(found[0])


async def _delete(connection: Any, organization_id: str, row: Row, actor: Actor) -> None:  # noqa: ANN401  # asyncpg
    if uses := await connection.fetch(_SQL["uses"], organization_id):
        by = ", ".join(f"{use['n']} {use['kind']}" for use in uses)
        raise InvalidRequest(
            f"Organization {organization_id!r} is in use ({by}). Delete them, or give them to another one, first.",
            param="organization_ids",
        )
    members = await connection.fetch(_SQL["delete_memberships"], organization_id, None)
    await connection.execute(_SQL["delete"], organization_id)
    await drop_own(connection, [row["budget_id"], *(member["budget_id"] for member in members)], actor=actor)
    await begin_anew(connection, [Scope(ScopeKind.ORGANIZATION, organization_id)])
    await record(connection, change(Action.DELETED, _TABLE, organization_id, actor, before=row))


def membership_change(
    action: Action, row: Row, actor: Actor, *, before: Row | None = None, after: Row | None = None
) -> Change:
    """What the log gets to know of a change to a membership of an organization."""
    object_id = f"{row['organization_id']}/{row['user_id']}"
    return change(action, _MEMBERS, object_id, actor, before=before, after=after)


def _grouped(rows: Sequence[asyncpg.Record]) -> dict[object, list[Row]]:
    """By organization."""
    found: dict[object, list[Row]] = {}
    for row in records_of(rows):
        found.setdefault(row["organization_id"], []).append(row)
    return found
