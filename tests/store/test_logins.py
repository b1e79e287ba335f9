"""Sessions are opened on what the table says at that moment."""

from datetime import UTC, datetime, timedelta

from bursar.domain.ids import KeyHash
from bursar.store.database import Database
from bursar.store.logins import PostgresLogins


async def opened(logins: PostgresLogins, number: int, password: str) -> bool:
    return await logins.open_session(
        "u",
        token=KeyHash(f"{number:064}"),
        key_name="sk-...",
        expires=datetime.now(UTC) + timedelta(hours=1),
        max_budget=None,
        password=password,
    )


async def test_a_password_that_was_changed_while_it_was_checked_opens_no_session(database: Database) -> None:
    logins = PostgresLogins(database)
    async with database.connection() as connection:
        await connection.execute("""INSERT INTO "LiteLLM_UserTable" (user_id, password) VALUES ('u', 'of before')""")
    assert await opened(logins, 1, "of before")
    async with database.connection() as connection:
        await connection.execute("""UPDATE "LiteLLM_UserTable" SET password = 'of now'""")
    assert not await opened(logins, 2, "of before")
    assert await opened(logins, 3, "of now")
    async with database.connection() as connection:
        await connection.execute('DELETE FROM "LiteLLM_UserTable"')
    assert not await opened(logins, 4, "of now")
    async with database.connection() as connection:
        tokens = await connection.fetch("""SELECT token FROM "LiteLLM_VerificationToken" ORDER BY token""")
    assert [int(row["token"]) for row in tokens] == [1, 3]
