"""Internal users in PostgreSQL: implements `ports.users.UserAdministration`. Passwords never leave here."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.errors import Conflict, NotFound, StoreRefused
from bursar.domain.ids import KeyHash
from bursar.domain.limits import Scope, ScopeKind, member_scope
from bursar.domain.periods import Calendar
from bursar.domain.preconditions import check_unchanged
from bursar.domain.team_roster import TeamPlace
from bursar.ports.keys import KeyPlace, KeyRow, NewKey
from bursar.ports.users import UserFilter, UserPage, UserRow
from bursar.store.audit_log import record
from bursar.store.budget_table import drop_own
from bursar.store.database import Database
from bursar.store.keys import delete_keys, hold_organizations, insert_key, place_of, refusals, row_of
from bursar.store.limits import nano_of
from bursar.store.named_sql import load_named_sql
from bursar.store.named_users import check_nobodys
from bursar.store.organizations import membership_change
from bursar.store.rows import Row, change, records_of
from bursar.store.scope_windows import begin_anew, count_in, hold_totals, lock_totals, set_spent
from bursar.store.team_members import join_teams, not_in, team_row
from bursar.store.user_bounds import bounds_of_new

_SQL = {**load_named_sql("totals"), **load_named_sql("users")}
_KEYS_MAX = 1_000
"""Shown of one user."""


class PostgresUsers:
    """The table `LiteLLM_UserTable`."""

    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    async def insert(
        self,
        user: UserRow,
        *,
        teams: Sequence[TeamPlace],
        organizations: Sequence[str],
        key: NewKey | None,
        actor: Actor,
        asker: str | None = None,
        check: Callable[[KeyPlace], None] | None = None,
    ) -> tuple[UserRow, KeyRow | None]:
        """See `ports.users.UserAdministration.insert`."""
        user_id, email = str(user["user_id"]), user.get("user_email")
        with refusals():
            async with self._database.transaction() as connection:
                await (lock_totals if teams else hold_totals)(connection)
                of_key = None if key is None else key.organization_id
                await hold_organizations(connection, *organizations, of_key, asker=asker)
                await _check_known(connection, organizations)
                await _check_email(connection, email, user_id)
                found = await connection.fetchrow(_SQL["insert"], _json(user))
                if found is None:
                    raise Conflict(f"User with id {user_id} already exists", param="user_id")
                if asker is not None:
                    await check_nobodys(connection, [user_id])
                await join_teams(connection, user_id, _text(email), teams, calendar=self._calendar, actor=actor)
                belongs = records_of(await connection.fetch(_SQL["join_organizations"], user_id, list(organizations)))
                await record(connection, *(membership_change(Action.CREATED, one, actor, after=one) for one in belongs))
                if check is not None:
                    check(await place_of(connection, None if key is None else key.team_id, user_id, asker))
                row = user_of(await connection.fetchrow(_SQL["find"], user_id))
                await record(connection, user_change(Action.CREATED, row, actor))
                made = None
                if key is not None and (made := await insert_key(connection, key, actor)) is None:
                    raise StoreRefused(
                        f"Key with alias '{key.key_alias}' already exists. "
                        "Unique key aliases across all keys are required."
                    )
                await connection.execute(_SQL["tell"], user_id)  # keys can be older than the row of their owner
        return row, made

    async def bounds_of_new(self, organizations: Sequence[str], maker: str | None) -> list[UserRow]:
        """See `ports.users.UserAdministration.bounds_of_new`."""
        with refusals():
            async with self._database.connection() as connection:
                return await bounds_of_new(connection, organizations, maker)

    async def find(self, user_id: str) -> UserRow | None:
        """See `ports.users.UserAdministration.find`."""
        if "\x00" in user_id:
            return None
        row = await self._database.read_row(_SQL["find"], user_id)
        return None if row is None else user_of(row)

    async def find_by_email(self, email: str) -> UserRow | None:
        """See `ports.users.UserAdministration.find_by_email`."""
        if "\x00" in email:
            return None
        row = await self._database.read_row(_SQL["find_by_email"], email)
        return None if row is None else user_of(row)

    async def all_ids(self, limit: int) -> list[str]:
        """See `ports.users.UserAdministration.all_ids`."""
        async with self._database.connection() as connection:
            return [row["user_id"] for row in await connection.fetch(_SQL["all_ids"], limit)]

    async def count(self) -> int:
        """See `ports.users.UserAdministration.count`."""
        async with self._database.connection() as connection:
            return int(await connection.fetchval(_SQL["count"]))

    async def belongings(self, user_id: str) -> tuple[list[KeyRow], list[UserRow]]:
        """See `ports.users.UserAdministration.belongings`."""
        async with self._database.connection() as connection:
            keys = await connection.fetch(_SQL["keys"], user_id, _KEYS_MAX)
            teams = await connection.fetch(_SQL["teams"], user_id)
        return [row_of(row) for row in keys], [row_of(row) for row in teams]

    async def page(self, wanted: UserFilter, *, limit: int, offset: int) -> UserPage:
        """See `ports.users.UserAdministration.page`."""
        organizations = None if wanted.organizations is None else list(wanted.organizations)
        arguments = (organizations, _json(msgspec.structs.asdict(wanted)), wanted.sort_by, wanted.downwards)
        with refusals():
            async with self._database.connection() as connection:
                rows = await connection.fetch(_SQL["list"], *arguments, limit, offset)
                first = rows or (await connection.fetch(_SQL["list"], *arguments, 1, 0) if offset else ())
        users = [{name: value for name, value in user_of(row).items() if name != "total"} for row in rows]
        return UserPage(total=first[0]["total"] if first else 0, users=users)

    async def change(
        self,
        user_id: str,
        edit: Callable[[UserRow], Mapping[str, object]],
        *,
        teams: Sequence[TeamPlace] = (),
        actor: Actor,
        expected: datetime | None = None,
        spend: bool = False,
    ) -> UserRow | None:
        """See `ports.users.UserAdministration.change`."""
        with refusals():
            async with self._database.transaction() as connection:
                await lock_totals(connection)
                found = await connection.fetchrow(_SQL["lock"], user_id)
                if found is None:
                    return None
                before = user_of(found)
                check_unchanged(expected, found["updated_at"])
                changes = edit(before)
                if "user_email" in changes:
                    await _check_email(connection, changes["user_email"], user_id)
                new = await not_in(connection, user_id, teams)
                address = changes.get("user_email", before["user_email"])
                await join_teams(connection, user_id, _text(address), new, calendar=self._calendar, actor=actor)
                after = user_of(await connection.fetchrow(_SQL["update"], user_id, _json(changes)))
                if spend:
                    spent = after["spend"]
                    assert isinstance(spent, float)
                    await set_spent(connection, [Scope(ScopeKind.USER, user_id)], nano_of(spent) or 0)
                elif after["budget_duration"] != before["budget_duration"]:
                    await count_in(connection, [Scope(ScopeKind.USER, user_id)])
                await record(connection, user_change(Action.UPDATED, after, actor, before=before))
                if "password" in changes:
                    await end_sessions(connection, user_id, actor=actor)
                await connection.execute(_SQL["tell"], user_id)
        return after

    async def delete(self, user_ids: Sequence[str], *, actor: Actor) -> list[UserRow]:
        """See `ports.users.UserAdministration.delete`."""
        with refusals():
            async with self._database.transaction() as connection:
                await lock_totals(connection)
                known = {row["user_id"] for row in await connection.fetch(_SQL["lock_all"], list(user_ids))}
                if missing := [user for user in user_ids if user not in known]:
                    raise NotFound(f"User not found, passed user_id={missing[0]}")
                tokens = [KeyHash(row["token"]) for row in await connection.fetch(_SQL["tokens"], list(user_ids))]
                if tokens:
                    await delete_keys(connection, tokens=tokens, actor=actor)
                before = await _teams(connection, (), of=user_ids)
                left = await connection.fetch(_SQL["leave"], list(user_ids))
                await _record_rosters(connection, before, actor)
                belonged = records_of(await connection.fetch(_SQL["leave_organizations"], list(user_ids)))
                gone = [membership_change(Action.DELETED, one, actor, before=one) for one in belonged]
                await record(connection, *gone)
                members = [member_scope(row["team_id"], row["user_id"]) for row in left]
                await begin_anew(connection, [*(Scope(ScopeKind.USER, user_id) for user_id in user_ids), *members])
                await drop_own(connection, [row["budget_id"] for row in (*left, *belonged)], actor=actor)
                rows = [user_of(row) for row in await connection.fetch(_SQL["delete"], list(user_ids))]
                await record(connection, *(user_change(Action.DELETED, row, actor) for row in rows))
        return rows


async def _teams(connection: Any, team_ids: Sequence[str], *, of: Sequence[str] = ()) -> list[Row]:  # noqa: ANN401
    """Teams with these ids, and those that the users `of` are in."""
    found = await connection.fetch(_SQL["rosters"], list(team_ids), list(of))
    return [team_row(row) for row in records_of(found)]


async def _record_rosters(connection: Any, before: Sequence[Row], actor: Actor) -> None:  # noqa: ANN401  # asyncpg
    """Put on record how teams changed that were `before`."""
    after = {row["team_id"]: row for row in await _teams(connection, [str(row["team_id"]) for row in before])}
    changes = [
        change(Action.UPDATED, "LiteLLM_TeamTable", row["team_id"], actor, before=row, after=after[row["team_id"]])
        for row in before
        if row != after[row["team_id"]]
    ]
    await record(connection, *changes)


async def end_sessions(connection: Any, user_id: str, *, actor: Actor) -> None:  # noqa: ANN401  # asyncpg
    """Whoever logged in with a password that is none any more is out, but for the session that this is done with."""
    found = await connection.fetch(_SQL["sessions"], user_id, actor.api_key)
    await delete_keys(connection, tokens=[KeyHash(row["token"]) for row in found], actor=actor)


async def _check_known(connection: Any, organizations: Sequence[str]) -> None:  # noqa: ANN401  # asyncpg
    """Raises NotFound: there is no such organization."""
    found = await connection.fetch(_SQL["known_organizations"], list(organizations))
    known = {row["organization_id"] for row in found}
    if missing := [organization for organization in organizations if organization not in known]:
        raise NotFound(f"Organization not found, passed organization_id={missing[0]}", param="organizations")


async def _check_email(connection: Any, email: object, user_id: str) -> None:  # noqa: ANN401  # asyncpg
    """Raises Conflict: somebody else has it."""
    if email is None:
        return
    await connection.execute(_SQL["lock_emails"])
    if await connection.fetchval(_SQL["email_taken"], email, user_id):
        raise Conflict(f"User with email {email} already exists", param="user_email")


def user_change(action: Action, row: UserRow, actor: Actor, *, before: UserRow | None = None) -> Change:
    """What the log of changes gets to know."""
    gone = action is Action.DELETED
    return Change(
        action=action,
        table_name="LiteLLM_UserTable",
        object_id=str(row["user_id"]),
        actor=actor,
        before=row if gone else before,
        after=None if gone else row,
    )


def user_of(row: asyncpg.Record) -> UserRow:
    """Without the password, whose hash is nobody's business either."""
    return {name: value for name, value in row_of(row).items() if name != "password"}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _json(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()
