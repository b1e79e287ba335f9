"""Who may log in, and their sessions: implements `ports.users.LoginStore`."""

from datetime import UTC, datetime
from typing import Any

from bursar.domain.audit import Action, Actor
from bursar.domain.ids import KeyHash
from bursar.domain.principals import MASTER_KEY_NAME
from bursar.ports.users import LoginUser
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql
from bursar.store.scope_windows import lock_totals
from bursar.store.users import end_sessions, user_change, user_of

_SQL = load_named_sql("logins")


class PostgresLogins:
    """The tables of users and of virtual keys, as far as logins need them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, name: str) -> LoginUser | None:
        """See `ports.users.LoginStore.find`."""
        if "\x00" in name:
            return None
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["find_user"], name)
        if len(rows) != 1:
            return None
        (row,) = rows
        return LoginUser(
            user_id=row["user_id"], email=row["user_email"], role=row["user_role"], password=row["password"]
        )

    async def open_session(
        self,
        user_id: str,
        *,
        token: KeyHash,
        key_name: str,
        expires: datetime,
        max_budget: float | None,
        password: str | None,
    ) -> bool:
        """See `ports.users.LoginStore.open_session`."""
        async with self._database.transaction() as connection:
            if password is not None:
                if await connection.fetchval(_SQL["password_of"], user_id) != password:
                    return False
            else:
                await _make_admin(connection, user_id)
            await connection.execute(_SQL["end_sessions"], user_id)
            naive = expires.astimezone(UTC).replace(tzinfo=None)
            await connection.execute(_SQL["open_session"], token, key_name, user_id, naive, max_budget)
        return True


async def _make_admin(connection: Any, user_id: str) -> None:  # noqa: ANN401  # asyncpg
    """Have the user be an administrator without a password; who was somebody else under this id so far is out."""
    await lock_totals(connection)
    before = await connection.fetchrow(_SQL["lock_user"], user_id)
    made = await connection.fetchrow(_SQL["make_admin"], user_id)
    if made is None:
        return
    actor = Actor(api_key=MASTER_KEY_NAME, user_id=user_id)
    known = None if before is None else user_of(before)
    action = Action.CREATED if known is None else Action.UPDATED
    await record(connection, user_change(action, user_of(made), actor, before=known))
    await end_sessions(connection, user_id, actor=actor)
